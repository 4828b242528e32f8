"""Active learning: the choice of rows, and a loop that starts fairly and labels no row twice."""

import numpy as np
import pytest

from helpers.errors import InputError
from lessons.ch08 import active_learning
from lessons.ch08.active_learning import SELECTIONS, label_in_rounds, least_sure

PROBABILITIES = np.array([[0.9, 0.05, 0.05], [0.5, 0.49, 0.01], [0.4, 0.3, 0.3], [0.6, 0.2, 0.2]])


def test_margin_and_least_confident_differ():
    rng = np.random.default_rng(0)
    assert least_sure(PROBABILITIES, 2, "margin", rng).tolist() == [1, 2]
    assert least_sure(PROBABILITIES, 2, "least confident", rng).tolist() == [2, 1]
    assert sorted(least_sure(PROBABILITIES, 9, "random", rng).tolist()) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="found 'luck'"):
        least_sure(PROBABILITIES, 1, "luck", rng)


def blobs(count, seed):
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, count, p=(0.6, 0.3, 0.1))
    return rng.normal(size=(count, 4)) + 2 * np.eye(3, 4)[targets], targets


def test_strategies_begin_with_the_same_rows_and_count_their_labels():
    pool, held_out = blobs(300, 0), blobs(200, 1)
    runs = {
        name: label_in_rounds(pool, held_out, name, seed=3, start=30, step=20, rounds=3)
        for name in SELECTIONS
    }
    assert len({run["macro_f1"].iloc[0] for run in runs.values()}) == 1
    assert len({run["macro_f1"].iloc[-1] for run in runs.values()}) > 1
    for run in runs.values():
        assert run["labels"].tolist() == [30, 50, 70, 90]
        assert run["rarest_share"].between(0, 1 / 3).all()


def test_no_row_is_labelled_twice_and_a_pool_can_end(monkeypatch):
    sizes = []

    def remember(probabilities, size, strategy, rng):
        sizes.append(len(probabilities))
        return least_sure(probabilities, size, strategy, rng)

    monkeypatch.setattr(active_learning, "least_sure", remember)
    run = label_in_rounds(blobs(100, 0), blobs(50, 1), "margin", start=40, step=25, rounds=5)
    assert sizes == [60, 35, 10]
    assert run["labels"].tolist() == [40, 65, 90, 100]


def test_another_seed_is_another_run():
    pool, held_out = blobs(300, 0), blobs(200, 1)
    first, again, other = (
        label_in_rounds(pool, held_out, "random", seed=seed, rounds=2) for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first["macro_f1"].equals(other["macro_f1"])
