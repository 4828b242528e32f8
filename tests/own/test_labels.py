"""Labels that look alike are asked about; those that mean something else are not."""

import pytest

from helpers.own.labels import alike


@pytest.mark.parametrize(
    "labels",
    [
        ["Good", "good", "GOOD"],
        ["caf\u00e9", "cafe\u0301"],
        ["good", "\u200bgood"],
        ["1", "1.0", "01"],
        ["TRUE", "True"],
        ["good", '"good"'],
        ["very good", "very\u00a0good", "very_good", "very-good"],
        ["\uff21", "A"],
    ],
)
def test_labels_that_look_alike(labels):
    assert alike([*labels, "bad"]) == [sorted(labels)]


@pytest.mark.parametrize(
    "labels",
    [["1", "-1", "+2"], ["C", "C++", "C#"], ["good", "bad"], ["nan", "inf"], [":)", ":("], ["1", "10"]],
)
def test_labels_that_differ(labels):
    assert alike(labels) == []
