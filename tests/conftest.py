"""Real data in small portions, shared by all tests; nothing here needs a network."""

import pytest
import torch

from helpers.data import cleaning, sources, splits
from helpers.runs.recipes import RunConfig, build_classifier, default_training, prepare


@pytest.fixture(scope="session")
def comments():
    return sources.comments()


@pytest.fixture(scope="session")
def clean(comments):
    return cleaning.clean_comments(comments, key=cleaning.letters_key)[0]


@pytest.fixture(scope="session")
def parts(clean):
    return splits.split(clean)


@pytest.fixture(scope="session")
def animals():
    return sources.animals()


@pytest.fixture
def text_classifier():
    torch.manual_seed(0)
    return build_classifier(RunConfig(task="sentiment"), sources.SENTIMENTS)


@pytest.fixture(scope="session")
def small_run():
    """A configuration and rows small enough to train in seconds."""
    config = RunConfig(task="sentiment", limit=64, training=default_training("sentiment", "full", epochs=2))
    return config, prepare(config)


@pytest.fixture
def refused(capsys):
    """refused(exercise, attempt, sentence): the exercise says "Not yet" to a wrong attempt, with a sentence
    that helps.
    """

    def check(exercise, attempt, sentence):
        exercise.check(attempt)
        out = capsys.readouterr().out
        assert out.startswith("Not yet: ")
        assert sentence in out

    return check
