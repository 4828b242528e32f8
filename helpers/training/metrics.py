"""How good predictions are, how sure we are of that, and how good people are (chapter 07)."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, f1_score


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
    num_classes = logits.shape[1]
    predictions = logits.argmax(1)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)  # (N, C)
    return Metrics(
        accuracy=float(accuracy_score(targets, predictions)),
        macro_f1=macro_f1(targets, predictions, num_classes),
        loss=float(-log_p[np.arange(len(targets)), targets].mean()),
        n=len(targets),
    )


def macro_f1(targets, predictions, num_classes: int) -> float:
    """Mean over the classes of F1, the harmonic mean of precision and recall; every class counts the same."""
    labels = list(range(num_classes))
    return float(f1_score(targets, predictions, labels=labels, average="macro", zero_division=0))


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
    return _middle_95(_drawn_macro_f1(targets, predictions, num_classes, groups, resamples, seed))


def paired_interval(
    targets, first, second, num_classes: int, *, groups=None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval of the macro-F1 of `first` minus that of `second`, on the same drawn rows.

    Two methods meet the same hard rows, so their difference varies less than either score.
    """
    drawn = (num_classes, groups, resamples, seed)  # the same seed: the same draws
    return _middle_95(_drawn_macro_f1(targets, first, *drawn) - _drawn_macro_f1(targets, second, *drawn))


def accuracy_interval(
    targets, predictions, *, groups=None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% bootstrap interval of accuracy, see `macro_f1_interval`."""
    correct = (np.asarray(targets) == np.asarray(predictions)).astype(int)  # two "classes": wrong and right
    tables = _drawn_tables(correct, correct, 2, groups, resamples, seed)
    return _middle_95(tables[:, 1, 1] / tables.sum((1, 2)))


def _drawn_tables(targets, predictions, num_classes: int, groups, resamples: int, seed: int) -> np.ndarray:
    """Confusion tables (R, C, C) of the rows of R draws of whole groups with replacement."""
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    codes = np.unique(groups, return_inverse=True)[1]
    num_groups = codes.max() + 1
    confusion = np.zeros((num_groups, num_classes, num_classes))  # (G, C, C): of each group alone
    np.add.at(confusion, (codes, targets, predictions), 1)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(num_groups, size=num_groups) for _ in range(resamples))
    counts = (np.bincount(draw, minlength=num_groups) for draw in draws)
    return np.stack([np.tensordot(times_drawn, confusion, axes=1) for times_drawn in counts])


def _drawn_macro_f1(targets, predictions, num_classes: int, groups, resamples: int, seed: int) -> np.ndarray:
    """Macro-F1 (R,) of each draw."""
    tables = _drawn_tables(targets, predictions, num_classes, groups, resamples, seed)  # rows are targets
    hits, denominators = np.diagonal(tables, axis1=1, axis2=2), tables.sum(1) + tables.sum(2)  # (R, C)
    return np.divide(2 * hits, denominators, out=np.zeros(hits.shape), where=denominators > 0).mean(1)


def _middle_95(scores: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)
