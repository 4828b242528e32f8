"""Pairs of comments that are hard to judge: copies that changed much, strangers that look alike (ch. 05).

The piles of `planted_faults` are easy, because planter and finder mean the same by "a little". Here a copy
may have lost a third of its words, and a stranger may have kept most of them.
"""

import functools

import numpy as np
import pandas as pd

from helpers.data import sources
from helpers.data.cleaning import clean_text
from lessons.ch05.duplicates import text_vectors

WORDS = (6, 30)  # of the comments that are taken


def close_calls(seed: int, size: int = 400) -> pd.DataFrame:
    """`size` pairs: `first` and `second` (texts), `same` (bool: a copy), `similarity` (0..1).

    Every second pair is a copy: typing errors, words added, the end cut off. In the others a third to four
    fifths of the longer words were replaced by words of other comments, as in messages from one template.
    """
    rng = np.random.default_rng(seed)
    first = _texts().sample(size, random_state=seed).tolist()
    long_words = [word for text in first for word in text.split() if len(word) > 3 and word.isalpha()]
    second = [
        _copied(text, rng) if place % 2 else _another(text, long_words, rng)
        for place, text in enumerate(first)
    ]
    vectors = text_vectors([*first, *second])
    similarity = np.asarray(vectors[:size].multiply(vectors[size:]).sum(axis=1)).ravel()
    same = np.arange(size) % 2 == 1
    return pd.DataFrame({"first": first, "second": second, "same": same, "similarity": similarity})


@functools.cache
def _texts() -> pd.Series:
    texts = sources.comments()["text"].map(clean_text)
    words = texts.str.split().str.len()
    return texts[words.between(*WORDS) & ~texts.str.contains("url_removed|@")]


def price(pairs: pd.DataFrame, threshold: float) -> float:
    """What a threshold costs per 100 pairs: 4 for each copy that it misses, 1 for each stranger it takes."""
    found = pairs["similarity"] >= threshold
    missed, wrong = (pairs["same"] & ~found).mean(), (~pairs["same"] & found).mean()
    return float(100 * (4 * missed + wrong))


def _copied(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    if rng.random() < 0.5:
        words = words[: max(3, round(len(words) * rng.uniform(0.6, 1)))]
    for place in rng.choice(len(words), min(int(rng.integers(1, 4)), len(words)), replace=False):
        if rng.random() < 0.6:
            words[place] = words[place][:-1] + str(rng.choice(list("aeiou")))
        else:
            words[place] += " really"
    return " ".join(words)


def _another(text: str, others: list[str], rng: np.random.Generator) -> str:
    words = text.split()
    free = [place for place, word in enumerate(words) if len(word) > 3 and word.isalpha()] or [0]
    number = max(1, round(len(free) * rng.uniform(0.3, 0.8)))
    for place in rng.choice(free, number, replace=False):
        words[place] = str(rng.choice(others))
    return " ".join(words)
