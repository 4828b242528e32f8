"""What several runs say together: a mean with its interval, or how small an effect they could have shown."""

import numpy as np
from scipy import stats

MATTERS = 0.02  # of accuracy or macro-F1: a smaller difference would change none of the course's decisions


def interval(values) -> tuple[float, float]:
    """Mean and half width of the 95% t-interval of values (N,), N at least 2."""
    values = np.asarray(values, dtype=float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(half)


def verdict(differences, unit: str = "", matters: float = 0.0) -> str:
    """A mean difference with its interval; that all of the interval is nearer to zero than what matters; or
    that it is too small to see with so many runs.
    """
    mean, half = interval(differences)
    found = f"{mean:+.3f} ± {half:.3f}{unit}"
    if abs(mean) > half:
        return found
    if abs(mean) + half < matters:
        return f"no difference of {matters:g} or more ({found})"
    return f"too small to see with {len(differences)} runs (smallest visible effect {half:.3f}{unit})"
