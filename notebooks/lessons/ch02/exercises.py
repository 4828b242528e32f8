"""Exercises of chapter 02: a dataset of ratings, a collate function, a stream shuffled through a buffer."""

import functools
import math

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from helpers.data import sources
from helpers.data.collate import PadCollate
from lessons.ch02 import answers
from lessons.exercise import Exercise

PAD_TOKEN_ID = 0  # of MiniLM's tokenizer


@functools.cache
def _movies():
    comments = sources.comments()
    return comments[comments["platform"] == "movies"].head(500).reset_index(drop=True)


def _verify_ratings(attempt: type) -> None:
    movies = _movies()
    dataset = attempt(movies)
    if not isinstance(dataset, Dataset):
        raise AssertionError("Ratings should be a class that inherits from Dataset")
    if len(dataset) != len(movies):
        raise AssertionError(
            f"for {len(movies)} rows expected len(dataset) == {len(movies)}, found {len(dataset)}"
        )
    sample = dataset[7]
    if not isinstance(sample, dict) or set(sample) != {"text", "rating"}:
        raise AssertionError("a sample should be a dictionary with exactly the keys text and rating")
    if sample["text"] != movies["text"][7]:
        raise AssertionError("dataset[7]['text'] is not the text of row 7")
    rating = sample["rating"]
    if not torch.is_tensor(rating) or rating.shape != () or rating.dtype != torch.float32:
        raise AssertionError(
            "the rating should be a float32 tensor without dimensions; look at dtype= of torch.tensor"
        )
    total = sum(dataset[i]["rating"].item() for i in range(len(dataset)))
    if not math.isclose(total, movies["rating"].sum(), rel_tol=1e-4):
        raise AssertionError(
            f"expected the ratings to add up to {movies['rating'].sum():.1f}, found {total:.1f}"
        )
    if default_collate([dataset[0], dataset[1]])["rating"].dtype != torch.float32:
        raise AssertionError("a batch of ratings should be float32")


ratings = Exercise(
    verify=_verify_ratings,
    hints=(
        "Three methods: __init__ stores what __len__ and __getitem__ need. Turn the columns into lists "
        "there.",
        "A Python float becomes float64 in a batch. Make the tensor yourself, in __getitem__, and name its "
        "dtype.",
    ),
    answer=answers.Ratings,
    praise="Your dataset answers both questions, and its batches have the type that a model computes in.",
)


def _samples(seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 12, size=6)
    return [
        {
            "input_ids": rng.integers(1000, 2000, size=size).tolist(),
            "label": int(rng.integers(3)),
            "index": int(index),
        }
        for size, index in zip(sizes, rng.permutation(100))
    ]


def _verify_collate(attempt) -> None:
    for seed in range(10):
        samples = _samples(seed)
        expected, found = PadCollate(PAD_TOKEN_ID)(samples), attempt(samples)
        if not isinstance(found, dict) or set(found) != set(expected):
            raise AssertionError(f"expected a dictionary with the keys {', '.join(sorted(expected))}")
        for name, tensor in expected.items():
            if not torch.is_tensor(found[name]):
                raise AssertionError(f"{name} should be a tensor, found {type(found[name]).__name__}")
            if found[name].shape != tensor.shape:
                raise AssertionError(
                    f"expected {name} of shape {tuple(tensor.shape)}, found {tuple(found[name].shape)}"
                )
            if found[name].dtype != tensor.dtype:
                raise AssertionError(f"expected {name} of type {tensor.dtype}, found {found[name].dtype}")
            if not torch.equal(found[name], tensor):
                raise AssertionError(
                    f"{name} has wrong values; compare its first row with the first sample, and look at what "
                    "fills the rest"
                )


pad = Exercise(
    verify=_verify_collate,
    hints=(
        "First find the longest sample; every row of the batch gets that length.",
        "The row of a sample of length n is its ids and then (longest - n) times tokenizer.pad_token_id, "
        "which is 0 here. "
        "Its mask is n ones and then zeros.",
    ),
    answer=answers.collate,
    praise="Ten random batches equal those of PadCollate, tensor by tensor.",
)


def _verify_mixed(attempt) -> None:
    rows = list(range(300))
    for size in (1, 40, 300, 1000):
        out = list(attempt(iter(rows), size, 0))
        if len(out) != len(rows):
            raise AssertionError(
                f"300 rows went into a buffer of {size} and {len(out)} came out; what happens to the rows "
                "left in it?"
            )
        if sorted(out) != rows:
            raise AssertionError(f"with a buffer of {size} some rows came out twice and others never")
    if list(attempt(iter(rows), 40, 0)) == rows:
        raise AssertionError("a buffer of 40 left the rows in their order")
    if list(attempt(iter(rows), 40, 3)) != list(attempt(iter(rows), 40, 3)):
        raise AssertionError(
            "the same seed gave two different orders; make a generator from the seed inside the function"
        )
    if list(attempt(iter(rows), 40, 3)) == list(attempt(iter(rows), 40, 4)):
        raise AssertionError("seeds 3 and 4 gave the same order; use the seed")
    taken = iter(rows)
    next(iter(attempt(taken, 40, 0)))
    if next(taken, math.inf) > 45:
        raise AssertionError(
            "the whole stream was read before the first row came out; a stream may be larger than memory"
        )


shuffle = Exercise(
    verify=_verify_mixed,
    hints=(
        "Fill a list with the first `size` rows before anything is handed out; use "
        "np.random.default_rng(seed).",
        "For each further row: choose a random place of the list, yield what lies there, put the new row in "
        "its place.",
        "When the stream ends, the list still holds rows: shuffle them and yield them all.",
    ),
    answer=answers.mixed,
    praise="Every row comes out once, in an order that only the seed decides, and the stream is read no "
    "further than the buffer needs.",
)
