"""Typical wrong answers to the exercises of chapter 02, and what the learner reads."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from lessons.ch02 import answers
from lessons.ch02 import exercises as ch02


class Float64(answers.Ratings):
    def __getitem__(self, index):
        return {"text": self.texts[index], "rating": self.ratings[index]}


class Rounded(answers.Ratings):
    def __getitem__(self, index):
        return super().__getitem__(index) | {
            "rating": torch.tensor(round(self.ratings[index]), dtype=torch.float32)
        }


class Empty(Dataset):
    def __init__(self, frame):
        self.data = []

    def __len__(self):
        return 0


def pads_with_one(samples):
    batch = answers.collate(samples)
    return batch | {"input_ids": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 1)}


def without_mask(samples):
    return {name: tensor for name, tensor in answers.collate(samples).items() if name != "attention_mask"}


def fixed_length(samples):
    batch = answers.collate(samples)
    return batch | {"input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 4))}


def forgets_the_rest(stream, size, seed):
    rows = list(answers.mixed(stream, size, seed))
    yield from rows[: max(0, len(rows) - size)]


def reads_everything(stream, size, seed):
    yield from np.random.default_rng(seed).permutation(list(stream)).tolist()


def ignores_the_seed(stream, size, seed):
    return answers.mixed(stream, size, 0)


@pytest.mark.parametrize(
    ("exercise", "attempt", "expected"),
    [
        (ch02.ratings, Float64, "float32 tensor"),
        (ch02.ratings, Rounded, "add up to"),
        (ch02.ratings, Empty, "expected len(dataset) == 500, found 0"),
        (ch02.pad, pads_with_one, "what fills the rest"),
        (ch02.pad, without_mask, "attention_mask"),
        (ch02.pad, fixed_length, "input_ids of shape"),
        (ch02.shuffle, forgets_the_rest, "left in it"),
        (ch02.shuffle, reads_everything, "whole stream was read"),
        (ch02.shuffle, ignores_the_seed, "same order"),
    ],
)
def test_wrong_answers_are_refused_with_a_reason(exercise, attempt, expected, refused):
    refused(exercise, attempt, expected)
