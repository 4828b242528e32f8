"""Probabilities made to order: honest ones, over-confident ones, and what repairs them."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from helpers.errors import InputError
from helpers.training.metrics import macro_f1
from lessons.ch07 import calibration

rng = np.random.default_rng(0)
HONEST_LOGITS = rng.normal(0, 1.5, (6000, 3))  # the labels below are drawn from these very probabilities
TARGETS = (calibration.softmax(HONEST_LOGITS).cumsum(1) < rng.random((6000, 1))).sum(1)


@pytest.fixture(scope="module")
def cells(cell_definitions):
    """`ece` and `mean_loss` as the chapter writes them."""
    names = {"np": np, "calibration": calibration}
    exec(cell_definitions("ece"), names)
    return names


def temperature_of(cells, logits):
    return float(np.exp(minimize_scalar(cells["mean_loss"], (-1, 1), args=(logits, TARGETS)).x))


def test_honest_probabilities_have_nearly_no_error(cells):
    assert cells["ece"](calibration.softmax(HONEST_LOGITS), TARGETS) < 0.03


def test_error_by_hand(cells):
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]])
    targets = np.array([0, 1, 1, 0])
    bins = calibration.reliability(probabilities, targets, bins=2)
    assert bins == [
        calibration.Bin(2, pytest.approx(0.65), 0.5),
        calibration.Bin(2, pytest.approx(0.85), 0.5),
    ]
    assert cells["ece"](probabilities, targets, bins=2) == pytest.approx((0.15 + 0.35) / 2)


def test_bins_cover_every_row_and_rise():
    bins = calibration.reliability(calibration.softmax(HONEST_LOGITS[:23]), TARGETS[:23], bins=10)
    assert sum(part.rows for part in bins) == 23
    assert [part.confidence for part in bins] == sorted(part.confidence for part in bins)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_temperature_finds_the_factor_that_spoilt_the_logits(factor, cells):
    found = temperature_of(cells, (HONEST_LOGITS * factor).astype(np.float32))
    assert found == pytest.approx(factor, rel=0.06)
    repaired = calibration.softmax(HONEST_LOGITS * factor, found)
    assert cells["ece"](repaired, TARGETS) < 0.03
    assert (repaired.argmax(1) == HONEST_LOGITS.argmax(1)).all()


def test_answering_only_sure_rows_is_right_more_often():
    shares, accuracy = calibration.answered_curve(calibration.softmax(HONEST_LOGITS), TARGETS)
    assert shares[-1] == 1
    assert accuracy[-1] == pytest.approx((HONEST_LOGITS.argmax(1) == TARGETS).mean())
    assert accuracy[len(accuracy) // 5] > accuracy[-1] + 0.1


def test_offsets_name_a_rare_class_more_often_and_help_on_other_rows():
    logits = HONEST_LOGITS + np.array([0, -1.2, 0])  # the model has learnt to avoid class 1
    offsets = calibration.class_offsets(logits[:3000], TARGETS[:3000], widest=1.5)
    assert offsets[0] == 0
    assert offsets[1] > 0.5
    rest, wanted = logits[3000:], TARGETS[3000:]
    assert macro_f1(wanted, (rest + offsets).argmax(1), 3) > macro_f1(wanted, rest.argmax(1), 3) + 0.01


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(InputError, match=r"must sum to 1, found sums from .*pass softmax\(logits\)"):
        calibration.reliability(HONEST_LOGITS, TARGETS)


def test_more_bins_than_rows_are_refused():
    with pytest.raises(InputError, match="10 bins need at least as many rows, found 4"):
        calibration.reliability(np.full((4, 2), 0.5), np.zeros(4, dtype=int))
