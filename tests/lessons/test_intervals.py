"""A mean of runs with its interval, and what is too small to see."""

import pytest

from lessons.intervals import interval, verdict


def test_interval_is_students():
    assert interval([1, 2, 3]) == pytest.approx((2, 4.3027 / 3**0.5), rel=1e-4)


def test_what_the_interval_does_not_tell_from_nothing_is_no_figure():
    assert verdict([1, 2, 3]) == "too small to see with 3 runs (smallest visible effect 2.484)"
    assert verdict([2.0, 2.1, 1.9], " s") == "+2.000 ± 0.248 s"
    assert verdict([-2.0, -2.1, -1.9]).startswith("-2.000")


def test_an_interval_within_what_matters_decides_that_nothing_does():
    near = [0.001, -0.002, 0.002, 0.0]  # 0.00025 ± 0.0027
    assert verdict(near, matters=0.02) == "no difference of 0.02 or more (+0.000 ± 0.003)"
    assert verdict(near, matters=0.002).startswith("too small to see with 4 runs")
    assert verdict([0.019, 0.019, 0.0191], matters=0.02).startswith("+0.019")  # small, and seen
