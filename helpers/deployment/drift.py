"""Is what the model sees today like what it was tested on? (chapters 07 and 08)

New inputs come without labels, so accuracy cannot be watched. What can be: the model's confidence, the labels
it gives, and the length of the texts. A change of these says that the inputs have changed; whether answers
got worse only new labels can say.
"""

import math
from dataclasses import dataclass

import numpy as np

from helpers.errors import InputError

SHIFTED, DRIFTED = 0.1, 0.25
FEWEST_ROWS = 200  # with 10 bins and so few rows chance alone already gives an index of about 0.05


def population_stability_index(reference, current, *, bins: int = 10) -> float:
    """How far a number's distribution has moved: the sum over bins of (q - p) ln(q / p), 0 = not at all.

    The edges of the bins are quantiles of `reference`, so each holds the same share p of it; many equal
    numbers make fewer bins, and the outer ones are open. q is the share of `current`.

    Example: `population_stability_index(confidence_in_test, confidence_today)`

    Source: Siddiqi, "Credit Risk Scorecards" (2006), also for the thresholds 0.1 and 0.25: custom, no test.
    """
    sides = [np.asarray(values, dtype=float).ravel() for values in (reference, current)]
    if bins < 2 or not all(len(values) and np.isfinite(values).all() for values in sides):
        found = f"{len(sides[0])} and {len(sides[1])} numbers, bins={bins}"
        needed = "finite numbers on both sides and at least 2 bins"
        raise InputError(f"the index needs {needed}, found {found}; leave out what is missing")
    edges = np.unique(np.quantile(sides[0], np.linspace(0, 1, bins + 1)[1:-1]))
    places = [np.searchsorted(edges, values, side="right") for values in sides]
    return stability_index(*(np.bincount(place, minlength=len(edges) + 1) for place in places))


def stability_index(reference_counts, current_counts) -> float:
    """The index of two lists of counts (K,) of the same bins or classes.

    Example: `stability_index([50, 50], [75, 25])` is 0.27: drifted.

    A bin that is empty on one side would make it infinite: it counts as half a row there. Bins empty on both
    sides do not count.
    """
    old, new = (np.asarray(counts, dtype=float) for counts in (reference_counts, current_counts))
    if old.shape != new.shape or old.sum() <= 0 or new.sum() <= 0:
        found = f"found {old.tolist()} and {new.tolist()}"
        raise InputError(f"two lists of counts of the same bins are needed, each with rows, {found}")
    used = (old + new) > 0
    p, q = (np.maximum(counts[used], 0.5) / counts.sum() for counts in (old, new))
    return float(((q - p) * np.log(q / p)).sum())


def verdict(psi: float) -> str:
    """The customary words: "stable" below 0.1, "shifted" below 0.25, else "drifted"."""
    if psi < SHIFTED:
        return "stable"
    return "shifted" if psi < DRIFTED else "drifted"


@dataclass(frozen=True)
class Finding:
    """One thing that was watched."""

    what: str  # "confidence" (largest probability), "predicted class", "share of <class>" or "text length"
    reference: float  # mean, or share of the class; NaN for "predicted class", which has no mean
    current: float
    psi: float  # the stability index
    verdict: str  # of the index, or "too few rows"


class DriftMonitor:
    """Compares probabilities (N, C) and text lengths (N,) of new inputs with those of the test rows.

    Example: `DriftMonitor(classes, predict(run, test_texts)).compare(predict(run, texts_of_today))`
    """

    def __init__(self, classes: tuple[str, ...], probabilities, lengths=None):
        self.classes, self.lengths = tuple(classes), lengths
        self.probabilities = self._checked(probabilities)

    def compare(self, probabilities, lengths=None) -> list[Finding]:
        """What has moved, and how far; below 200 rows on either side the verdict is "too few rows"."""
        before, now = self.probabilities, self._checked(probabilities)
        old, new = (np.bincount(p.argmax(1), minlength=len(self.classes)) for p in (before, now))
        found = [_of_numbers("confidence", before.max(1), now.max(1))]
        found.append(("predicted class", math.nan, math.nan, stability_index(old, new)))
        for name, a, b in zip(self.classes, old, new):
            psi = stability_index([a, len(before) - a], [b, len(now) - b])
            found.append((f"share of {name}", float(a / len(before)), float(b / len(now)), psi))
        if lengths is not None and self.lengths is not None:
            found.append(_of_numbers("text length", self.lengths, lengths))
        is_enough = min(len(before), len(now)) >= FEWEST_ROWS
        return [Finding(*row, verdict(row[-1]) if is_enough else "too few rows") for row in found]

    def _checked(self, probabilities) -> np.ndarray:
        array = np.asarray(probabilities, dtype=float)
        if array.ndim != 2 or array.shape[1] != len(self.classes) or not len(array):
            needed = f"probabilities must be (N, {len(self.classes)}) with N > 0"
            raise InputError(f"{needed}, found {array.shape}; give those of `predict`")
        if not np.isfinite(array).all():
            found = f"{np.count_nonzero(~np.isfinite(array).all(1))} of {len(array)} rows with others"
            raise InputError(f"probabilities must be finite, found {found}; train the model again")
        return array


def _of_numbers(what: str, before, now) -> tuple[str, float, float, float]:
    return what, float(np.mean(before)), float(np.mean(now)), population_stability_index(before, now)
