"""The exercises of chapter 07: soft targets, an interval of a paired difference, when to give no answer."""

import numpy as np

from helpers.data.sources import rater_shares, sentiment
from helpers.training import metrics
from lessons.ch07 import answers
from lessons.exercise import Exercise

RATINGS = ([3, 2, 4, 1], [-1, 0, 1, 1, 0], [-2, -3, 0, 1, -1, -2], [0, 1, 1, 1])


def _verify_soft_targets(attempt):
    for ratings in RATINGS:
        found = np.asarray(attempt(list(ratings)), dtype=float)
        if found.shape != (3,):
            raise AssertionError(
                f"expected three numbers (negative, neutral, positive), found an array of shape {found.shape}"
            )
        if not np.isclose(found.sum(), 1):
            raise AssertionError(
                f"a distribution sums to 1, found {found.sum():.3f} for the ratings {list(ratings)}"
            )
        shares = rater_shares([ratings])[0]
        label = np.array(
            [name == sentiment([np.mean(ratings)])[0] for name in ("negative", "neutral", "positive")]
        )
        if np.allclose(found, shares, atol=1e-5) and not np.allclose(shares, label):
            raise AssertionError(
                "these are the raters' shares alone; the other half of the target is the label of the mean"
            )
        if not np.allclose(found, (shares + label) / 2, atol=1e-5):
            raise AssertionError(
                f"for the ratings {list(ratings)} expected {((shares + label) / 2).round(3)}, found "
                f"{found.round(3)}"
            )


soft_targets = Exercise(
    verify=_verify_soft_targets,
    hints=(
        "Two questions about one list: which share of the raters chose each class, and which class does "
        "their mean have?",
        "A single rating is a whole number: -1 or less is negative, 0 neutral, 1 or more positive. The mean "
        "has the borders -0.5 and +0.5.",
        "Write both answers as arrays of three numbers that sum to 1; their mean is the target.",
    ),
    answer=answers.soft_targets,
    praise="A target that says how sure people were: section 7.13 measures what it is worth.",
)


def _verify_paired(attempt):
    rng = np.random.default_rng(1)
    reviews = rng.integers(0, 3, 80)  # 80 reviews of 5 sentences that share their fate
    targets, groups = np.repeat(reviews, 5), np.repeat(np.arange(80), 5)
    first = np.repeat(np.where(rng.random(80) < 0.75, reviews, rng.integers(0, 3, 80)), 5)
    second = np.where(rng.random(400) < 0.95, first, rng.integers(0, 3, 400))  # nearly the same answers
    found = attempt(targets, first, first.copy(), groups)
    if np.shape(found) != (2,):
        raise AssertionError(f"expected two numbers (low, high), found {found!r}")
    low, high = found
    if (low, high) != (0, 0):
        raise AssertionError(
            f"two methods with the same answers differ by exactly 0 on every draw, found {low:+.3f} to "
            f"{high:+.3f}; score both on the SAME drawn rows"
        )
    found = attempt(targets, first, second, groups)
    if not found[0] < metrics.macro_f1(targets, first, 3) - metrics.macro_f1(targets, second, 3) < found[1]:
        raise AssertionError(
            f"the interval should hold the difference first minus second, found {found[0]:+.3f} to "
            f"{found[1]:+.3f}"
        )
    worse = np.repeat(rng.integers(0, 3, 80), 5)
    expected = np.ptp(metrics.paired_interval(targets, first, worse, 3, groups=groups))
    found = np.ptp(attempt(targets, first, worse, groups))
    if found < 0.7 * expected:
        raise AssertionError(
            f"the interval is {found:.3f} wide, expected about {expected:.3f}: draw whole groups, not single "
            "rows"
        )
    if found > 1.4 * expected:
        raise AssertionError(
            f"the interval is {found:.3f} wide, expected about {expected:.3f}: 2.5 and 97.5 are the "
            "percentiles to take"
        )


paired_interval = Exercise(
    verify=_verify_paired,
    hints=(
        "In each round: draw groups with replacement, collect their rows, score BOTH methods on these rows, "
        "keep the difference.",
        "`np.flatnonzero(groups == group)` gives the rows of one group. Make that list once, before the "
        "loop.",
        "`np.percentile(differences, [2.5, 97.5])` is the answer; 500 rounds are enough here.",
    ),
    answer=answers.paired_interval,
    praise="The hard rows are hard for both methods; what remains is the difference between them.",
)


def _verify_threshold(attempt):
    confidence = np.array([0.55, 0.98, 0.6, 0.95, 0.7, 0.9, 0.8, 0.5, 0.85, 0.75])
    correct = np.array([0, 1, 1, 1, 0, 1, 1, 0, 0, 1], dtype=bool)
    for wanted, lowest in ((0.8, 0.75), (0.75, 0.6), (1.0, 0.9)):
        found = attempt(confidence.copy(), correct.copy(), wanted)
        if not np.isscalar(found):
            raise AssertionError(f"expected one number, a confidence, found {found!r}")
        answered = confidence >= found
        best = confidence >= lowest
        if not answered.any():
            raise AssertionError(
                f"the threshold {found:.2f} answers nothing, but {wanted:.0%} can be reached with "
                f"{best.sum()} rows"
            )
        if correct[answered].mean() < wanted:
            raise AssertionError(
                f"with the threshold {found:.2f}, {correct[answered].mean():.0%} are right, wanted at least "
                f"{wanted:.0%}"
            )
        if answered.sum() < best.sum():
            raise AssertionError(
                f"the threshold {found:.2f} answers {answered.sum()} rows; {best.sum()} rows can be answered "
                f"with {wanted:.0%} right"
            )
    found = float(attempt(np.array([0.9, 0.8]), np.array([False, False]), 0.9))
    if np.isfinite(found):
        raise AssertionError(
            f"where no threshold is good enough the answer is infinity (answer nothing), found {found}"
        )


threshold = Exercise(
    verify=_verify_threshold,
    hints=(
        "Sort the rows, the surest first. What share is right among the first 1, 2, 3, ... of them?",
        "`correct[order].cumsum() / np.arange(1, N + 1)` holds these shares. They do not fall steadily: look "
        "for the LAST place that is good enough.",
        "`np.flatnonzero(shares >= wanted)[-1]` is that place; the threshold is the confidence there. Treat "
        "the empty case first.",
    ),
    answer=answers.threshold,
    praise="You can now promise a share of right answers and say what it costs: the comments that go to a "
    "person.",
)
