"""The stored measurements as the chapter reads them."""

import pandas as pd
import pytest

from lessons.ch08 import measured, pictures

SCORES = {"larger": (0.7, 0.72, 0.74), "small": (0.6, 0.64, 0.65)}
RUNS = pd.DataFrame(
    [
        {"method": method, "seed": seed, "macro_f1": score, "megabytes": len(method), "ms_p50": 1.0}
        for method, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
)


def test_points_and_their_differences_seed_by_seed():
    points = measured.points(RUNS)
    assert points.loc["larger", "macro_f1"] == pytest.approx(0.72)
    assert points["MB"].tolist() == [6, 5]
    gains = measured.differences(RUNS, "larger", "small")
    assert gains.tolist() == pytest.approx([0.10, 0.08, 0.09])


def test_only_what_nothing_beats_is_on_the_frontier():
    points = pd.DataFrame(
        {"macro_f1": [0.7, 0.6, 0.7, 0.5], "MB": [10.0, 5.0, 20.0, 5.0]}, index=["a", "b", "c", "d"]
    )
    assert pictures.frontier_of(points, "MB") == ["a", "b"]


def test_the_stored_runs_name_what_the_chapter_asks_for():
    points = measured.points(measured.compression_runs())
    asked = {"zeros 50%", "cut 25%, trained on", "student, labels", "ONNX float32", "majority"}
    assert set(pictures.LABELLED) | asked <= set(points.index)
    assert points["seeds"].nunique() == 1
