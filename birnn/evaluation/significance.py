"""What chance alone explains, where one looks at many things at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def holm(p: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Correct the p-values (M,) of M tests for having looked M times.

    The smallest counts M times, the next one M - 1 times, and none less than one before it. The
    chance that any of the true hypotheses gets a corrected p-value below 0.05 is at most 5 %,
    however the tests depend on one another. Whether any is below is decided as by Bonferroni;
    which others are, Holm finds more of (Holm, A Simple Sequentially Rejective Multiple Test
    Procedure, 1979).
    """
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)
