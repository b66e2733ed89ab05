"""Which sequences a model has already seen while it was trained.

trained_on = TrainedOn.of(Path("data/prepared"), encoding)      # None where nobody can tell
trained_on.seen(sequences)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from birnn.data import fingerprints, parted
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.errors import DataError
from birnn.files import atomic, paths
from birnn.files.hashing import Hashes


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The hashes of all sequences of a training split, (sequences,) uint64 in order."""

    hashes: Hashes

    @classmethod
    def of(cls, folder: Path, encoding: Encoding) -> TrainedOn | None:
        """Read them; None where the folder holds other data than the model was trained on.

        Args:
            folder: of the prepared data.
            encoding: the model's own.
        """
        known, train = folder / paths.ENCODING, folder / paths.TRAIN
        if not known.is_file() or not train.exists():
            return None
        try:
            Encoding(**atomic.read_json(known)).check_same(encoding, "the model")
            split = parted.read(train)
            return cls(np.unique(np.concatenate([_hashes(one) for one in parted.each(split)])))
        except (DataError, TypeError):  # of another model, or of another version
            return None

    def seen(self, asked: Sequences) -> npt.NDArray[np.bool_]:
        """Say which of some sequences, encoded for the model, training had, (sequences,)."""
        found: npt.NDArray[np.bool_] = np.isin(_hashes(asked), self.hashes)
        return found


def _hashes(split: Sequences) -> Hashes:
    codes = split.token_codes()
    return np.concatenate(
        [
            fingerprints.exact(fingerprints.of_steps(split, steps, codes), bounds)
            for steps, bounds in fingerprints.blocks(split)
        ]
    )
