"""Bidirectional RNNs on sequences of different lengths, as a reproducible pipeline.

What the library offers to other code; everything else is private to its room:

- `VariableLengthRNN`: a drop-in for `torch.nn.{RNN,GRU,LSTM}` on padded values and their lengths.
- `load`: read a trained model, from its folder or from MLflow, to ask it.
- `score`: give the metrics of a table that has predictions beside the true labels.

Each name is imported when it is first used, so that `import birnn` is fast and imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from birnn.evaluation.scoring import score
    from birnn.model.recurrent import VariableLengthRNN
    from birnn.serving.trained import load
else:  # hidden from type checkers, which would take every other name for one that exists

    def __getattr__(name: str) -> object:
        """Import a public name when it is asked for (PEP 562)."""
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


__all__ = ["VariableLengthRNN", "load", "score"]
