"""Paired effects: the seed is taken out, what cannot be told is no result, and what can is told first."""

import numpy as np
import pandas as pd
import pytest

from lessons.ch05 import effects

BASE = np.array([0.5, 0.7, 0.9])  # what three seeds reach without the change
STEADY, MIXED = np.array([0.02, 0.021, 0.022]), np.array([0.1, -0.1, 0.0])


def scores(**variants):
    rows = [
        (name, seed, "plain", score) for name, values in variants.items() for seed, score in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "view", "score"])


def test_what_all_seeds_share_does_not_blur_a_difference():
    table = effects.paired(scores(none=BASE, better=BASE + STEADY, same=BASE + MIXED))
    found = table.set_index("variant")
    assert found.loc["better", "difference"] == pytest.approx(0.021)
    assert found["decided"].to_dict() == {"better": True, "same": False}
    # Student's t with two degrees of freedom: 4.303 standard errors
    assert found.loc["better", "half"] == pytest.approx(4.3027 * 0.001 / 3**0.5, rel=1e-4)


def test_lines_tell_the_smallest_visible_effect_of_what_is_undecided():
    table = effects.paired(scores(none=BASE, better=BASE + 0.2, same=BASE + MIXED))
    text = effects.lines(table, "accuracy")
    assert text.startswith("3 seeds")
    assert "better on plain: +0.200" in text
    assert "Too small to see (smallest visible effect): same on plain (0.248)" in text
    assert "same on plain: " not in text
