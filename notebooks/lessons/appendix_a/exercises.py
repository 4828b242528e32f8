"""The exercises of appendix A: the mean of two pictures, ids that stay text, comparing versions."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data import sources
from lessons.appendix_a import answers
from lessons.exercise import Exercise


def _verify_blend(attempt):
    images = sources.animals()["image"].iloc[:40]
    pairs = [*zip(images[:20], images[20:]), (np.full((2, 2), 255, np.uint8), np.full((2, 2), 255, np.uint8))]
    for first, second in pairs:
        kept = first.copy()
        found, expected = attempt(first, second), (first.astype(float) + second) / 2
        if not isinstance(found, np.ndarray) or found.shape != first.shape:
            raise AssertionError(
                f"expected an array of shape {first.shape}, found {getattr(found, 'shape', found)!r}"
            )
        if found.dtype != np.uint8:
            raise AssertionError(f"the result should be a picture again, uint8, found {found.dtype}")
        if not np.array_equal(first, kept):
            raise AssertionError("the first picture was changed; make a new one")
        distance = np.abs(found - expected)
        far = distance.max()
        if far > 1:
            place = np.unravel_index(distance.argmax(), found.shape)
            raise AssertionError(
                f"a pixel with {first[place]} and {second[place]} should become about {expected[place]:g}, "
                f"found {found[place]} ({far:g} off)"
            )


blend = Exercise(
    verify=_verify_blend,
    hints=(
        "What is the largest number in a byte, and what is the largest sum of two of them?",
        "Make the numbers wider before you add: `first.astype(np.uint16)`; turn the result back into uint8 "
        "at the end.",
    ),
    answer=answers.blend,
    praise="Two white pixels stay white: the sum had room.",
)


def _verify_read(attempt):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "votes.csv"
        file.write_text("id,rating\n007,1.5\n12,-2\n,0.5\n1e5,3\n", encoding="utf-8")
        found = attempt(file)
    if not isinstance(found, pd.DataFrame) or list(found.columns) != ["id", "rating"] or len(found) != 4:
        raise AssertionError(f"expected a table with the columns id and rating and 4 rows, found {found!r}")
    if not pd.api.types.is_numeric_dtype(found["rating"]):
        raise AssertionError("ratings should be numbers: with text you cannot take a mean")
    for row, expected in ((0, "007"), (1, "12"), (3, "1e5")):
        if found["id"].iloc[row] != expected:
            raise AssertionError(
                f"the id in row {row} of the file is the text {expected!r}, found {found['id'].iloc[row]!r}"
            )
    if not pd.isna(found["id"].iloc[2]):
        raise AssertionError(
            "the id in row 2 is missing and should be found by isna(), found the value "
            f"{found['id'].iloc[2]!r}"
        )


read_votes = Exercise(
    verify=_verify_read,
    hints=(
        "`read_csv` guesses a type for each column. Turning numbers into text afterwards is too late: the "
        "zeros are gone.",
        'Its argument `dtype` takes a dictionary from column to type. `"string"` is a type of text that '
        "keeps missing values missing.",
    ),
    answer=answers.read_votes,
    praise="An id is a name, not a number, even when it is written with digits.",
)


def _verify_new_enough(attempt):
    cases = (
        ("2.11.0", "2.9", True, "eleven is more than nine"),
        ("2.9.1", "2.11", False, "nine is less than eleven"),
        ("3.1", "3.1.0", True, "a missing number counts as zero"),
        ("2.15.0+cu132", "2.15", True, "what follows + names the build"),
        ("5.0.0rc1", "5.0", False, "a release candidate comes before the release"),
        ("10.0", "9.9.9", True, "ten is more than nine"),
    )
    for found, least, expected, reason in cases:
        answer = attempt(found, least)
        if not isinstance(answer, bool | np.bool_):
            raise AssertionError(f"expected True or False for {found} and {least}, found {answer!r}")
        if answer != expected:
            raise AssertionError(
                f"is {found} at least {least}? Expected {expected}, found {answer}: {reason}"
            )


new_enough = Exercise(
    verify=_verify_new_enough,
    hints=(
        'Texts are compared letter by letter, so "2.9" > "2.11". Numbers in a tuple would be better, but '
        'what is "0rc1" as a number?',
        "The package `packaging` knows the rules: `from packaging.version import Version`, then compare two "
        "`Version(...)`.",
    ),
    answer=answers.new_enough,
    praise="This is the comparison that pip makes.",
)
