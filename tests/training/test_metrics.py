import numpy as np
import pytest
from sklearn.metrics import f1_score

from helpers.data.sources import human_ceiling
from helpers.training.metrics import (
    accuracy_interval,
    classification_metrics,
    macro_f1,
    macro_f1_interval,
    paired_interval,
)

rng = np.random.default_rng(0)
TARGETS = rng.integers(0, 3, 600)
PREDICTIONS = np.where(rng.random(600) < 0.7, TARGETS, rng.integers(0, 3, 600))


def test_loss_is_the_mean_over_rows():
    logits = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    metrics = classification_metrics(logits, np.array([0, 0, 1]))
    expected = [np.log1p(np.exp(-2)), 3 + np.log1p(np.exp(-3)), np.log(2)]
    assert metrics.loss == pytest.approx(np.mean(expected))
    assert metrics.accuracy == pytest.approx(1 / 3)
    assert metrics.n == 3


def test_macro_f1_counts_a_class_that_nobody_predicts():
    assert macro_f1([0, 0, 1], [0, 0, 0], 3) == pytest.approx((0.8 + 0 + 0) / 3)


def test_interval_holds_the_score_and_narrows_with_rows():
    score = macro_f1(TARGETS, PREDICTIONS, 3)
    low, high = macro_f1_interval(TARGETS, PREDICTIONS, 3)
    assert low < score < high
    few_low, few_high = macro_f1_interval(TARGETS[:100], PREDICTIONS[:100], 3)
    assert few_high - few_low > 1.5 * (high - low)


def test_interval_agrees_with_the_plain_bootstrap():
    draws = [rng.integers(0, 600, 600) for _ in range(400)]
    plain = np.percentile([f1_score(TARGETS[d], PREDICTIONS[d], average="macro") for d in draws], [2.5, 97.5])
    assert macro_f1_interval(TARGETS, PREDICTIONS, 3) == pytest.approx(plain, abs=0.01)


def test_copies_in_one_group_do_not_narrow_the_interval():
    copies = np.repeat(np.arange(600), 5)
    low, high = macro_f1_interval(TARGETS, PREDICTIONS, 3)
    honest = macro_f1_interval(TARGETS[copies], PREDICTIONS[copies], 3, groups=copies)
    naive = macro_f1_interval(TARGETS[copies], PREDICTIONS[copies], 3)
    assert honest == pytest.approx((low, high), abs=0.01)
    assert naive[1] - naive[0] < 0.6 * (high - low)


def test_accuracy_interval_agrees_with_the_binomial_one():
    share = (TARGETS == PREDICTIONS).mean()
    half = 1.96 * np.sqrt(share * (1 - share) / len(TARGETS))
    assert accuracy_interval(TARGETS, PREDICTIONS) == pytest.approx((share - half, share + half), abs=0.006)


def test_accuracy_interval_draws_whole_groups():
    copies = np.repeat(np.arange(600), 5)
    low, high = accuracy_interval(TARGETS, PREDICTIONS)
    assert accuracy_interval(TARGETS[copies], PREDICTIONS[copies], groups=copies) == pytest.approx(
        (low, high), abs=0.005
    )
    naive = accuracy_interval(TARGETS[copies], PREDICTIONS[copies])
    assert naive[1] - naive[0] < 0.6 * (high - low)


def test_paired_interval_is_narrower_than_the_distance_of_two_intervals():
    better = np.where(
        rng.random(600) < 0.1, TARGETS, PREDICTIONS
    )  # the same answers, some of the wrong ones mended
    low, high = paired_interval(TARGETS, better, PREDICTIONS, 3)
    assert 0 < low < macro_f1(TARGETS, better, 3) - macro_f1(TARGETS, PREDICTIONS, 3) < high
    alone = [macro_f1_interval(TARGETS, guesses, 3) for guesses in (better, PREDICTIONS)]
    assert alone[0][0] < alone[1][1], "unpaired intervals overlap and settle nothing"
    assert paired_interval(TARGETS, better, better, 3) == (0, 0)


def test_human_ceiling_by_hand():
    # Rater 1 says +4 where the others' mean is 0 (neutral): wrong. Raters 2 and 3 say 0 where the others'
    # mean is +2: wrong.
    assert human_ceiling([[4, 0, 0]])["accuracy"] == 0
    assert human_ceiling([[4, 4], [-1, -3], [0, 0, 0]]) == {"accuracy": 1.0, "macro_f1": 1.0, "n": 3}


def test_human_ceiling_of_all_comments(comments):
    ceiling = human_ceiling(comments["ratings"])
    assert ceiling["accuracy"] == pytest.approx(0.817, abs=0.001)
    assert ceiling["macro_f1"] == pytest.approx(0.774, abs=0.001)
