"""Changed texts: what a change may touch, what it must leave, and that the seed decides."""

import re

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoTokenizer

from helpers import assets
from lessons.ch05 import text_augmentation

TEXT = "This isn't a good phone, but the price is great and I love it!"


@pytest.fixture(scope="module")
def neighbours():
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    weights = load_file(assets.path("minilm") / "model.safetensors")["embeddings.word_embeddings.weight"]
    words = text_augmentation.whole_words(tokenizer)
    vectors = F.normalize(weights[list(words.values())].float(), dim=1)
    rows = {word: row for row, word in enumerate(words)}
    return lambda word: text_augmentation.neighbours_of(word, rows, vectors)


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
