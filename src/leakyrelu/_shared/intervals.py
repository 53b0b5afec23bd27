"""Confidence intervals of differences between runs that share their seeds."""

from math import inf, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from leakyrelu._shared.extras import needs

__all__ = ["paired_difference"]


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike, *, comparisons: int = 1) -> tuple[float, float]:
    """The mean of `second - first`, and half the width of its 95 % confidence interval, by Student's t.

    Parameters
    ----------
    first, second : array_like
        Scores, one per seed, in the same order.
    comparisons : int, default 1
        How many differences are looked at. With 95 % confidence, the intervals of all of them hold at once
        (Bonferroni), so the interval also holds for the best of many.

    Returns
    -------
    (float, float)
        The mean, and half the width, which is infinite for a single pair.

    Raises
    ------
    ImportError
        SciPy is missing: ``pip install 'leakyrelu[demo]'``.

    Examples
    --------
    >>> from leakyrelu._shared.intervals import paired_difference
    >>> mean, spread = paired_difference([1.0, 2.0, 4.0], [3.0, 4.0, 5.0])
    >>> print(f"{mean:.2f} ± {spread:.2f}")
    1.67 ± 1.43
    """
    with needs("leakyrelu[demo]", "a confidence interval"):
        from scipy import stats
    difference: npt.NDArray[np.floating[Any]] = np.asarray(second, float) - np.asarray(first, float)
    pairs = len(difference)
    if pairs < 2:
        return float(difference.mean()), inf
    t = stats.t.ppf(1 - 0.025 / comparisons, pairs - 1)
    return float(difference.mean()), float(t * difference.std(ddof=1) / sqrt(pairs))
