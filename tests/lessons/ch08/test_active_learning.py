"""Active learning: the choice of rows, and a loop that starts fairly and labels no row twice."""

import numpy as np

from lessons.ch08 import active_learning
from lessons.ch08.active_learning import label_in_rounds, least_sure

PROBABILITIES = np.array([[0.9, 0.05, 0.05], [0.5, 0.49, 0.01], [0.4, 0.3, 0.3], [0.6, 0.2, 0.2]])


def test_the_smallest_margin_comes_first():
    assert least_sure(PROBABILITIES, 2).tolist() == [1, 2]
    assert least_sure(PROBABILITIES, 9).tolist() == [1, 2, 3, 0]


def blobs(count, seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random(count) < 0.1).astype(int)
    targets[:20] = np.arange(20) % 2  # both classes are among any first rows
    return rng.normal(size=(count, 4)) + 2 * targets[:, None] * np.eye(4)[0], targets


def test_strategies_begin_with_the_same_rows_and_count_their_labels():
    pool, held_out = blobs(300, 0), blobs(200, 1)
    runs = [label_in_rounds(pool, held_out, name, 3, 40, 20, 3) for name in ("random", "least sure")]
    assert runs[0]["f1"].iloc[0] == runs[1]["f1"].iloc[0]
    for run in runs:
        assert run["labels"].tolist() == [40, 60, 80, 100]
        assert (run["rare"].diff().dropna() >= 0).all()
    assert runs[1]["rare"].iloc[-1] > runs[0]["rare"].iloc[-1]


def test_no_row_is_labelled_twice(monkeypatch):
    sizes = []

    def remember(probabilities, size):
        sizes.append(len(probabilities))
        return least_sure(probabilities, size)

    monkeypatch.setattr(active_learning, "least_sure", remember)
    label_in_rounds(blobs(100, 0), blobs(50, 1), "least sure", 0, 40, 25, 2)
    assert sizes == [60, 35, 10]


def test_another_seed_is_another_run():
    pool, held_out = blobs(300, 0), blobs(200, 1)
    first, again, other = (label_in_rounds(pool, held_out, "random", seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
