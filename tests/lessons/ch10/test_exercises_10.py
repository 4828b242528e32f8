"""Chapter 10's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest
import torch
from torch import nn

from lessons.ch10 import answers, choosing
from lessons.ch10 import exercises as ch10


class OnlyTheLast(answers.Conversations):
    """Labels the last answer alone, as most single-turn code does."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        labels, seen = list(sample["labels"]), False
        for place in reversed(range(len(labels))):
            seen = seen or (labels[place] == -100 and any(label != -100 for label in labels[place:]))
            labels[place] = -100 if seen else labels[place]
        return sample | {"labels": labels}


class WithoutTheEnd(answers.Conversations):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        end = self.tokenizer.eos_token_id
        return sample | {"labels": [-100 if label == end else label for label in sample["labels"]]}


class EverythingLearnt(answers.Conversations):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample | {"labels": list(sample["input_ids"])}


class ShiftedByHand(answers.Conversations):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample | {"labels": [*sample["labels"][1:], -100]}


class WithoutTemplate(answers.Conversations):
    def __getitem__(self, index):
        text = "\n".join(message["content"] for message in self.conversations[index])
        ids = self.tokenizer(text)["input_ids"]
        return {"input_ids": ids, "labels": ids}


def collate_by_value(samples, pad_token_id):
    batch = answers.collate(samples, pad_token_id)
    batch["labels"][batch["labels"] == pad_token_id] = -100
    return batch


def mask_by_value(samples, pad_token_id):
    batch = answers.collate(samples, pad_token_id)
    return batch | {"attention_mask": (batch["input_ids"] != pad_token_id).long()}


def labels_on_padding(samples, pad_token_id):
    batch = answers.collate(samples, pad_token_id)
    batch["labels"][1, 2:] = pad_token_id
    return batch


def padded_on_the_left(samples, pad_token_id):
    batch = answers.collate(samples, pad_token_id)
    return {name: tensor.roll(2, dims=1) if name != "labels" else tensor for name, tensor in batch.items()}


class WithoutScale(answers.LowRank):
    def forward(self, x):
        return self.layer(x) + (x @ self.a.T) @ self.b.T


class RandomB(answers.LowRank):
    def __init__(self, layer, rank, alpha):
        super().__init__(layer, rank, alpha)
        nn.init.normal_(self.b)


class ZeroA(answers.LowRank):
    def __init__(self, layer, rank, alpha):
        super().__init__(layer, rank, alpha)
        nn.init.zeros_(self.a)


class NotFrozen(answers.LowRank):
    def __init__(self, layer, rank, alpha):
        super().__init__(layer, rank, alpha)
        layer.requires_grad_(True)


def mean_of_means(sum_of_losses, batches, optimizer):
    optimizer.zero_grad()
    for batch in batches:
        tokens = (batch["labels"][:, 1:] != -100).sum()
        (sum_of_losses(batch) / tokens / len(batches)).backward()
    optimizer.step()
    return 19


def by_rows(sum_of_losses, batches, optimizer):
    optimizer.zero_grad()
    for batch in batches:
        (sum_of_losses(batch) / 4).backward()
    optimizer.step()
    return 19


def not_shifted(sum_of_losses, batches, optimizer):
    tokens = sum(int((batch["labels"] != -100).sum()) for batch in batches)
    optimizer.zero_grad()
    for batch in batches:
        (sum_of_losses(batch) / tokens).backward()
    optimizer.step()
    return tokens


def old_gradients(sum_of_losses, batches, optimizer):
    for batch in batches:
        (sum_of_losses(batch) / 19).backward()
    optimizer.step()
    return 19


def no_step(sum_of_losses, batches, optimizer):
    return 19


def swapped_adapters():
    return answers.three_adapters() | {"a": "loss on everything", "c": "no end sign"}


def unknown_fault():
    return answers.three_adapters() | {"a": "bad luck"}


def swapped_prompts():
    return answers.four_prompts() | {1: "no template", 4: "other system message"}


def swapped_runs():
    return answers.three_runs() | {1: "rate too high", 3: "answers cut off"}


def no_offsets():
    return {"negative": 0, "neutral": 0, "positive": 0}


def always_neutral():
    return {"negative": 0, "neutral": 50, "positive": 0}


def answer_everything():
    return 0.0


def answer_nothing():
    return 1.0


def too_short():
    return {"max_tokens": 48, "batch_size": 8}


def too_large():
    return {"max_tokens": 1024, "batch_size": 32}


def one_by_one():
    return {"max_tokens": 128, "batch_size": 1}


WRONG = [
    (ch10.conversations, OnlyTheLast, "has no label"),
    (ch10.conversations, WithoutTheEnd, "'<|im_end|>', has no label"),
    (ch10.conversations, EverythingLearnt, "should have no label"),
    (ch10.conversations, ShiftedByHand, "the model shifts by itself"),
    (ch10.conversations, WithoutTemplate, "differ from what the template writes"),
    (ch10.collate, collate_by_value, "padding is known by its place"),
    (ch10.collate, mask_by_value, "expected attention_mask"),
    (ch10.collate, labels_on_padding, "expected labels"),
    (ch10.collate, padded_on_the_left, "stands on the right"),
    (ch10.low_rank, WithoutScale, "lacks its factor alpha / rank"),
    (ch10.low_rank, RandomB, "B starts at zero"),
    (ch10.low_rank, ZeroA, "neither ever gets a gradient"),
    (ch10.low_rank, NotFrozen, "should be frozen"),
    (ch10.accumulate, mean_of_means, "divided by a count of its own"),
    (ch10.accumulate, by_rows, "as long as it should be"),
    (ch10.accumulate, not_shifted, "as long as it should be"),
    (ch10.accumulate, old_gradients, "zero_grad() comes first"),
    (ch10.accumulate, no_step, "did not move"),
    (ch10.three_adapters, swapped_adapters, "1 of 3 are right"),
    (ch10.three_adapters, unknown_fault, "the faults are"),
    (ch10.four_prompts, swapped_prompts, "2 of 4 are right"),
    (ch10.three_runs, swapped_runs, "1 of 3 are right"),
    (ch10.offsets, no_offsets, "not by feeling"),
    (ch10.offsets, always_neutral, "not by feeling"),
    (ch10.hand_over, answer_everything, "85% were promised"),
    (ch10.hand_over, answer_nothing, "not one hidden comment"),
    (ch10.limits, too_short, "a refused comment is lost"),
    (ch10.limits, too_large, "for its backward pass"),
    (ch10.limits, one_by_one, "are noisy"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.parametrize("added", [1.5, 2.0, 2.5])
def test_a_band_of_offsets_passes(added, capsys):
    ch10.offsets.check(lambda: {"negative": 0.0, "neutral": added, "positive": 0.0})
    out = capsys.readouterr().out
    assert out.startswith("Right. ")
    assert "hidden comments macro-F1 goes from" in out


@pytest.mark.parametrize("limit", [0.6, 0.7, 0.8])
def test_a_band_of_limits_passes(limit, capsys):
    ch10.hand_over.check(lambda: limit)
    assert "Right." in capsys.readouterr().out


@pytest.mark.parametrize(("max_tokens", "batch_size"), [(112, 8), (128, 8), (160, 6)])
def test_a_band_of_sizes_passes(max_tokens, batch_size, capsys):
    ch10.limits.check(lambda: {"max_tokens": max_tokens, "batch_size": batch_size})
    assert "Right." in capsys.readouterr().out


def test_the_hidden_rows_fit_together():
    rows = choosing.hidden_rows()
    number = len(rows["labels"])
    assert number >= 200
    assert rows["zero_shot"].shape == rows["tuned"].shape == (number, 3)
    assert len(rows["lengths"]) == number
    assert torch.tensor(rows["labels"]).unique().tolist() == [0, 1, 2]
