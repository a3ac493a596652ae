"""The one meaning of "±": half the width of the 95 % interval of a mean over seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def half_width(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Return the half width of Student's 95 % interval of the mean over the first axis; 0 for a single value."""
    values = np.asarray(values, dtype=float)
    count = len(values)
    if count < 2:
        return np.zeros(values.shape[1:])
    return stats.t.ppf(0.975, count - 1) * values.std(axis=0, ddof=1) / np.sqrt(count)


def with_interval(
    values: np.ndarray | Sequence[float], *, scale: float = 1.0, digits: int = 1, mean: float | None = None
) -> str:
    """Return "mean ± half width", or the mean alone of a single value.

    Args:
        values: [runs].
        scale: factor of what is shown, 100 for shares in per cent.
        digits: digits after the point.
        mean: mean of the values, if it was rounded before.
    """
    shown = f"{scale * float(np.mean(values) if mean is None else mean):.{digits}f}"
    return shown + (f" ± {scale * float(half_width(values)):.{digits}f}" if len(values) > 1 else "")
