"""Chapter 07's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest

from helpers.data.sources import rater_shares
from helpers.training.metrics import macro_f1, macro_f1_interval
from lessons.ch07 import exercises as ch07


def shares_alone(ratings):
    return rater_shares([ratings])[0]


def label_alone(ratings):
    mean = np.mean(ratings)
    return np.array([mean <= -0.5, -0.5 < mean < 0.5, mean >= 0.5], dtype=float)


def not_halved(ratings):
    return shares_alone(ratings) + label_alone(ratings)


def one_number(ratings):
    return np.mean(ratings)


def difference_of_two_intervals(targets, first, second, groups):
    a, b = (macro_f1_interval(targets, guesses, 3, groups=groups) for guesses in (first, second))
    return a[0] - b[1], a[1] - b[0]


def single_rows(targets, first, second, groups):
    return ch07.paired_interval.answer(targets, first, second, np.arange(len(targets)))


def only_the_point(targets, first, second, groups):
    difference = macro_f1(targets, first, 3) - macro_f1(targets, second, 3)
    return difference, difference


def second_minus_first(targets, first, second, groups):
    return ch07.paired_interval.answer(targets, second, first, groups)


def extremes(targets, first, second, groups):
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(500):
        rows = np.concatenate(
            [np.flatnonzero(groups == g) for g in rng.choice(np.unique(groups), len(np.unique(groups)))]
        )
        draws.append(macro_f1(targets[rows], first[rows], 3) - macro_f1(targets[rows], second[rows], 3))
    return min(draws), max(draws)


def wanted_itself(confidence, correct, wanted):
    return wanted


def first_place(confidence, correct, wanted):
    return confidence.max() if correct[confidence.argmax()] else np.inf


def forgot_the_empty_case(confidence, correct, wanted):
    order = np.argsort(-confidence)
    return confidence[order][
        np.flatnonzero(correct[order].cumsum() / np.arange(1, len(correct) + 1) >= wanted)[-1]
    ]


def answer_everything(confidence, correct, wanted):
    return 0.0


def answer_nothing(confidence, correct, wanted):
    return 1.0


WRONG = [
    (ch07.soft_targets, shares_alone, "the raters' shares alone"),
    (ch07.soft_targets, label_alone, "for the ratings [-1, 0, 1, 1, 0] expected"),
    (ch07.soft_targets, not_halved, "a distribution sums to 1, found 2.000"),
    (ch07.soft_targets, one_number, "expected three numbers"),
    (ch07.paired_interval, difference_of_two_intervals, "on the SAME drawn rows"),
    (ch07.paired_interval, single_rows, "draw whole groups"),
    (ch07.paired_interval, only_the_point, "the interval should hold the difference"),
    (ch07.paired_interval, second_minus_first, "first minus second"),
    (ch07.paired_interval, extremes, "the percentiles to take"),
    (ch07.threshold, wanted_itself, "rows can be answered with"),
    (ch07.threshold, first_place, "the threshold 0.98 answers 1 rows"),
    (ch07.threshold, forgot_the_empty_case, "IndexError"),
    (ch07.threshold, answer_everything, "are right, wanted at least 80%"),
    (ch07.threshold, answer_nothing, "answers nothing"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
