"""Appendix A's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pandas as pd
import pytest

from lessons.appendix_a import exercises as ch_a


def adds_bytes(first, second):
    return (first + second) // 2


def stays_float(first, second):
    return (first / 2) + (second / 2)


def only_the_first(first, second):
    return first.copy()


def in_place(first, second):
    first //= 2
    first += second // 2
    return first


def guesses(file):
    return pd.read_csv(file)


def too_late(file):
    return pd.read_csv(file).astype({"id": str})


def all_text(file):
    return pd.read_csv(file, dtype=str)


def gaps_become_words(file):
    return pd.read_csv(file, dtype={"id": str}, keep_default_na=False)


def as_text(found, least):
    return found >= least


def as_float(found, least):
    return float(".".join(found.split(".")[:2])) >= float(".".join(least.split(".")[:2]))


def as_numbers(found, least):
    return tuple(map(int, found.split("+")[0].split("."))) >= tuple(map(int, least.split(".")))


def ignores_candidates(found, least):
    numbers = [
        [
            int("".join(c for c in part.partition("rc")[0] if c.isdigit()))
            for part in text.split("+")[0].split(".")
        ]
        for text in (found, least)
    ]
    width = max(map(len, numbers))
    return np.array_equal(*(n + [0] * (width - len(n)) for n in numbers)) or numbers[0] > numbers[1]


WRONG = [
    (ch_a.blend, adds_bytes, "off)"),
    (ch_a.blend, stays_float, "uint8, found float64"),
    (ch_a.blend, only_the_first, "should become about"),
    (ch_a.blend, in_place, "was changed"),
    (ch_a.read_votes, guesses, "the text '007'"),
    (ch_a.read_votes, too_late, "the text '007'"),
    (ch_a.read_votes, all_text, "ratings should be numbers"),
    (ch_a.read_votes, gaps_become_words, "is missing and should be found by isna()"),
    (ch_a.new_enough, as_text, "eleven is more than nine"),
    (ch_a.new_enough, as_float, "eleven is more than nine"),
    (ch_a.new_enough, as_numbers, "a missing number counts as zero"),
    (ch_a.new_enough, ignores_candidates, "a release candidate comes before the release"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
