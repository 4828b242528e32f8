"""What a limit on the confidence does on hidden comments: who is answered, and how often rightly."""

from numbers import Real

import numpy as np


def answered_above(limit: object, probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float, str]:
    """Shares of the comments that are answered and of right answers among these, and both as a sentence.

    Args:
        limit: a comment is answered if its largest probability is at least this.
        probabilities: (N, C).
        labels: (N,) the right classes.

    Raises AssertionError: `limit` is no number, or no comment reaches it.
    """
    if isinstance(limit, bool) or not isinstance(limit, Real):
        raise AssertionError(f"expected one number between 0 and 1, found {limit!r}")
    kept = probabilities.max(1) >= limit
    if not kept.any():
        raise AssertionError(f"above {limit:.2f} nobody is answered: not one hidden comment is so sure")
    right = (probabilities.argmax(1) == labels)[kept].mean()
    answered = f"{kept.mean():.0%} of {len(kept)} hidden comments are answered"
    return kept.mean(), right, f"above {limit:.2f}, {answered}, {right:.1%} of them right"
