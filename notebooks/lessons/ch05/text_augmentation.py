"""Texts changed a little, so that a few teach like more: swap, delete, replace words (chapter 05).

Each change takes a text and a random generator and returns a text. Whether it keeps the *meaning* is a
question to measure: chapter 05 does, and finds changes that do not.
"""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from helpers.errors import InputError

# Without these a sentence says the opposite, so a careful change leaves them alone; words that end in n't
# count, too.
NEGATIONS = frozenset({
    "no", "not", "never", "none", "nor", "nothing", "nobody", "nowhere", "neither", "cannot", "without",
    "hardly", "barely", "dont", "doesnt", "didnt", "isnt", "wasnt", "wont", "cant",
})  # fmt: skip
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def is_negation(word: str) -> bool:
    """Whether a word turns a sentence into its opposite: one of `NEGATIONS`, or a word like "isn't"."""
    return word.casefold() in NEGATIONS or word.casefold().replace("’", "'").endswith("n't")


def swap_words(text: str, rng: np.random.Generator, *, share: float = 0.1) -> str:
    """Exchange a `share` of the words (at least one) with the word after them.

    What lies between the words stays.
    """
    words, between = _take_apart(text)
    for place in _chosen(len(words) - 1, share, rng):
        words[place], words[place + 1] = words[place + 1], words[place]
    return _join(words, between)


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
    words, between = _take_apart(text)
    free = [place for place, word in enumerate(words) if not (keep and keep(word))]
    if len(words) > 1:
        for choice in _chosen(len(free), min(share, 1 - 1 / len(words)), rng):
            words[free[choice]] = ""
    return re.sub(r"\s+", " ", _join(words, between)).strip()


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
        alternatives: word -> words that could stand in its place, e.g. `WordNeighbours(...)`; an empty list
            keeps the word.
        share: share of the words that have alternatives, 0..1.
        keep: words for which it says True stay.
    """
    words, between = _take_apart(text)
    found = {}
    for place, word in enumerate(words):
        others = [] if keep and keep(word) else alternatives(word)
        if others:
            found[place] = others
    places = list(found)
    for choice in _chosen(len(places), share, rng):
        words[places[choice]] = str(rng.choice(found[places[choice]]))
    return _join(words, between)


class WordNeighbours:
    """word -> the words whose embeddings are most similar to its own in a pretrained encoder.

    A neighbour is used in similar company, which is not the same as a synonym: the opposite of a word is a
    neighbour, too.

    Args:
        tokenizer: a Hugging Face tokenizer whose vocabulary has whole words and pieces that begin with "##".
        embeddings: (V, D), one row for each entry of the vocabulary.
        count: number of neighbours of each word.
        least_similarity: cosine, -1..1; less similar words are left out.
    """

    def __init__(self, tokenizer, embeddings: torch.Tensor, *, count: int = 5, least_similarity: float = 0.5):
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        rows = [
            (word, row) for word, row in vocabulary if word.isalpha() and word.isascii() and len(word) > 2
        ]
        self.words = [word for word, _ in rows]
        self.place = {word: place for place, word in enumerate(self.words)}
        chosen = embeddings.detach().float()[[row for _, row in rows]]
        self.unit = torch.nn.functional.normalize(chosen, dim=1)  # (W, D)
        self.count, self.least_similarity = count, least_similarity
        self.found = {}

    def __call__(self, word: str) -> list[str]:
        """The neighbours of `word`, the nearest first; none for a word that is no entry of the vocabulary."""
        word = word.casefold()
        if word not in self.place:
            return []
        if word not in self.found:
            similarity = self.unit @ self.unit[self.place[word]]  # (W,)
            similarity[self.place[word]] = -1
            values, places = similarity.topk(self.count)
            self.found[word] = [
                self.words[place]
                for place, value in zip(places.tolist(), values)
                if value >= self.least_similarity
            ]
        return self.found[word]


def masked_words(model, tokenizer, text: str, word: str, *, count: int = 5) -> list[str]:
    """What a masked language model would write in place of `word`, the likeliest first, without `word`.

    Unlike `WordNeighbours` it reads the whole sentence. It needs a model with a masked-language head, such as
    bert-base-uncased; sentence encoders like MiniLM are published without one.

    Args:
        model: `model(input_ids (1, L), attention_mask (1, L)).logits` (1, L, V), e.g. transformers'
            `AutoModelForMaskedLM`.
        tokenizer: tokenizer of the model.
        text: holds `word`; its first occurrence is masked.
        word: the word to replace.
        count: number of answers.

    Raises:
        InputError: the text does not hold the word.
    """
    place = re.search(rf"\b{re.escape(word)}\b", text)
    if not place:
        raise InputError(f"the text should hold the word {word!r}, found {text!r}")
    batch = tokenizer(
        text[: place.start()] + tokenizer.mask_token + text[place.end() :],
        return_tensors="pt",
        truncation=True,
    )
    with torch.inference_mode():
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits  # (1, L, V)
    position = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0]
    candidates = tokenizer.convert_ids_to_tokens(
        logits[0, position].argsort(descending=True)[: 10 * count].tolist()
    )
    return [token for token in candidates if token.isalpha() and token != word.casefold()][:count]


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


def _take_apart(text: str) -> tuple[list[str], list[str]]:
    """The words, and what lies before, between and after them (one more)."""
    return _WORD.findall(text), _WORD.split(text)


def _join(words: list[str], between: list[str]) -> str:
    return between[0] + "".join(word + gap for word, gap in zip(words, between[1:]))


def _chosen(places: int, share: float, rng: np.random.Generator) -> list[int]:
    """About a `share` of `places`, sorted: at least one, if there is one."""
    if places <= 0:
        return []
    number = min(places, max(1, round(share * places)))
    return sorted(rng.choice(places, number, replace=False).tolist())
