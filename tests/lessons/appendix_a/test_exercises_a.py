"""Appendix A's exercises refuse the typical wrong attempts with a sentence that helps."""

import pandas as pd
import pytest

from lessons.appendix_a import answers, pictures
from lessons.appendix_a import exercises as ch_a
from lessons.appendix_a.catalogue import TOOLS


def chosen(**changes):
    return lambda: answers.tools() | {int(job[1:]): name for job, name in changes.items()}


def caused(**changes):
    return lambda: answers.causes() | changes


def guesses(file):
    return pd.read_csv(file)


def too_late(file):
    return pd.read_csv(file).astype({"id": str})


def all_text(file):
    return pd.read_csv(file, dtype=str)


def gaps_become_words(file):
    return pd.read_csv(file, dtype={"id": str}, keep_default_na=False)


@pytest.mark.parametrize(
    ("exercise", "attempt", "expected"),
    [
        (ch_a.read_votes, guesses, "the text '007'"),
        (ch_a.read_votes, too_late, "the text '007'"),
        (ch_a.read_votes, all_text, "ratings should be numbers"),
        (ch_a.read_votes, gaps_become_words, "is missing and should be found by isna()"),
        (ch_a.tools, dict, "keys 1 to 8"),
        (ch_a.tools, chosen(j1="sklearn"), "'sklearn' is in none of the tables"),
        (ch_a.tools, chosen(j1="Transformers", j6="FastAPI"), "6 of 8 fit; for job 1 think again: a linear"),
        (ch_a.tools, chosen(j3="Weights & Biases", j8="uv"), "without an account"),
        (ch_a.tools, chosen(j5="pandas", j7="pdb"), "need not fit on the disk"),
        (ch_a.causes, dict, "keys A, B, C, D"),
        (ch_a.causes, caused(A="a bug"), "values out of"),
        (ch_a.causes, caused(A="bytes overflowed"), "how the ids of the file were read"),
        (ch_a.causes, caused(B="shared memory"), "between its two pixels"),
        (ch_a.causes, caused(C="bytes overflowed"), "two names stand for the same bytes"),
        (ch_a.causes, caused(D="shared memory"), "depends on the number of rows"),
    ],
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, expected, refused):
    refused(exercise, attempt, expected)


@pytest.mark.parametrize(
    "changes", [{}, {"j3": "trackio"}, {"j3": "MLflow", "j6": "FastAPI"}, {"j4": "Kaggle"}]
)
def test_a_band_of_choices_is_right(changes, capsys):
    ch_a.tools.check(chosen(**changes))
    assert capsys.readouterr().out.startswith("Right. ")


def test_every_fitting_tool_is_in_the_tables():
    names = {tool.name for tool in TOOLS}
    assert all(set(fitting) <= names for _, fitting, _ in ch_a.JOBS.values())


def test_the_four_failures_really_happen():
    said = ch_a.failures()
    assert said["A"].endswith("0 rows")
    assert said["B"].endswith(": 49")  # (255 + 100 - 256) // 2
    assert said["C"].endswith("[-1.0, 1.0]")
    assert "minimised 3.5" in said["D"]
    assert said["D"].endswith("5.0")


def test_ways_are_drawn_slowest_first():
    figure, alt = pictures.times({"fast": 0.1, "slow": 2.0}, 10)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["slow", "fast"]
    assert len(alt) > 20
