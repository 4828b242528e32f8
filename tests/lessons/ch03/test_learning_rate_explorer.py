"""Chapter 03's learning-rate explorer: real trainings, their verdict, its speed on one thread."""

import gc
import math
import time

import numpy as np
import pytest
import torch

from helpers.data import cleaning, splits
from lessons.ch03 import learning_rate_explorer
from lessons.ch03.silhouettes import Silhouettes


@pytest.fixture(scope="module")
def frame(animals):
    return splits.subsample(cleaning.clean_images(animals)[0], 1000)


@pytest.fixture(scope="module")
def rows(frame):
    return Silhouettes(frame.iloc[:600]), Silhouettes(frame.iloc[600:])


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_samples_are_what_collating_expects(rows, frame):
    sample = rows[0][7]
    assert sample["image"].shape == (1, 28, 28)
    assert sample["image"].max() <= 1
    assert np.array_equal(sample["image"][0].numpy() * 255, frame["image"].iloc[7])
    assert learning_rate_explorer.ANIMALS[sample["label"]] == frame["label"].iloc[7]
    assert len(rows[0]) == 600


def test_a_training_can_be_repeated_and_leaves_the_random_numbers_alone(rows):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (learning_rate_explorer.train_briefly(*rows, 0.01) for _ in range(2))
    assert np.array_equal(first.losses, second.losses)
    assert torch.equal(torch.rand(3), expected)
    assert len(first.losses) == learning_rate_explorer.STEPS


@pytest.mark.parametrize(
    ("rate", "optimizer", "words"),
    [
        (1e-4, "sgd", "hardly learnt"),
        (0.03, "sgd", "the loss of the last 20 steps"),
        (3.0, "sgd", "so long that the loss jumped up"),
        (0.01, "adamw", "the loss of the last 20 steps"),
        (1.0, "adamw", "so long that the loss jumped up"),
        (1.0, "adadelta", "the loss of the last 20 steps"),
    ],
)
def test_verdict(rows, rate, optimizer, words):
    training = learning_rate_explorer.train_briefly(*rows, rate, optimizer=optimizer)
    assert any(word in training.sentence() for word in words.split("|"))
    assert (training.accuracy > 0.45) == ("last 20" in words)


def test_a_loss_that_is_no_number_is_too_long_a_step_and_can_be_drawn():
    broken = learning_rate_explorer.ShortTraining(10.0, np.array([2.3] * 10 + [math.nan] * 20), 0.1)
    assert "jumped up" in broken.sentence()
    learning_rate_explorer.picture([broken])


def test_decay_settles(rows):
    constant, linear = (
        learning_rate_explorer.train_briefly(*rows, 0.1, schedule=name) for name in ("constant", "linear")
    )
    assert linear.losses[-20:].mean() < constant.losses[-20:].mean()


def controls(widget):
    return {child.description: child for child in widget.children[:-1]}, widget.children[-1]


def test_widget_reacts_to_every_control(frame):
    by_name, output = controls(learning_rate_explorer.learning_rate_explorer(frame))
    assert "Learning rate 0.001:" in output.value
    for name, value in [
        ("learning rate", 0.1),
        ("optimizer", "adadelta"),
        ("schedule", "linear"),
        ("batch_size", 8),
    ]:
        before = output.value
        by_name[name].value = value
        assert output.value != before, name


def test_widget_says_what_the_computation_says(frame, rows):
    by_name, output = controls(learning_rate_explorer.learning_rate_explorer(frame))
    by_name["learning rate"].value = 0.01
    sentence = learning_rate_explorer.train_briefly(*rows, 0.01).sentence()
    assert f">{sentence}</p>" in output.value
    assert f'alt="{sentence}"' in output.value


def test_moving_the_slider_takes_less_than_a_second_on_one_thread(frame, one_thread):
    by_name, _ = controls(learning_rate_explorer.learning_rate_explorer(frame))
    by_name["learning rate"].value = 0.03  # the first move also loads what all later ones use
    seconds = []
    gc.disable()  # what thousands of other tests have left takes it most of a second to look through
    try:
        for value in (0.01, 0.1, 1.0):
            start = time.thread_time()
            by_name["learning rate"].value = value
            seconds.append(time.thread_time() - start)
    finally:
        gc.enable()
    assert max(seconds) < 1.0
