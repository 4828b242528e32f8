"""Wrong attempts at chapter 03's exercises are refused with a sentence that points the right way."""

import itertools

import pytest
from torch.nn import functional as F

from lessons.ch03 import answers, choosing, diagnosing
from lessons.ch03 import exercises as ch03


def said(capsys, exercise, attempt):
    exercise.check(attempt)
    return capsys.readouterr().out


def summed_loss(model, batch, reduction="sum"):
    return F.cross_entropy(model(batch["images"]), batch["labels"], reduction=reduction)


def groups_of(loader, accumulate):
    batches = iter(loader)
    while group := list(itertools.islice(batches, accumulate)):
        yield group, sum(len(batch["labels"]) for batch in group)


def mean_of_means(model, loader, optimizer, accumulate):
    for group, _ in groups_of(loader, accumulate):
        optimizer.zero_grad()
        for batch in group:
            (summed_loss(model, batch, "mean") / len(group)).backward()
        optimizer.step()


def divided_by_the_plan(model, loader, optimizer, accumulate):
    """Right for full groups of equal batches alone."""
    for group, _ in groups_of(loader, accumulate):
        optimizer.zero_grad()
        for batch in group:
            (summed_loss(model, batch) / (accumulate * len(batch["labels"]))).backward()
        optimizer.step()


def last_group_lost(model, loader, optimizer, accumulate):
    for group, rows in groups_of(loader, accumulate):
        if len(group) < accumulate:
            break
        optimizer.zero_grad()
        for batch in group:
            (summed_loss(model, batch) / rows).backward()
        optimizer.step()


def cleared_in_every_batch(model, loader, optimizer, accumulate):
    for group, rows in groups_of(loader, accumulate):
        for batch in group:
            optimizer.zero_grad()
            (summed_loss(model, batch) / rows).backward()
        optimizer.step()


def never_cleared(model, loader, optimizer, accumulate):
    for group, rows in groups_of(loader, accumulate):
        for batch in group:
            (summed_loss(model, batch) / rows).backward()
        optimizer.step()


def steps_after_every_batch(model, loader, optimizer, accumulate):
    for group, rows in groups_of(loader, accumulate):
        for batch in group:
            optimizer.zero_grad()
            (summed_loss(model, batch) / rows).backward()
            optimizer.step()


def no_backward(model, loader, optimizer, accumulate):
    return sum(summed_loss(model, batch).item() for batch in loader)


def returns_the_sum(model, loader, optimizer, accumulate):
    batches = list(loader)
    rows = sum(len(batch["labels"]) for batch in batches)
    return answers.train_epoch(model, batches, optimizer, accumulate) * rows


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (mean_of_means, "does every row of a group weigh the same"),
        (divided_by_the_plan, "does every row of a group weigh the same"),
        (last_group_lost, "the last group may be shorter"),
        (cleared_in_every_batch, "cleared before the first batch and only there"),
        (never_cleared, "cleared before the first batch and only there"),
        (steps_after_every_batch, "8 batches in groups of 3 are 3 steps, found 8"),
        (no_backward, "the weights have not moved"),
        (returns_the_sum, "return the mean loss over all rows"),
    ],
)
def test_an_epoch_with_accumulation(capsys, attempt, sentence):
    found = said(capsys, ch03.accumulation, attempt)
    assert found.startswith("Not yet: ")
    assert sentence in found, found


def test_the_right_epoch_trains(capsys):
    assert "Twenty epochs of it bring the loss" in said(capsys, ch03.accumulation, answers.train_epoch)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "Right. "),
        ({"A": "rate too high", "E": "softmax twice"}, "3 of 5 are right"),
        ({"A": "bad luck"}, "found 'bad luck'"),
        ({"A": "nothing"}, "each fault occurs once"),
        ({"F": "nothing"}, "a dictionary with the keys"),
    ],
)
def test_five_logs(capsys, change, sentence):
    assert sentence in said(capsys, ch03.five_logs, lambda: answers.five_logs() | change)


@pytest.mark.parametrize("seed", [1, 2])
def test_each_log_shows_its_fault_with_other_seeds_too(seed):
    logs = {fault: diagnosing.train_with(fault, seed) for fault in diagnosing.FAULTS}
    end = {fault: log.iloc[-1] for fault, log in logs.items()}
    assert end["nothing"]["training loss"] < 1.3
    assert end["nothing"]["accuracy by 250"] > 0.3
    assert end["softmax twice"]["training loss"] > 1.46  # its floor
    assert end["softmax twice"]["gradient"] < 1
    grows = logs["no zero_grad()"]["gradient"]
    assert grows.iloc[-1] > 1.5 * grows.iloc[0] > 3 * logs["nothing"]["gradient"].iloc[0]
    assert (
        logs["rate too high"]["training loss"].iloc[0] > 5 > logs["no zero_grad()"]["training loss"].iloc[0]
    )
    for fault, log in logs.items():
        gap = (log["accuracy by 250"] - log["accuracy by 5"]).abs().max()
        assert (gap > 0.05) == (fault == "no eval()"), fault


def chosen(**numbers):
    return lambda: answers.settings() | numbers


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (answers.settings, "Right. "),
        (chosen(batch_size=64, epochs=3), "how many rows do your steps read"),
        (chosen(learning_rate=0.3), "is the rate one that worked"),
        (chosen(batch_size=16, epochs=7), "441 steps, and 60 are paid for"),
        (chosen(batch_size=1000), "1000 rows do not fit"),
        (chosen(epochs=0), "whole numbers from 1"),
        (chosen(learning_rate=...), "the rate is above 0"),
        (chosen(seed=1), "a dictionary with the keys"),
        (lambda: None, "found None"),
    ],
)
def test_sixty_steps(capsys, attempt, sentence):
    assert sentence in said(capsys, ch03.settings, attempt)


def test_the_scored_rows_are_not_those_of_the_chapter(animals):
    train_rows, scored_rows = choosing.hidden_rows()
    assert (len(train_rows), len(scored_rows)) == (choosing.ROWS, choosing.HIDDEN_ROWS)
    assert len(set(scored_rows.labels)) == 10
