"""Chapter 00's widget: its numbers, its words for an empty comment, and that typing changes what it shows."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.deployment.predict import predict
from helpers.environment import seed_everything
from helpers.models.pretrained import text_classifier
from lessons.ch00 import before_and_after

TEXT = "The cake was dry, but the <b>coffee</b> was lovely."


@pytest.fixture(scope="module")
def pair():
    seed_everything(0)
    before = text_classifier()
    seed_everything(1)
    return before, text_classifier()


def test_it_holds_each_models_own_probabilities(pair):
    table = before_and_after.side_by_side(*pair, TEXT)
    assert list(table.index) == ["negative", "neutral", "positive"]
    np.testing.assert_allclose(table.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(table["before"], predict(pair[0], [TEXT])[0], atol=1e-6)
    np.testing.assert_allclose(table["after"], predict(pair[1], [TEXT])[0], atol=1e-6)
    assert (table["before"] - table["after"]).abs().max() > 1e-4, (
        "two different heads must answer differently"
    )


def test_it_refuses_an_empty_comment_and_other_classes(pair):
    with pytest.raises(ValueError, match="the comment is empty"):
        before_and_after.side_by_side(*pair, "  ")
    reversed_names = dataclasses.replace(pair[1], classes=pair[1].classes[::-1])
    with pytest.raises(ValueError, match="same classes"):
        before_and_after.side_by_side(pair[0], reversed_names, TEXT)


def test_widget_answers_what_is_typed(pair):
    box = before_and_after.before_and_after(*pair, TEXT)
    field, result = box.children[0].children[0], box.children[1]
    assert result.value == before_and_after.table_html(before_and_after.side_by_side(*pair, TEXT), TEXT)
    assert "&lt;b&gt;coffee" in result.value, "a typed comment must not become part of the page"
    field.value = "What a waste of money."
    assert "What a waste of money." in result.value
    field.value = ""
    assert "the comment is empty" in result.value


def test_stacked_probabilities_draws_and_prints_every_part():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])
    ax = before_and_after.stacked_probabilities(
        Figure().subplots(), ["bad", "good"], probabilities, ("negative", "neutral", "positive")
    )
    drawn = np.array([[bar.get_width() for bar in container] for container in ax.containers]).T
    np.testing.assert_allclose(drawn, probabilities)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bad", "good"]
    assert {text.get_text() for text in ax.texts if text.get_weight() == "bold"} == {"0.70", "0.90"}
