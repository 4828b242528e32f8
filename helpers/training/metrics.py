"""How good predictions are, how sure we are of that, and how good people are (chapter 07)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metrics:
    """Share of right predictions, mean F1 over the classes, mean cross-entropy (nats), number of rows."""

    accuracy: float
    macro_f1: float
    loss: float
    n: int


def classification_metrics(logits: np.ndarray, targets: np.ndarray) -> Metrics:
    """Metrics of logits (N, C) against class indices (N,).

    The loss is the mean over rows. A mean of batch means would count a row in a small batch more than one in
    a large batch.
    """
    targets, predictions = np.asarray(targets), logits.argmax(1)
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]  # (N,)
    return Metrics(
        accuracy=float((targets == predictions).mean()),
        macro_f1=macro_f1(targets, predictions, logits.shape[1]),
        loss=float(losses.mean()),
        n=len(targets),
    )


def macro_f1(targets, predictions, num_classes: int, counts=None) -> float:
    """Mean over the classes of F1, the harmonic mean of precision and recall; every class counts the same.

    `counts` (N,) says how often each row counts, by default once.
    """
    return float(f1_scores(targets, predictions, num_classes, counts).mean())


def f1_scores(targets, predictions, num_classes: int, counts=None) -> np.ndarray:
    """F1 (C,) of each class; 0 for one that neither occurs nor is predicted. `counts`: see `macro_f1`."""
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    counts = np.ones(len(targets)) if counts is None else counts
    # Of each class three numbers are enough: no table of classes by classes, which grows with their square.
    of_targets = np.bincount(targets, counts, num_classes)
    of_predictions = np.bincount(predictions, counts, num_classes)
    hits = np.bincount(targets, counts * (targets == predictions), num_classes)
    rows = of_targets + of_predictions
    return np.divide(2 * hits, rows, out=np.zeros(num_classes), where=rows > 0)


def macro_f1_interval(
    targets, predictions, num_classes: int, *, groups=None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval of macro-F1: how far the figure would move with other rows from the same source.

    Rows are drawn with replacement, whole groups at a time: sentences of one review succeed or fail together,
    and counting them as independent would make the interval too narrow.

    Args:
        targets, predictions: class indices (N,).
        num_classes: C.
        groups: (N,), by default each row is its own.
        resamples: number of bootstrap samples.
        seed: seed of the draws.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), percentile method. Chapter 07.
    """
    drawn = _times_drawn(len(targets), groups, resamples, seed)
    return _middle_95([macro_f1(targets, predictions, num_classes, counts) for counts in drawn])


def paired_interval(
    targets, first, second, num_classes: int, *, groups=None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval of the macro-F1 of `first` minus that of `second`, on the same drawn rows.

    Two methods meet the same hard rows, so their difference varies less than either score.
    """
    differences = []
    for counts in _times_drawn(len(targets), groups, resamples, seed):
        scores = [macro_f1(targets, predictions, num_classes, counts) for predictions in (first, second)]
        differences.append(scores[0] - scores[1])
    return _middle_95(differences)


def accuracy_interval(
    targets, predictions, *, groups=None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval of accuracy, see `macro_f1_interval`."""
    correct = np.asarray(targets) == np.asarray(predictions)
    return mean_interval(correct, groups=groups, resamples=resamples, seed=seed)


def mean_interval(values, *, groups=None, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of the mean of values (N,), see `macro_f1_interval`."""
    drawn = _times_drawn(len(values), groups, resamples, seed)
    return _middle_95([(counts * values).sum() / counts.sum() for counts in drawn])


def _times_drawn(num_rows: int, groups, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row (N,) is in a draw of whole groups with replacement, draw by draw."""
    groups = np.arange(num_rows) if groups is None else np.asarray(groups)
    codes = np.unique(groups, return_inverse=True)[1]
    num_groups, rng = codes.max() + 1, np.random.default_rng(seed)
    for _ in range(resamples):
        draw = rng.integers(num_groups, size=num_groups)
        yield np.bincount(draw, minlength=num_groups)[codes]


def _middle_95(scores) -> tuple[float, float]:
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)
