"""Bidirectional RNNs on sequences of different lengths, as a reproducible pipeline.

What the library offers to other code; everything else is private to its room:

- `LSTM`, `GRU`, `RNN`: drop-ins for torch.nn's, which also take lengths.
- `VariableLengthRNN`: the three as one, in the form in which the models of the pipeline use them.
- `SequenceClassifier`, `SequenceTagger`: estimators for scikit-learn.
- `load`: read a trained model, from its folder or from MLflow, to ask it.
- `score`: give the metrics of a table that has predictions beside the true labels.

Each name is imported when it is first used, so that `import birnn` is fast and imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from birnn.estimators.classes import SequenceClassifier, SequenceTagger
    from birnn.evaluation.scoring import score
    from birnn.model.dropins import GRU, LSTM, RNN
    from birnn.model.recurrent import VariableLengthRNN
    from birnn.serving.trained import load
else:  # hidden from type checkers, which would take every other name for one that exists

    def __getattr__(name: str) -> object:
        """Import a public name when it is asked for (PEP 562)."""
        if name in ("GRU", "LSTM", "RNN"):
            from birnn.model import dropins

            return getattr(dropins, name)
        if name in ("SequenceClassifier", "SequenceTagger"):
            from birnn.estimators import classes

            return getattr(classes, name)
        if name == "VariableLengthRNN":
            from birnn.model.recurrent import VariableLengthRNN

            return VariableLengthRNN
        if name == "load":
            from birnn.serving.trained import load

            return load
        if name == "score":
            from birnn.evaluation.scoring import score

            return score
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the public names, which may not be imported yet."""
        return sorted({*globals(), *__all__})


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SequenceClassifier",
    "SequenceTagger",
    "VariableLengthRNN",
    "load",
    "score",
]
