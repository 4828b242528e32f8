import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from helpers.data.sources import one_person, split_half
from helpers.training.metrics import (
    accuracy_interval,
    classification_metrics,
    f1_scores,
    macro_f1,
    macro_f1_interval,
    mean_interval,
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


def test_scores_are_those_of_sklearn():
    for num_classes, absent in ((2, 0), (3, 1), (40, 5)):
        targets = rng.integers(0, num_classes, 300)
        logits = rng.normal(size=(300, num_classes + absent)) + 3 * np.eye(num_classes + absent)[targets]
        predictions, labels = logits.argmax(1), list(range(num_classes + absent))
        expected = f1_score(targets, predictions, labels=labels, average=None, zero_division=0)
        assert f1_scores(targets, predictions, len(labels)) == pytest.approx(expected)
        metrics = classification_metrics(logits, targets)
        assert metrics.macro_f1 == pytest.approx(expected.mean())
        assert metrics.accuracy == accuracy_score(targets, predictions)


def test_interval_holds_the_score_and_narrows_with_rows():
    score = macro_f1(TARGETS, PREDICTIONS, 3)
    low, high = macro_f1_interval(TARGETS, PREDICTIONS, 3)
    assert low < score < high
    few_low, few_high = macro_f1_interval(TARGETS[:100], PREDICTIONS[:100], 3)
    assert few_high - few_low > 1.5 * (high - low)


def test_the_interval_of_a_mean_is_that_of_accuracy_and_knows_halves():
    right, groups = TARGETS == PREDICTIONS, np.arange(600) // 3
    for options in ({}, {"groups": groups}):
        assert mean_interval(right, **options) == accuracy_interval(TARGETS, PREDICTIONS, **options)
    low, high = mean_interval(np.where(np.arange(600) % 2, 0.5, right))
    width = 2 * 1.96 * np.where(np.arange(600) % 2, 0.5, right).std() / np.sqrt(600)
    assert high - low == pytest.approx(width, rel=0.1)


def test_interval_agrees_with_the_plain_bootstrap():
    draws = [rng.integers(0, 600, 600) for _ in range(400)]
    plain = np.percentile([f1_score(TARGETS[d], PREDICTIONS[d], average="macro") for d in draws], [2.5, 97.5])
    assert macro_f1_interval(TARGETS, PREDICTIONS, 3) == pytest.approx(plain, abs=0.01)


def tables_of_draws(targets, predictions, num_classes, groups, seed, resamples=2000):
    """The plain way, quadratic in the classes: a table (C, C) of each group, added up for each draw."""
    codes = np.unique(groups, return_inverse=True)[1]
    tables = np.zeros((codes.max() + 1, num_classes, num_classes))
    np.add.at(tables, (codes, targets, predictions), 1)
    draws = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = draws.integers(len(tables), size=len(tables))
        yield np.tensordot(np.bincount(drawn, minlength=len(tables)), tables, axes=1)


def scores_of_draws(*arguments):
    """Macro-F1 and accuracy of each draw, from its table."""
    f1, accuracy = [], []
    for table in tables_of_draws(*arguments):
        hits, rows = np.diagonal(table), table.sum(0) + table.sum(1)
        f1.append(np.divide(2 * hits, rows, out=np.zeros(len(hits)), where=rows > 0).mean())
        accuracy.append(hits.sum() / table.sum())
    return np.array(f1), np.array(accuracy)


@pytest.mark.parametrize(
    ("rows", "num_classes", "num_groups"),
    [(20, 2, 5), (600, 3, 600), (600, 3, 60), (300, 10, 300), (100, 40, 3)],
)
def test_intervals_are_those_of_whole_tables_to_the_last_bit(rows, num_classes, num_groups):
    groups = np.arange(rows) % num_groups
    targets = rng.integers(0, num_classes, rows)
    first, second = (np.where(rng.random(rows) < 0.6, targets, targets[::-1]) for _ in range(2))
    middle = lambda scores: tuple(np.percentile(scores, [2.5, 97.5]))
    plain, right = scores_of_draws(targets, first, num_classes, groups, 7)
    other, _ = scores_of_draws(targets, second, num_classes, groups, 7)
    options = {"groups": groups, "seed": 7}
    assert macro_f1_interval(targets, first, num_classes, **options) == middle(plain)
    assert paired_interval(targets, first, second, num_classes, **options) == middle(plain - other)
    assert accuracy_interval(targets, first, **options) == middle(right)


MANY = """
import resource, time
import numpy as np
from helpers.training import metrics
rng, rows, classes = np.random.default_rng(0), {rows}, {classes}
targets, logits = rng.integers(0, classes, rows), rng.random((rows, classes), dtype=np.float32)
used = 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1])
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)
start, noise = time.process_time(), logits.argmax(1)
answers = np.where(rng.random(rows) < 0.6, targets, noise)
print(metrics.classification_metrics(logits, targets).accuracy)
print(*metrics.macro_f1_interval(targets, answers, classes), metrics.macro_f1(targets, answers, classes))
print(*metrics.accuracy_interval(targets, answers, groups=np.arange(rows) // 2), (targets == answers).mean())
print(*metrics.paired_interval(targets, noise, noise, classes, resamples=200), 0)
print(time.process_time() - start)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and RLIMIT_AS are Linux's")
@pytest.mark.parametrize(("rows", "classes"), [(300, 300), (1000, 1000), (100_000, 10)])
def test_many_classes_and_rows_take_seconds_and_little_memory(rows, classes):
    code = MANY.format(rows=rows, classes=classes)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    _, *intervals, (seconds,) = (
        [float(number) for number in line.split()] for line in done.stdout.splitlines()
    )
    assert seconds < 20
    # Macro-F1 may lie above its interval: a draw misses a third of classes with one row.
    assert [low <= score <= high for low, high, score in intervals[1:]] == [True, True]


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


def test_one_person_by_hand():
    # Rater 1 says +4 where the others' mean is 0 (neutral): wrong. Raters 2 and 3 say 0 where the others'
    # mean is +2: wrong.
    assert one_person([[4, 0, 0]])["accuracy"] == 0
    assert one_person([[4, 4], [-1, -3], [0, 0, 0]]) == {"accuracy": 1.0, "macro_f1": 1.0, "n": 3}


def test_people_on_all_comments(comments):
    person, crowd = one_person(comments["ratings"]), split_half(comments["ratings"])
    assert person["accuracy"] == pytest.approx(0.817, abs=0.001)
    assert person["macro_f1"] == pytest.approx(0.774, abs=0.001)
    assert 0.85 < crowd["macro_f1"] < crowd["accuracy"] < 1


def test_split_half_by_hand():
    assert split_half([[4, 4, 4, 4], [-1, -3], [0, 0, 0]]) == {"accuracy": 1.0, "macro_f1": 1.0, "n": 3}
    assert split_half([[4, -4], [4, 4, 4, 4]])["accuracy"] == 0.5, "one rater on each side, and they disagree"
    shuffled = [[-4, -4, 4, 4]] * 200
    assert 0 < split_half(shuffled)["accuracy"] < 1, "the halves are drawn, not cut where the list is cut"
    assert split_half(shuffled) == split_half(shuffled)
