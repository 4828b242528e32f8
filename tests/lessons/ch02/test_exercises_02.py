"""Typical wrong answers to the exercises of chapter 02, and what the learner reads."""

import contextlib

import pytest
import torch
from torch.utils.data import Dataset, default_collate

from lessons.ch02 import answers, batch_explorer, choosing
from lessons.ch02 import exercises as ch02


class Float64(answers.TextFiles):
    def collate(self, samples):
        ratings = torch.tensor([sample["rating"] for sample in samples], dtype=torch.float64)
        return super().collate(samples) | {"ratings": ratings}


class PadsWithOne(answers.TextFiles):
    def collate(self, samples):
        batch = super().collate(samples)
        return batch | {"input_ids": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 1)}


class FixedLength(answers.TextFiles):
    def collate(self, samples):
        batch = super().collate(samples)
        return batch | {
            name: torch.nn.functional.pad(batch[name], (0, 16)) for name in ("input_ids", "attention_mask")
        }


class WithoutMask(answers.TextFiles):
    def collate(self, samples):
        return {name: tensor for name, tensor in super().collate(samples).items() if name != "attention_mask"}


class Transposed(answers.TextFiles):
    def collate(self, samples):
        batch = default_collate([{"input_ids": sample["input_ids"]} for sample in samples])
        return super().collate(samples) | batch


class MissesLate(answers.TextFiles):
    def __init__(self, labels_file, tokenize):
        with contextlib.suppress(FileNotFoundError):  # nothing is said before the first epoch
            super().__init__(labels_file, tokenize)


class NamesNoFile(answers.TextFiles):
    def __init__(self, labels_file, tokenize):
        try:
            super().__init__(labels_file, tokenize)
        except FileNotFoundError:
            raise ValueError("something is wrong with your data") from None


class SortsFilesAlone(answers.TextFiles):
    def __init__(self, labels_file, tokenize):
        super().__init__(labels_file, tokenize)
        self.files.sort()


class ReadsTheTableEachTime(answers.TextFiles):
    def __init__(self, labels_file, tokenize):
        super().__init__(labels_file, tokenize)
        self.table = labels_file

    def __getitem__(self, index):
        self.table.read_text(encoding="utf-8")
        return super().__getitem__(index)


class Empty(Dataset):
    def __init__(self, labels_file, tokenize):
        self.data = []

    def __len__(self):
        return 0


class NoDataset:
    def __init__(self, labels_file, tokenize):
        pass


def diagnosed(**changes):
    return lambda: answers.diagnosis() | changes


def planned(**changes):
    return lambda: answers.plan() | changes


@pytest.mark.parametrize(
    ("exercise", "attempt", "expected"),
    [
        (ch02.texts, Float64, "float32"),
        (ch02.texts, PadsWithOne, "padding should be 0"),
        (ch02.texts, FixedLength, "should be (2, 3) torch.int64, found (2, 19)"),
        (ch02.texts, WithoutMask, "attention_mask and ratings"),
        (ch02.texts, Transposed, "input_ids should be (2, 3)"),
        (ch02.texts, MissesLate, "look for all files in __init__"),
        (ch02.texts, NamesNoFile, "a missing file should be named"),
        (ch02.texts, SortsFilesAlone, "ids of row"),
        (ch02.texts, ReadsTheTableEachTime, "FileNotFoundError"),
        (ch02.texts, Empty, "expected len(dataset) == 5, found 0"),
        (ch02.texts, NoDataset, "inherits from Dataset"),
        (ch02.diagnosis, dict, "expected a dictionary with the keys A, B, C, D"),
        (ch02.diagnosis, diagnosed(A="broken"), "values out of: healthy"),
        (ch02.diagnosis, diagnosed(A="healthy"), "compare the number of rows"),
        (ch02.diagnosis, diagnosed(B="never shuffled"), "all as they should be"),
        (ch02.diagnosis, diagnosed(C="healthy"), "compare the first ids of both epochs"),
        (ch02.diagnosis, diagnosed(D="healthy"), "compare mean and standard deviation"),
        (ch02.plan, dict, "expected a dictionary with the keys order"),
        (ch02.plan, planned(order=batch_explorer.IN_ORDER), "each batch would hold one label"),
        (ch02.plan, planned(order="sorted"), "order should be one of"),
        (ch02.plan, planned(num_workers=8), "0 to 4 workers"),
        (ch02.plan, planned(batch_size=64), "the longest texts decide"),
        (ch02.plan, planned(num_workers=0), "the main process waits for files"),
        (ch02.plan, planned(order=batch_explorer.SHUFFLED, num_workers=2), "of the positions are padding"),
        (ch02.plan, planned(num_workers=1), "the files are what everybody waits for"),
        (ch02.plan, planned(batch_size=8, num_workers=4), "the steps, or the start of the workers"),
    ],
)
def test_wrong_answers_are_refused_with_a_reason(exercise, attempt, expected, refused):
    refused(exercise, attempt, expected)


@pytest.mark.parametrize("plan", [answers.plan(), answers.plan() | {"batch_size": 40, "num_workers": 2}])
def test_a_band_of_plans_is_right(plan, capsys):
    ch02.plan.check(lambda: plan)
    assert capsys.readouterr().out.startswith("Right. ")


def test_the_best_plan_fits_and_no_other_is_faster():
    lengths = choosing.hidden_lengths()
    assert 2500 < len(lengths) < 3500
    for size in (16, 32, 44):
        for order in batch_explorer.ORDERS[1:]:
            for workers in range(choosing.CORES + 1):
                assert choosing.seconds(lengths, order, size, workers) >= choosing.best()


def test_workers_share_the_waiting_and_not_the_training():
    lengths = choosing.hidden_lengths()
    alone, one, two = (
        choosing.seconds(lengths, batch_explorer.SHUFFLED, 32, workers) for workers in (0, 1, 2)
    )
    reading = len(lengths) * choosing.READ
    assert alone - reading == pytest.approx(two - 2 * choosing.START)  # two hide all the reading
    assert one == pytest.approx(reading + choosing.START)  # one does not
