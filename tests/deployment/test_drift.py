"""The stability index by hand, its edge cases, and the monitor on real comments of two platforms."""

import math

import numpy as np
import pytest

from helpers.deployment.drift import DriftMonitor, population_stability_index, stability_index, verdict
from helpers.errors import InputError


def test_index_by_hand():
    # Shares 1/2, 1/2 against 3/4, 1/4: (1/4) ln(3/2) - (1/4) ln(1/2) = (1/4) ln 3.
    assert stability_index([50, 50], [75, 25]) == pytest.approx(math.log(3) / 4)
    # The same through numbers: the median of 0..9 is the one edge; 3 of the 4 new numbers lie above it.
    assert population_stability_index(range(10), [0, 7, 8, 9], bins=2) == pytest.approx(math.log(3) / 4)


def test_an_empty_bin_counts_as_half_a_row():
    # 10 of 20 against 0 of 10: the empty share becomes 0.5 / 10.
    expected = (0.05 - 0.5) * math.log(0.05 / 0.5) + (1 - 0.5) * math.log(1 / 0.5)
    assert stability_index([10, 10], [0, 10]) == pytest.approx(expected)
    assert stability_index([10, 10, 0], [0, 10, 0]) == pytest.approx(
        expected
    )  # empty on both sides: not there


def test_index_of_equal_far_and_tied_numbers():
    numbers = np.random.default_rng(0).normal(size=5000)
    assert population_stability_index(numbers, numbers) == 0
    assert verdict(population_stability_index(numbers, numbers + 3)) == "drifted"
    assert (
        population_stability_index(np.ones(50), np.ones(70)) == 0
    )  # one value only: nothing that could move below or above
    assert population_stability_index(np.ones(50), np.zeros(70)) > 1
    assert [verdict(psi) for psi in (0.0999, 0.1, 0.2499, 0.25)] == [
        "stable",
        "shifted",
        "shifted",
        "drifted",
    ]


@pytest.mark.parametrize(
    ("reference", "current", "bins"),
    [
        ([], [1.0], 10),
        ([1.0], [], 10),
        ([1.0, math.nan], [1.0], 10),
        ([1.0], [math.inf], 10),
        ([1.0], [1.0], 1),
    ],
)
def test_bad_numbers(reference, current, bins):
    with pytest.raises(InputError, match="finite numbers on both sides"):
        population_stability_index(reference, current, bins=bins)


def test_bad_counts():
    for counts in (([1, 2], [1, 2, 3]), ([0, 0], [1, 1])):
        with pytest.raises(InputError, match="two lists of counts"):
            stability_index(*counts)


def shares(frame):
    """People's votes as probabilities (N, 3): what a very good model would answer."""
    from helpers.data.sources import rater_shares

    return rater_shares(frame["ratings"]), frame["text"].str.len().to_numpy()


def test_probabilities_that_are_not_finite_are_refused():
    broken = [[0.5, 0.5], [math.nan, 0.5], [math.inf, 0.0]]
    with pytest.raises(InputError, match="must be finite, found 2 of 3 rows with others"):
        DriftMonitor(("a", "b"), broken)


def test_monitor_tells_platforms_apart(clean):
    tweets, news = (clean[clean["platform"] == name] for name in ("tweets", "nyt"))
    classes = ("negative", "neutral", "positive")
    monitor = DriftMonitor(classes, *shares(tweets.iloc[::2]))
    same = {finding.what: finding for finding in monitor.compare(*shares(tweets.iloc[1::2]))}
    other = {finding.what: finding for finding in monitor.compare(*shares(news))}
    assert list(same) == [
        "confidence",
        "predicted class",
        *(f"share of {name}" for name in classes),
        "text length",
    ]
    assert {finding.verdict for finding in same.values()} == {"stable"}
    assert other["confidence"].verdict == other["predicted class"].verdict == "drifted"
    assert other["text length"].psi > 0.1 > same["text length"].psi
    assert other["text length"].current > 1.2 * other["text length"].reference
    assert other["confidence"].current < other["confidence"].reference
    assert sum(other[f"share of {name}"].current for name in classes) == pytest.approx(1)
    assert math.isnan(other["predicted class"].current)


def test_monitor_does_not_judge_a_few_rows():
    classes, rng = ("a", "b"), np.random.default_rng(0)
    p = rng.dirichlet([1, 1], size=400)
    monitor = DriftMonitor(classes, p)
    assert {finding.verdict for finding in monitor.compare(p[:199])} == {"too few rows"}
    assert {finding.verdict for finding in monitor.compare(p[:200])} == {"stable"}
    assert "text length" not in {
        finding.what for finding in monitor.compare(p, [3] * 400)
    }  # unknown for the reference
    for wrong in (p[:, :1], p[0], p[:0]):
        with pytest.raises(InputError, match="probabilities must be"):
            monitor.compare(wrong)
