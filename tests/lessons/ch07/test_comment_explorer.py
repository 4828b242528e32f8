"""Chapter 07's widget: one honest number per token, and that typing changes what it shows."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.models.pretrained import text_classifier as build
from lessons.ch07 import comment_explorer as explorer

TEXT = "The <b>coffee</b> was unwatchable &amp; dull, not good :-( \U0001f984"


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    built = build()
    built.model.classifier.weight.data *= 20  # a fresh head hardly reacts; a large one shows every change
    return built


def test_one_effect_per_token_of_the_cleaned_text(classifier):
    attributions = explorer.token_attributions(classifier, TEXT)
    tokens = [token for token, _ in attributions]
    assert tokens == classifier.preprocessor.tokenize(
        "The <b>coffee</b> was unwatchable & dull, not good :-( \U0001f984"
    )
    assert "[UNK]" in tokens, "an unknown symbol is a token of the text, too"
    assert "[CLS]" not in tokens
    assert "##able" in "".join(tokens)
    assert all(-1 <= effect <= 1 for _, effect in attributions)


def test_effect_is_the_fall_of_the_predicted_class_when_the_token_is_masked(classifier):
    text = "not a good film"
    attributions = explorer.token_attributions(classifier, text)
    p = predict(classifier, [text])[0]
    for place, word in enumerate(text.split()):
        masked = " ".join("[MASK]" if i == place else w for i, w in enumerate(text.split()))
        expected = p.max() - predict(classifier, [masked])[0][p.argmax()]
        assert attributions[place] == (word, pytest.approx(expected, abs=1e-5))
    assert max(abs(effect) for _, effect in attributions) > 1e-3, (
        "a test in which nothing has an effect shows nothing"
    )


def test_effects_vanish_for_a_model_that_ignores_its_input(classifier):
    torch.manual_seed(0)
    deaf = build()
    torch.nn.init.zeros_(deaf.model.classifier.weight)
    assert explorer.token_attributions(deaf, TEXT) == [
        (token, 0.0) for token, _ in explorer.token_attributions(classifier, TEXT)
    ]


def test_longer_than_a_batch_and_longer_than_the_limit(classifier):
    words = ["good", "bad"] * 100
    attributions = explorer.token_attributions(classifier, " ".join(words))
    assert [token for token, _ in attributions] == words[: explorer.MAX_TOKENS - 2]
    assert np.isfinite([effect for _, effect in attributions]).all()


def test_refuses_what_it_cannot_explain(classifier):
    with pytest.raises(InputError, match="the comment is empty"):
        explorer.token_attributions(classifier, " \n ")
    without = dataclasses.replace(classifier, preprocessor=type("Tokenizer", (), {"mask_token_id": None})())
    with pytest.raises(InputError, match="no mask token"):
        explorer.token_attributions(without, "fine")


def test_tokens_are_shown_with_sign_and_number_not_by_colour_alone():
    page = explorer.tokens_html([("good", 0.25), ("<not>", -0.5), ("a", 0.0)])
    assert "+25" in page
    assert "-50" in page
    assert "+0" in page
    assert "&lt;not&gt;" in page
    assert "<not>" not in page
    assert "rgba(0,114,178,0.30)" in page
    assert "rgba(230,159,0,0.60)" in page


def test_widget_answers_what_is_typed(classifier):
    box = explorer.comment_explorer(classifier, TEXT)
    field, result = box.children[0].children[0], box.children[1]
    assert result.value == explorer.answer_html(classifier, TEXT)
    assert "&lt;b&gt;coffee" in result.value, "a typed comment must not become part of the page"
    assert 'alt="probabilities: negative 0.' in result.value
    field.value = "What a waste of money."
    assert ">waste<" in result.value
    field.value = ""
    assert "the comment is empty" in result.value
