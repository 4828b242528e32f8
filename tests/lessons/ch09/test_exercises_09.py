"""Chapter 09's exercises: the answers pass, and what learners write instead is refused with a clue."""

import itertools
import math

import pytest
import torch

from lessons.ch09 import answers
from lessons.ch09 import exercises as ch09
from lessons.ch09.decoder import KVCache


@pytest.mark.parametrize("name", ["ruler", "whole_documents", "sliding_cache", "min_p"])
def test_solutions_pass(capsys, name):
    exercise = getattr(ch09, name)
    exercise.check(exercise.answer)
    assert capsys.readouterr().out.startswith("Right. ")


@pytest.mark.parametrize(
    "name", ["three_shifts", "three_packers", "three_samplers", "block_length", "nucleus", "scheme"]
)
def test_choices_of_the_answers_pass(capsys, name):
    exercise = getattr(ch09, name)
    exercise.check(exercise.answer())
    assert capsys.readouterr().out.startswith("Right. ")


@pytest.mark.parametrize("name", ["three_shifts", "three_packers", "three_samplers"])
def test_every_other_naming_is_refused(refused, name):
    exercise = getattr(ch09, name)
    right = exercise.answer()
    for names in itertools.permutations(right.values()):
        attempt = dict(zip(right, names))
        if attempt != right:
            refused(exercise, attempt, "of 3 are wrong")
    refused(exercise, {"a": ..., "b": ..., "c": ...}, "a must be one of")
    refused(exercise, dict.fromkeys("abc", right["a"]), "two of yours are the same")
    refused(exercise, ["none"], "expected a dictionary")


def test_shifts_show_what_the_answer_says(capsys):
    ch09.three_shifts_answers()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"b: loss 0.00 nats per letter, writes {'the' + 'e' * 45!r}"
    assert "the " in lines[2]


def test_packers_do_what_the_answer_says():
    kinds = {name: packer for packer, name in zip(ch09.packers(), answers.three_packers().values())}
    moved = lambda packer, one, other: (packer(one) - packer(other)).abs().amax(-1) > 1e-4
    neighbour = ([[5, 6], [8, 9]], [[5, 7], [8, 9]])
    future = ([[5, 6, 7]], [[5, 6, 8]])
    assert moved(kinds["no boundaries"], *neighbour)[3:].any()
    assert not moved(kinds["right"], *neighbour)[3:].any()
    assert not moved(kinds["sees the future"], *neighbour)[3:].any()
    assert moved(kinds["sees the future"], *future)[:3].any()
    assert not moved(kinds["no boundaries"], *future)[:3].any()
    assert not moved(kinds["right"], *future)[:3].any()


def test_samplers_do_what_the_answer_says():
    torch.manual_seed(0)
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    drawn = [{sampler(logits, 0.7) for _ in range(60)} for sampler in ch09.samplers()]
    assert drawn[1:] == [{0}, {0, 1}]
    assert len({ch09.samplers()[0](torch.zeros(3), 1.0) for _ in range(60)}) == 1


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda log_p, text: None, "expected a Python number, found NoneType"),
        (lambda log_p, text: -log_p.sum() / math.log(2) / len(text.encode()), "found Tensor; .item()"),
        (lambda log_p, text: log_p.sum().item() / math.log(2) / len(text.encode()), "is negative"),
        (lambda log_p, text: -log_p.sum().item() / len(text.encode()), "these are nats per byte"),
        (lambda log_p, text: -log_p.sum().item() / math.log(2) / len(text), "characters, but"),
        (lambda log_p, text: -log_p.mean().item() / math.log(2), "these are bits per token"),
    ],
)
def test_wrong_rulers(refused, attempt, sentence):
    refused(ch09.ruler, attempt, sentence)


class OneEach(answers.WholeDocuments):
    def __init__(self, documents, length, sign):
        super().__init__([], length, sign)
        self.blocks = [[sign, *document] for document in documents]


class NoRestart(answers.WholeDocuments):
    def __getitem__(self, index):
        return super().__getitem__(index) | {"position_ids": torch.arange(self.length)}


class Shuffled(answers.WholeDocuments):
    def __init__(self, documents, length, sign):
        super().__init__(sorted(documents, key=len), length, sign)


class LastLost(answers.WholeDocuments):
    def __len__(self):
        return len(self.blocks) - 1


class Cut(answers.WholeDocuments):
    def __init__(self, documents, length, sign):
        super().__init__([], length, sign)
        stream = [number for document in documents for number in (sign, *document)]
        self.blocks = [stream[start : start + length] for start in range(0, len(stream), length)]


class Unpadded(answers.WholeDocuments):
    def __getitem__(self, index):
        ids = torch.tensor(self.blocks[index])
        return {"input_ids": ids, "position_ids": torch.arange(len(ids))}


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (OneEach, "of all places are filling; put more documents into a block"),
        (NoRestart, "must be 0 at each sign and then count up"),
        (Shuffled, "whole and in order: one was changed"),
        (LastLost, "documents came back, expected 60"),
        (Cut, "one was cut in two"),
        (Unpadded, "must be int64 (64,)"),
    ],
)
def test_wrong_datasets(refused, attempt, sentence):
    refused(ch09.whole_documents, attempt, sentence)


class CutsWhatItReturns(answers.SlidingCache):
    def append(self, layer, keys, values):
        keys, values = super().append(layer, keys, values)
        return keys[:, :, -self.window :], values[:, :, -self.window :]


class OneForAllLayers(answers.SlidingCache):
    def append(self, layer, keys, values):
        return super().append(0, keys, values)


class KeepsTheOldest(answers.SlidingCache):
    def append(self, layer, keys, values):
        keys, values = super().append(layer, keys, values)
        self.keys[layer], self.values[layer] = keys[:, :, : self.window], values[:, :, : self.window]
        return keys, values


class Everything(KVCache):
    def __init__(self, window):
        super().__init__()


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (Everything, "call 2 of see must return"),
        (CutsWhatItReturns, "call 1 of append, layer 0: expected 5 keys"),
        (OneForAllLayers, "layer 1"),
        (KeepsTheOldest, "call 2 of append"),
    ],
)
def test_wrong_caches(refused, attempt, sentence):
    refused(ch09.sliding_cache, attempt, sentence)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda logits, share: None, "expected logits of shape (2, 4), found NoneType"),
        (lambda logits, share: logits.masked_fill(logits.softmax(-1) < share, -torch.inf), "share 0.45"),
        (
            lambda logits, share: logits.masked_fill(
                logits.softmax(-1) < share * logits.softmax(-1).max(), -torch.inf
            ),
            "of four equal ones all",
        ),
        (lambda logits, share: answers.keep_min_p(logits, share).softmax(-1).log(), "must not change"),
        (
            lambda logits, share: logits.masked_fill_(
                logits.softmax(-1) < share * logits.softmax(-1).amax(-1, keepdim=True), -torch.inf
            ),
            "changed in place",
        ),
    ],
)
def test_wrong_cuts(refused, attempt, sentence):
    refused(ch09.min_p, attempt, sentence)


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"),
    [
        ("block_length", 64, "of the hidden comments in two; choose longer blocks"),
        ("block_length", 2048, "looks at more than 512 places"),
        ("block_length", 0, "expected a whole number"),
        ("block_length", True, "expected a whole number"),
        ("nucleus", 0.3, "people say what this model cannot say"),
        ("nucleus", 1.0, "too much noise"),
        ("nucleus", 90, "at most 1"),
        ("scheme", {"bits": 8, "block": 32}, "more than 115 MB"),
        ("scheme", {"bits": 4, "block": 32}, "more than 115 MB"),
        ("scheme", {"bits": 3, "block": 16}, "half the error"),
        ("scheme", {"bits": 4, "block": 8}, "block 16, 32, 64 or 96"),
        ("scheme", 4, "expected"),
    ],
)
def test_choices_outside_the_band(refused, exercise, attempt, sentence):
    refused(getattr(ch09, exercise), attempt, sentence)


@pytest.mark.parametrize(
    ("exercise", "attempt"),
    [
        ("block_length", 256),
        ("block_length", 512),
        ("nucleus", 0.93),
        ("scheme", {"bits": 4, "block": 96}),
    ],
)
def test_the_band_is_wide(capsys, exercise, attempt):
    getattr(ch09, exercise).check(attempt)
    assert capsys.readouterr().out.startswith("Right. ")
