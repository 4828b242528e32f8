"""Whether probabilities mean what they say, and when to give no answer (chapter 07)."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from helpers.errors import InputError
from helpers.training.metrics import macro_f1


@dataclass(frozen=True)
class Bin:
    """Rows of similar confidence: how many, their mean confidence, and their share of right answers."""

    rows: int
    confidence: float
    accuracy: float


def reliability(probabilities: np.ndarray, targets: np.ndarray, *, bins: int = 10) -> list[Bin]:
    """Rows sorted by the probability of the predicted class, in bins of equally many, the least sure first.

    Equally many rows, and not equally wide: a bin with three rows in it says nothing.

    Args:
        probabilities: (N, C).
        targets: class indices (N,).
        bins: number of bins.

    Raises:
        InputError: there are fewer rows than bins, or the rows are no probabilities.
    """
    confidence, correct = _confidence(probabilities, targets)
    if len(confidence) < bins:
        raise InputError(f"{bins} bins need at least as many rows, found {len(confidence)}; use fewer bins")
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return [Bin(len(rows), float(confidence[rows].mean()), float(correct[rows].mean())) for rows in parts]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logits (N, C), divided by the temperature, as probabilities (N, C)."""
    return special.softmax(logits / temperature, axis=1)


def answered_curve(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What abstaining brings: answer only the surest rows.

    Args:
        probabilities: (N, C).
        targets: class indices (N,).

    Returns:
        Shares of the rows that are answered, 1/N to 1 (N,), and the share of right answers among them (N,).
    """
    confidence, correct = _confidence(probabilities, targets)
    surest_first = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(correct) + 1)
    return answered / len(correct), correct[surest_first].cumsum() / answered


def class_offsets(
    logits: np.ndarray, targets: np.ndarray, *, step: float = 0.05, widest: float = 1.0
) -> np.ndarray:
    """What to add to the logits so that macro-F1 on these rows is highest, found class by class on a grid.

    Training aims at the likeliest class, macro-F1 at a balance: it pays to name a rare class a little more
    often. Tune the offsets on validation rows and use them elsewhere: on the rows that tuned them they
    flatter.

    Args:
        logits: (N, C), or logarithms of probabilities.
        targets: class indices (N,).
        step, widest: distance of the grid's points, and its largest value.

    Returns:
        (C,), the first of them 0: only differences matter.
    """
    num_classes = logits.shape[1]
    offsets = np.zeros(num_classes)
    best = macro_f1(targets, logits.argmax(1), num_classes)
    for _ in range(2):  # a second round, since the best offset of one class depends on the others
        for column in range(1, num_classes):
            for value in np.arange(-widest, widest + step / 2, step):
                tried = np.where(np.arange(num_classes) == column, value, offsets)
                score = macro_f1(targets, (logits + tried).argmax(1), num_classes)
                if score > best + 1e-9:
                    best, offsets = score, tried
    return offsets


def _confidence(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the predicted class (N,), and whether that class is right (N,)."""
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3) or probabilities.min() < 0:
        raise InputError(
            f"rows of probabilities must sum to 1, found sums from {probabilities.sum(1).min():.3g} to "
            f"{probabilities.sum(1).max():.3g}; pass softmax(logits), not logits"
        )
    return probabilities.max(1), probabilities.argmax(1) == np.asarray(targets)
