"""Labels that deserve a second look, how good a detector is, and how far raters agree (chapter 05)."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from helpers.errors import InputError


def label_suspects(
    probabilities: np.ndarray, labels: Sequence[str], classes: Sequence[str], *, most: float = 0.05
) -> pd.DataFrame:
    """Rows whose label a model finds improbable: it is confident, and it disagrees.

    The probabilities must come from models that never saw the row's label (scikit-learn's
    `cross_val_predict`): a model that was trained on a wrong label repeats it.

    Args:
        probabilities: (N, C), out of fold.
        labels: (N,), as given.
        classes: names of the C columns.
        most: highest probability of the given label, 0..1; a smaller one finds fewer rows and is more often
            right.

    Returns:
        `row`, `label`, `suggestion`, `probability` (of the label as given), the most improbable first. To
        look at, not to overwrite.

    Source: the idea of Northcutt et al., "Confident Learning" (2021), in its simplest form.
    """
    place = {name: column for column, name in enumerate(classes)}
    given = probabilities[np.arange(len(labels)), [place[label] for label in labels]]  # (N,)
    best = probabilities.argmax(1)
    rows = np.flatnonzero((given <= most) & (given < probabilities.max(1)))
    rows = rows[given[rows].argsort(kind="stable")]
    return pd.DataFrame(
        {
            "row": rows,
            "label": [labels[row] for row in rows],
            "suggestion": [classes[best[row]] for row in rows],
            "probability": given[rows],
        }
    )


def precision_recall(found: Iterable, planted: Iterable) -> dict[str, float]:
    """Precision: the share of `found` that was planted. Recall: the share of `planted` that was found."""
    found, planted = set(found), set(planted)
    right = len(found & planted)
    return {
        "found": len(found),
        "planted": len(planted),
        "precision": right / len(found) if found else 1.0,
        "recall": right / len(planted) if planted else 1.0,
    }


def krippendorff_alpha(ratings: Iterable[Sequence[float]], *, nominal: bool = False) -> float:
    """How far raters agree beyond chance: 1 = always, 0 = as chance would, below 0 = less.

    Args:
        ratings: for each item the values its raters gave, in any order; items with fewer than two say nothing
            and are left out.
        nominal: True counts two different values as different, however near; False weighs a pair by its
            squared distance.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    pairs_within, everyone = 0.0, Counter()
    for item in ratings:
        if len(item) < 2:
            continue
        counts = Counter(item)
        pairs_within += _disagreement(counts, nominal) / (len(item) - 1)
        everyone.update(counts)
    total = sum(everyone.values())
    if len(everyone) < 2:
        raise InputError(
            "alpha needs items with at least two ratings and at least two different values; all ratings are "
            "equal or alone"
        )
    return 1 - (total - 1) * pairs_within / _disagreement(everyone, nominal)


def _disagreement(counts: Counter, nominal: bool) -> float:
    """Summed over all ordered pairs of ratings: 1 for a different value, or the squared distance."""
    values, sizes = np.array(list(counts), dtype=float), np.array(list(counts.values()), dtype=float)
    distance = (values[:, None] - values[None]) ** 2
    return float(sizes @ ((distance > 0) if nominal else distance) @ sizes)
