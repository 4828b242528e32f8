"""The pictures of chapter 02 draw what they are given, and each has a sentence that stands in for it."""

import numpy as np

from lessons.ch02 import pictures


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def test_changes_are_sorted_and_their_intervals_drawn():
    figure, alt = pictures.changes({"no": (0.0, 0.05), "most": (-0.2, 0.1), "some": (-0.1, 0.01)})
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["most", "some", "no"]
    ends = [line.get_segments()[0][:, 0].tolist() for line in ax.collections]
    assert np.allclose(ends, [[-30, -10], [-11, -9], [-5, 5]])
    assert len(alt) > 20


def test_padding_is_light_and_text_is_dark():
    lengths = np.array([2, 5, 3, 1])
    figure, _ = pictures.padding(lengths, {"fixed": (np.arange(4), 8), "own": (np.array([0, 2]), None)})
    fixed, own = (ax.images[0].get_array() for ax in figure.axes)
    assert fixed.shape == (4, 8)
    assert fixed.sum() == lengths.sum()
    assert own.tolist() == [[True, True, True], [True, True, False]]


def test_timelines_end_where_the_last_bar_ends():
    alone = [("loading", 0.0, 0.2), ("training", 0.2, 0.3), ("loading", 0.3, 0.5), ("training", 0.5, 0.6)]
    shared = [("loading, worker 0", 0.0, 0.2), ("loading, worker 1", 0.0, 0.2), ("training", 0.2, 0.35)]
    figure, _ = pictures.timelines({0: alone, 2: shared})
    assert titles(figure) == ["num_workers=0: done after 0.60 s", "num_workers=2: done after 0.35 s"]
    lanes = [[label.get_text() for label in ax.get_yticklabels()] for ax in figure.axes]
    assert lanes == [["loading", "training"], ["loading, worker 0", "loading, worker 1", "training"]]
    assert [len(ax.patches) for ax in figure.axes] == [4, 3]


def test_classes_of_every_batch_are_counted():
    figure, _ = pictures.classes_by_batch({"one": [[0, 0, 1], [2]], "two": [[2, 2]]}, ("a", "b", "c"))
    assert figure.axes[0].images[0].get_array().tolist() == [[2, 0], [1, 0], [0, 1]]


def test_rows_arrive_from_the_worker_that_made_their_batch():
    figure, _ = pictures.arrivals({"shared": [0, 2, 1, 3]}, batch_size=2)
    first, second = (points.get_offsets().tolist() for points in figure.axes[0].collections)
    assert (first, second) == ([[0, 0], [1, 2]], [[2, 1], [3, 3]])


def test_the_others_have_as_many_panels_as_entries():
    pixels = np.linspace(0, 1, 64).reshape(8, 8)
    for figure, panels in (
        (pictures.road()[0], 1),
        (pictures.image_row({"a": pixels, "b": pixels}, "two pictures")[0], 2),
        (pictures.image_rows({name: [pixels] * 4 for name in "abcd"}, "four blocks")[0], 16),
        (pictures.histograms({"raw": pixels, "scaled": pixels}, "two histograms")[0], 2),
        (pictures.similarity([8, 16], [1, 1], [1, 0.8])[0], 1),
    ):
        assert len(figure.axes) == panels
