"""Chapter 05's threshold explorer: precision, recall and price, the pairs beside the threshold."""

import pandas as pd
import pytest

from lessons.ch05 import close_calls, threshold_explorer

PAIRS = pd.DataFrame({
    "first": ["a", "b", "c", "d"], "second": ["a!", "b?", "x", "dd"],
    "similarity": [0.99, 0.98, 0.97, 0.5], "same": [True, True, False, True],
})  # fmt: skip


@pytest.mark.parametrize(
    ("threshold", "scores", "price"),
    [(0.995, (1, 0), 300), (0.98, (1, 2 / 3), 100), (0.9, (2 / 3, 2 / 3), 125), (0.4, (3 / 4, 1), 25)],
)
def test_a_missed_copy_costs_four_times_a_stranger(threshold, scores, price):
    assert threshold_explorer.scores(PAIRS, threshold) == pytest.approx(scores)
    assert close_calls.price(PAIRS, threshold) == pytest.approx(price)


def test_the_pairs_on_both_sides_of_the_threshold():
    sides = threshold_explorer.neighbours(PAIRS, 0.975)
    assert [(name, pair["first"]) for name, pair in sides] == [("last found", "b"), ("first left", "c")]
    assert [name for name, _ in threshold_explorer.neighbours(PAIRS, 0.1)] == ["last found"]


def test_widget_reacts_to_its_slider():
    widget = threshold_explorer.threshold_explorer(PAIRS)
    before = widget.children[-1].value
    widget.children[0].value = 0.98
    after = widget.children[-1].value
    assert "precision 1.00, recall 0.67; the price is 100" in after
    assert after.split("base64,")[1] != before.split("base64,")[1]


def test_copies_and_strangers_overlap_and_the_seed_decides():
    pairs = close_calls.close_calls(seed=0, size=100)
    assert pairs.equals(close_calls.close_calls(seed=0, size=100))
    assert not pairs.equals(close_calls.close_calls(seed=1, size=100))
    copies, others = (pairs["similarity"][pairs["same"] == same] for same in (True, False))
    assert others.min() < copies.min() < others.max() < copies.max()
    assert copies.median() > others.median() + 0.1
