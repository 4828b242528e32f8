"""Changed texts: what a change may touch, what it must leave, and that the seed decides."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from helpers.errors import InputError
from helpers.models.pretrained import text_classifier as build
from lessons.ch05 import text_augmentation

TEXT = "This isn't a good phone, but the price is great and I love it!"


@pytest.fixture(scope="module")
def encoder():
    return build()


@pytest.fixture(scope="module")
def neighbours(encoder):
    return text_augmentation.WordNeighbours(encoder.preprocessor, encoder.model.get_input_embeddings().weight)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def words(text):
    return re.findall(r"[\w']+", text)


def test_swap_keeps_all_words_and_the_punctuation(rng):
    for _ in range(20):
        found = text_augmentation.swap_words(TEXT, rng)
        assert sorted(words(found)) == sorted(words(TEXT))
        assert re.sub(r"[\w']+", "", found) == re.sub(r"[\w']+", "", TEXT)
        assert found != TEXT


def test_delete_takes_the_share(rng):
    text = " ".join(f"w{number}" for number in range(40))
    assert len(words(text_augmentation.delete_words(text, rng, share=0.25))) == 30
    assert len(words(text_augmentation.delete_words(text, rng, share=1.0))) == 1


def test_negations_can_be_kept(rng):
    lost = [text_augmentation.delete_words("not good", rng) for _ in range(20)]
    assert {"good", "not"} == set(lost)
    assert {
        text_augmentation.delete_words("not good", rng, keep=text_augmentation.is_negation) for _ in range(20)
    } == {"not"}


@pytest.mark.parametrize("word", ["not", "No", "isn't", "WON’T", "never"])
def test_negations(word):
    assert text_augmentation.is_negation(word)
    assert not text_augmentation.is_negation("knot")


@pytest.mark.parametrize("text", ["", "ok", ":)", "  ", "one two"])
def test_short_texts_survive(text, rng, neighbours):
    assert len(words(text_augmentation.swap_words(text, rng))) == len(words(text))
    assert bool(words(text_augmentation.delete_words(text, rng))) == bool(words(text))
    text_augmentation.replace_words(text, rng, neighbours)


def test_replace_uses_the_alternatives_alone(rng):
    found = text_augmentation.replace_words(TEXT, rng, lambda word: ["X"] if word == "good" else [])
    assert found == TEXT.replace("good", "X")
    assert text_augmentation.replace_words(TEXT, rng, lambda word: []) == TEXT


def test_neighbours_are_similar_words(neighbours):
    assert "phones" in neighbours("phone")
    assert "Phone".casefold() not in neighbours("Phone")
    assert neighbours("phone") == neighbours("Phone")
    assert "bad" in neighbours("good")  # not a synonym: chapter 05 measures what that does
    assert neighbours("xqzt") == []


def test_copies_come_after_the_rows_and_keep_label_and_group(rng):
    frame = pd.DataFrame(
        {"id": ["1", "2"], "text": [TEXT, "so so"], "label": ["x", "y"], "group": ["g", "h"]}
    )
    found = text_augmentation.with_copies(frame, text_augmentation.swap_words, copies=2, seed=1)
    assert found["id"].tolist() == ["1", "2", "1~1", "2~1", "1~2", "2~2"]
    assert found["group"].tolist() == ["g", "h"] * 3
    assert found["text"][0] == TEXT != found["text"][2]
    assert found.equals(text_augmentation.with_copies(frame, text_augmentation.swap_words, copies=2, seed=1))
    assert not found.equals(
        text_augmentation.with_copies(frame, text_augmentation.swap_words, copies=2, seed=2)
    )


@pytest.fixture(scope="module")
def masked_model(encoder):
    """A tiny masked language model that likes four words, in this order: phone, camera, ##s, movie."""
    torch.manual_seed(0)
    size = len(encoder.preprocessor)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    ).eval()
    with torch.no_grad():
        model.cls.predictions.bias.zero_()
        for place, word in enumerate(("phone", "camera", "##s", "movie")):
            model.cls.predictions.bias[encoder.preprocessor.convert_tokens_to_ids(word)] = 100 - place
    return model


def test_masked_words_are_the_likeliest_without_the_word_itself(masked_model, encoder):
    assert text_augmentation.masked_words(
        masked_model, encoder.preprocessor, "a good phone.", "phone", count=2
    ) == ["camera", "movie"]


def test_a_word_that_is_not_there_cannot_be_masked(masked_model, encoder):
    with pytest.raises(InputError, match="should hold the word 'fish'"):
        text_augmentation.masked_words(masked_model, encoder.preprocessor, "a good phone", "fish")
