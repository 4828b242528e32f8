"""Chapter 05's threshold explorer: the curve, the pairs next to the threshold, and the widget's reaction."""

import pandas as pd
import pytest
from PIL import Image

from lessons.ch05 import threshold_explorer

PAIRS = pd.DataFrame({
    "first": [0, 0, 1, 2], "second": [1, 2, 2, 3],
    "similarity": [0.99, 0.98, 0.98, 0.95], "same": [True, True, False, True],
})  # fmt: skip
PICTURES = [Image.new("RGB", (8, 8), (value, value, value)) for value in (10, 20, 30, 40)]


def test_curve_counts_equal_similarities_together():
    table = threshold_explorer.curve(PAIRS, planted=4)
    assert table["similarity"].tolist() == [0.99, 0.98, 0.95]
    assert table["precision"].tolist() == [1, 2 / 3, 3 / 4]
    assert table["recall"].tolist() == [1 / 4, 2 / 4, 3 / 4]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.995, (1.0, 0.0)), (0.985, (1.0, 0.25)), (0.98, (2 / 3, 0.5)), (0.9, (0.75, 0.75))],
)
def test_at_a_threshold(threshold, expected):
    assert threshold_explorer.at(threshold_explorer.curve(PAIRS, 4), threshold) == pytest.approx(expected)


def test_picture_shows_the_pairs_on_both_sides_of_the_threshold():
    figure = threshold_explorer.picture(PICTURES, PAIRS, 4, threshold=0.985)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[1] == titles[2] == "last found: 0.990\nsame picture"
    assert titles[3].startswith("first left: 0.980")
    assert not any(
        "first left" in ax.get_title()
        for ax in threshold_explorer.picture(PICTURES, PAIRS, 4, threshold=0.9).axes
    )


def test_widget_reacts_to_its_slider():
    widget = threshold_explorer.threshold_explorer(PICTURES, PAIRS, 4)
    before = widget.children[-1].value
    widget.children[0].value = 0.9
    after = widget.children[-1].value
    assert "4 pairs found, precision 0.75, recall 0.75 of 4 planted pairs" in after
    assert after.split("base64,")[1] != before.split("base64,")[1]
