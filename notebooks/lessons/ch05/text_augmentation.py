"""Texts changed a little, so that a few teach like more: swap, delete, replace words (chapter 05).

Each change takes a text and a random generator and returns a text. Whether it keeps the *meaning* is a
question to measure: chapter 05 does, and finds changes that do not.
"""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

# Without these a sentence says the opposite, so a careful change leaves them alone; words that end in n't
# count, too.
NEGATIONS = frozenset({
    "no", "not", "never", "none", "nor", "nothing", "nobody", "nowhere", "neither", "cannot", "without",
    "hardly", "barely", "dont", "doesnt", "didnt", "isnt", "wasnt", "wont", "cant",
})  # fmt: skip
WORD = re.compile(r"\w+(?:['’]\w+)*")


def is_negation(word: str) -> bool:
    """Whether a word turns a sentence into its opposite: one of `NEGATIONS`, or a word like "isn't"."""
    return word.casefold() in NEGATIONS or word.casefold().replace("’", "'").endswith("n't")


def take_apart(text: str) -> tuple[list[str], list[str]]:
    """The words, and what lies before, between and after them (one more)."""
    return WORD.findall(text), WORD.split(text)


def join(words: list[str], between: list[str]) -> str:
    """The text again, of what `take_apart` made of it."""
    return between[0] + "".join(word + gap for word, gap in zip(words, between[1:]))


def chosen(places: int, share: float, rng: np.random.Generator) -> list[int]:
    """About a `share` of `places`, sorted: at least one, if there is one."""
    if places <= 0:
        return []
    number = min(places, max(1, round(share * places)))
    return sorted(rng.choice(places, number, replace=False).tolist())


def swap_words(text: str, rng: np.random.Generator, *, share: float = 0.1) -> str:
    """Exchange a `share` of the words (at least one) with the word after them.

    What lies between the words stays.
    """
    words, between = take_apart(text)
    for place in chosen(len(words) - 1, share, rng):
        words[place], words[place + 1] = words[place + 1], words[place]
    return join(words, between)


def delete_words(
    text: str, rng: np.random.Generator, *, share: float = 0.1, keep: Callable[[str], bool] | None = None
) -> str:
    """Leave out a `share` of the words (at least one, never all).

    Args:
        text: any text.
        rng: generator of the choice.
        share: share of the words to leave out, 0..1.
        keep: words for which it says True stay, e.g. `is_negation`.
    """
    words, between = take_apart(text)
    free = [place for place, word in enumerate(words) if not (keep and keep(word))]
    if len(words) > 1:
        for choice in chosen(len(free), min(share, 1 - 1 / len(words)), rng):
            words[free[choice]] = ""
    return re.sub(r"\s+", " ", join(words, between)).strip()


def replace_words(
    text: str,
    rng: np.random.Generator,
    alternatives: Callable[[str], list[str]],
    *,
    share: float = 0.1,
    keep: Callable[[str], bool] | None = None,
) -> str:
    """Replace a `share` of the words that have alternatives (at least one) by one of them, drawn at random.

    Args:
        text: any text.
        rng: generator of the choice.
        alternatives: word -> words that could stand in its place, e.g. by `neighbours_of`; an empty list
            keeps the word.
        share: share of the words that have alternatives, 0..1.
        keep: words for which it says True stay.
    """
    words, between = take_apart(text)
    found = {}
    for place, word in enumerate(words):
        others = [] if keep and keep(word) else alternatives(word)
        if others:
            found[place] = others
    places = list(found)
    for choice in chosen(len(places), share, rng):
        words[places[choice]] = str(rng.choice(found[places[choice]]))
    return join(words, between)


def neighbours_of(
    word: str, rows: dict[str, int], vectors: torch.Tensor, *, count: int = 5, least: float = 0.5
) -> list[str]:
    """The words whose embeddings are most similar to that of `word`, the nearest first; none for a stranger.

    A neighbour is used in similar company, which is not the same as a synonym: the opposite of a word is a
    neighbour, too.

    Args:
        word: any word.
        rows: word -> its row of `vectors`, in the order of the rows.
        vectors: (W, D), each of length 1.
        count: most neighbours.
        least: smallest similarity (cosine, -1..1).
    """
    if word.casefold() not in rows:
        return []
    similarity = vectors @ vectors[rows[word.casefold()]]  # (W,)
    values, places = similarity.topk(count + 1)  # the word itself comes first
    names = list(rows)
    return [names[place] for value, place in zip(values[1:], places[1:].tolist()) if value >= least]


def whole_words(tokenizer) -> dict[str, int]:
    """The vocabulary's words of three letters and more, with their numbers; no pieces, no signs."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    return {word: row for word, row in vocabulary if word.isalpha() and word.isascii() and len(word) > 2}


def with_copies(
    frame: pd.DataFrame, change: Callable[[str, np.random.Generator], str], *, copies: int, seed: int = 0
) -> pd.DataFrame:
    """The rows, and `copies` changed versions of each: TRAINING rows only, after the split.

    Args:
        frame: rows with `id` and `text`; other columns (label, group) are passed on to the copies.
        change: e.g. `swap_words`; gets the text and the random generator.
        copies: number of copies of each row.
        seed: seed of the changes.

    Returns:
        `frame`, then the copies, with the ids "ID~1", "ID~2", ... and a fresh index.
    """
    rng = np.random.default_rng(seed)
    parts = [frame]
    for number in range(1, copies + 1):
        parts.append(
            frame.assign(id=frame["id"] + f"~{number}", text=[change(text, rng) for text in frame["text"]])
        )
    return pd.concat(parts, ignore_index=True)
