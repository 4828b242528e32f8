"""Is what the model sees today like what it was tested on? The population stability index and a monitor
(chapters 07 and 08).

New inputs come without labels, so accuracy cannot be watched. What can be: the model's confidence, the labels
it gives, and the length of the texts. A change of these says that the inputs have changed; whether answers
got worse only new labels can say.
"""

from dataclasses import dataclass

import numpy as np

from helpers.errors import InputError

SHIFTED, DRIFTED = 0.1, 0.25
FEWEST_ROWS = 200  # with 10 bins and so few rows chance alone already gives an index of about 0.05


def population_stability_index(reference, current, *, bins: int = 10) -> float:
    """How much the distribution of a number has moved: the sum over bins of (q - p) ln(q / p), 0 = not at
    all.

    Args:
        reference: numbers (N,) from when all was well; their quantiles are the edges of the bins, so that
            each bin holds the same share p of them. Equal quantiles (many equal numbers) make fewer bins. The
            outer bins are open.
        current: numbers (M,) of today; their shares of the bins are q.
        bins: how many.

    Raises:
        InputError: no numbers on one side, one that is not finite, or fewer than 2 bins.

    Source: Siddiqi, "Credit Risk Scorecards" (2006), also for the thresholds 0.1 and 0.25; they are a custom,
    not a test.
    """
    reference, current = (np.asarray(values, dtype=float).ravel() for values in (reference, current))
    if (
        bins < 2
        or not len(reference)
        or not len(current)
        or not (np.isfinite(reference).all() and np.isfinite(current).all())
    ):
        raise InputError(
            f"the index needs finite numbers on both sides and at least 2 bins, found {len(reference)} and "
            f"{len(current)} numbers, "
            f"bins={bins}; leave out what is missing"
        )
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    counts = (
        np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        for values in (reference, current)
    )
    return stability_index(*counts)


def stability_index(reference_counts, current_counts) -> float:
    """The index of two lists of counts (K,) of the same bins or classes.

    A bin that is empty on one side would make it infinite: it counts as half a row there. Bins empty on both
    sides do not count.

    Raises:
        InputError: the lists differ in length, or one has no rows.
    """
    counts = [np.asarray(values, dtype=float) for values in (reference_counts, current_counts)]
    if counts[0].shape != counts[1].shape or any(values.sum() <= 0 for values in counts):
        raise InputError(
            f"two lists of counts of the same bins are needed, each with rows, found {counts[0].tolist()} "
            f"and {counts[1].tolist()}"
        )
    used = (counts[0] + counts[1]) > 0
    p, q = (np.maximum(values[used], 0.5) / values.sum() for values in counts)
    return float(((q - p) * np.log(q / p)).sum())


def verdict(psi: float) -> str:
    """The customary words: "stable" below 0.1, "shifted" below 0.25, else "drifted"."""
    return "stable" if psi < SHIFTED else "shifted" if psi < DRIFTED else "drifted"


@dataclass(frozen=True)
class Finding:
    """One thing that was watched.

    Attributes:
        what: "confidence" (the largest probability), "predicted class", "share of <class>" or "text length"
            (characters).
        reference, current: mean, or share of the class; NaN for "predicted class", which has no mean.
        psi: the stability index.
        verdict: of the index, or "too few rows".
    """

    what: str
    reference: float
    current: float
    psi: float
    verdict: str


class DriftMonitor:
    """Remembers the predictions on reference inputs, usually the test rows, and compares those on new inputs
    with them.

    Args:
        classes: names of the C classes.
        probabilities: (N, C) on the reference inputs.
        lengths: of the reference texts (N,) in characters; None where they are not known, or for images.

    Raises:
        InputError: shapes that do not fit.
    """

    def __init__(self, classes: tuple[str, ...], probabilities, lengths=None):
        self.classes = tuple(classes)
        self.probabilities = self._checked(probabilities)
        self.lengths = lengths

    def compare(self, probabilities, lengths=None) -> list[Finding]:
        """What has moved, and how far; below 200 rows on either side the verdict is "too few rows".

        Args:
            probabilities: (M, C) on the new inputs.
            lengths: of the new texts (M,) in characters.
        """
        before, now = self.probabilities, self._checked(probabilities)
        found = [self._of_numbers("confidence", before.max(1), now.max(1))]
        counts = [np.bincount(p.argmax(1), minlength=len(self.classes)) for p in (before, now)]
        found.append(
            self._finding("predicted class", float("nan"), float("nan"), stability_index(*counts), now)
        )
        for name, old, new in zip(self.classes, *counts):
            psi = stability_index([old, len(before) - old], [new, len(now) - new])
            found.append(self._finding(f"share of {name}", old / len(before), new / len(now), psi, now))
        if lengths is not None and self.lengths is not None:
            found.append(self._of_numbers("text length", self.lengths, lengths))
        return found

    def _checked(self, probabilities) -> np.ndarray:
        array = np.asarray(probabilities, dtype=float)
        if array.ndim != 2 or array.shape[1] != len(self.classes) or not len(array):
            raise InputError(
                f"probabilities must be (N, {len(self.classes)}) with N > 0, found {array.shape}; give those "
                "of `predict`"
            )
        return array

    def _of_numbers(self, what: str, before, now) -> Finding:
        return self._finding(
            what, np.mean(before), np.mean(now), population_stability_index(before, now), now
        )

    def _finding(self, what: str, reference: float, current: float, psi: float, now) -> Finding:
        enough = min(len(self.probabilities), len(now)) >= FEWEST_ROWS
        return Finding(
            what, float(reference), float(current), psi, verdict(psi) if enough else "too few rows"
        )
