"""The exercises of chapter 07: build, diagnose, choose and defend."""

import numpy as np

from helpers.data.sources import SENTIMENTS, rater_shares, sentiment
from lessons.ch07 import answers
from lessons.ch07.building import prepared
from lessons.ch07.choosing import hand_over
from lessons.exercise import Exercise, check_diagnosis

__all__ = ["hand_over", "prepared", "soft_targets", "three_runs"]

FAULTS = ("labels shuffled", "mask not passed", "over-fitting", "test rows chose")
RATINGS = ([3, 2, 4, 1], [-1, 0, 1, 1, 0], [-2, -3, 0, 1, -1, -2], [0, 1, 1, 1])


def _verify_runs(attempt):
    advice = "ask of each run which of its numbers should have been equal, or should have moved"
    check_diagnosis(attempt(), answers.three_runs(), advice, words=FAULTS)


three_runs = Exercise(
    verify=_verify_runs,
    hints=(
        "A model that learns nothing about the rows still learns how frequent the classes are. What loss has "
        "that?",
        "Padding must not change an answer. Which run has two answers to the same comment?",
        "The third run has no fault in its log at all; look at what was compared with what, and how often.",
    ),
    answer=answers.three_runs,
    praise="Each fault had its own trace, and none of them raised an error.",
)


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
        label = np.array([name == sentiment([np.mean(ratings)])[0] for name in SENTIMENTS])
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
    praise="A target that says how sure people were.",
)
