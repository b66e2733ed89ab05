"""A trained model, as people ask it from Python.

model = load("models/bidirectional")                # or "champion", or "models:/tagging/3"
model.predict([np.zeros((50, 4)), np.zeros((7, 4))])
model.predict_proba([["the", "dog", "barks"]])
model.predict(frame)                                # a row a step, as in training
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.model import given, prediction, saved_model, streaming
from birnn.model.inference import Network
from birnn.model.streaming import Stream
from birnn.serving import served
from birnn.serving.served import Served

if TYPE_CHECKING:
    import pandas as pd

    from birnn.evaluation.trace import Trace

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.str_]


def load(model: str | Path = "models/bidirectional", device: str = "cpu") -> TrainedModel:
    """Read a trained model.

    Args:
        model: a folder with `weights.safetensors` and `model.json`, as `train` writes it; a `.onnx`
            file of `birnn export`; `champion` or `challenger`, those of the problem of params.yaml;
            or an address of MLflow's, such as `models:/NAME/3` or `runs:/RUN/model`.
        device: `cpu`, which needs no torch where the kernel is; `auto`, `cuda` or `mps`.

    Raises:
        DataError: a file is missing or broken, or the two do not belong together.
        DeviceError: the device is not there.
        RegistryError: MLflow is out of reach, or does not have it.

    Example:
        >>> model = load("models/bidirectional")
        >>> model.task, model.labels
        ('tagging', ['c0', 'c1', 'c2'])
        >>> steps = np.zeros((5, len(model.features)))
        >>> [found] = model.predict_proba([steps])
        >>> found.shape
        (5, 3)
    """
    return TrainedModel(served.load(served.address(str(model)), device))


class TrainedModel:
    """A model that answers for sequences; it never changes, and threads may share it.

    Sequences are given in one of three forms. A list of arrays, each (steps, features) in the order
    of `features`; a list of lists of tokens; or a data frame in the form of the sequence table, a
    row a step, with a column `sequence` and those that were there in training. Answers to a list
    are in its order; those to a data frame are pandas' objects with an index of `sequence`, and for
    tagging of `step` too, which counts from 0.

    Attributes:
        name: which model it is, with its version or its hash.
        task: `tagging` (a label a step) or `classification` (a label a sequence).
        labels: the names of the classes, in the order of the columns of `predict_proba`.
        features: the names of the numeric columns; empty where steps are tokens alone.
    """

    def __init__(self, model: Served) -> None:
        self._served = model
        self.name, self.task = str(model.name), model.encoding.task
        self.labels, self.features = list(model.encoding.labels), list(model.encoding.features)

    def __repr__(self) -> str:
        """Say which model it is, and what it answers."""
        return f"<{self.task} of {len(self.labels)} classes by {self.name}>"

    def predict(self, sequences: Sequence[Any] | pd.DataFrame) -> Any:
        """Choose a class for each step or sequence; critical classes by their thresholds.

        Args:
            sequences: see the class.

        Returns:
            For a list and tagging, a list of (steps,) arrays of str; for classification one array,
            (sequences,). For a data frame a Series called `predicted`.

        Raises:
            DataError: something is wrong with a sequence, in one line.
        """
        read, shares = self._asked(sequences)
        classes = prediction.decide(shares, self._served.encoding, self._served.thresholds)
        names = np.array(self.labels)[classes]
        if not isinstance(sequences, list) and _is_frame(sequences):
            import pandas as pd

            return pd.Series(names, index=_index(read), name="predicted")
        return self._parts(names, read)

    def predict_proba(self, sequences: Sequence[Any] | pd.DataFrame) -> Any:
        """Compute the probability of each class; see `birnn predict`, which gives the same bytes.

        Args:
            sequences: see the class.

        Returns:
            For a list and tagging, a list of (steps, classes) float32; for classification one
            array, (sequences, classes). For a data frame a data frame with a column a class.

        Raises:
            DataError: something is wrong with a sequence, in one line.
        """
        read, shares = self._asked(sequences)
        if not isinstance(sequences, list) and _is_frame(sequences):
            import pandas as pd

            return pd.DataFrame(shares, index=_index(read), columns=self.labels)
        return self._parts(shares, read)

    def trace(self, sequence: Any, *, most_steps: int = 40) -> Trace:
        """Follow one sequence through the model; needs torch.

        Args:
            sequence: a (steps, features) array, a list of tokens, or a data frame with one
                sequence.
            most_steps: answers to give at most; each costs those before it.

        Returns:
            What each layer gives, what each half of the model says alone, and which later steps
            have changed an answer.

        Raises:
            DataError: something is wrong with the sequence; or it is a model of ONNX's.
        """
        from birnn.evaluation import trace

        one = self._read(sequence if _is_frame(sequence) else [sequence])
        if len(one) != 1:
            raise DataError(f"trace: expected one sequence, found {len(one)}")
        return trace.explain(
            saved_model.network(self._served.network),
            self._served.encoding,
            self._served.thresholds,
            one,
            labelled=False,
            most_steps=most_steps,
        )

    def stream(self, *, look_ahead: int = 0, every: int = 1) -> Stream:
        """Begin a sequence whose steps come one after the other.

        Args:
            look_ahead: how many later steps a bidirectional model waits for before it answers for a
                step; see `birnn.model.streaming`.
            every: it answers for so many steps at a time, which costs less.

        Raises:
            DataError: the model cannot answer step by step, in one line.
        """
        network, encoding = self._served.network, self._served.encoding
        if not isinstance(network, Network):
            raise DataError("stream: expected a model that the kernel computes, found another one")
        options = streaming.Options(look_ahead=look_ahead, every=every)
        return Stream(network, encoding, self._served.thresholds, options)

    def _asked(self, sequences: Any) -> tuple[Sequences, Floats]:
        read = self._read(sequences)
        return read, prediction.probabilities(self._served.network, read)

    def _read(self, sequences: Any) -> Sequences:
        encoding = self._served.encoding
        if isinstance(sequences, list) or not _is_frame(sequences):
            if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
                raise DataError(
                    "expected a list of sequences, found one array; put it into a list: [array]"
                )
            return given.read(sequences, encoding)
        return given.encoded(pa.Table.from_pandas(sequences, preserve_index=False), encoding)

    def _parts(self, rows: npt.NDArray[Any], read: Sequences) -> Any:
        if self.task == "classification":
            return rows
        edges = read.offsets.tolist()
        return [rows[start:end] for start, end in pairwise(edges)]


def _is_frame(sequences: Any) -> bool:
    return hasattr(sequences, "columns") and hasattr(sequences, "iloc")


def _index(read: Sequences) -> pd.MultiIndex | pd.Index[Any]:
    """A name for each label."""
    import pandas as pd

    ids = read.ids.to_numpy(zero_copy_only=False)
    if not read.tagging:
        plain: pd.Index[Any] = pd.Index(ids, name="sequence")
        return plain
    names = np.repeat(ids, read.lengths)
    steps = np.arange(len(names)) - np.repeat(read.offsets[:-1], read.lengths)
    found: pd.MultiIndex = pd.MultiIndex.from_arrays([names, steps], names=["sequence", "step"])
    return found
