"""Chapter 06's exercises refuse typical wrong attempts with a sentence that helps, and pass right ones."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from lessons.ch06 import exercises as ch06

TO_TENSOR = [v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
HALVES = v2.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
AS_IT_IS = v2.Compose([v2.Resize((64, 64)), *TO_TENSOR, HALVES])
FINISHED = ch06.plan.answer()


def two_steps(model, head, pictures, labels, *, every=True, transform=AS_IT_IS):
    """A training far too short: enough for a check to see what is done, and to refuse it."""
    parameters = model.parameters() if every else head.parameters()
    optimizer = torch.optim.AdamW(list(parameters), lr=1e-3)
    for rows in (slice(0, 4), slice(4, 8)):
        loss = F.cross_entropy(
            model(torch.stack([AS_IT_IS(one) for one in pictures[rows]])), torch.tensor(labels[rows])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return transform


def returns_nothing(model, head, pictures, labels):
    two_steps(model, head, pictures, labels)


def only_the_head(model, head, pictures, labels):
    return two_steps(model, head, pictures, labels, every=False)


def nothing_moves(model, head, pictures, labels):
    return AS_IT_IS


def too_short(model, head, pictures, labels):
    return two_steps(model, head, pictures, labels)


def flips_in_evaluation(model, head, pictures, labels):
    flipped = v2.Compose([v2.RandomHorizontalFlip(), *AS_IT_IS.transforms])
    return two_steps(model, head, pictures, labels, transform=flipped)


def not_standardised(model, head, pictures, labels):
    return two_steps(model, head, pictures, labels, transform=v2.Compose([v2.Resize((64, 64)), *TO_TENSOR]))


def wrong_size(model, head, pictures, labels):
    return two_steps(model, head, pictures, labels, transform=v2.Compose([*TO_TENSOR, HALVES]))


def one_channel(model, head, pictures, labels):
    grey = v2.Compose([v2.Resize((64, 64)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return two_steps(model, head, pictures, labels, transform=grey)


BUILT_WRONG = [
    (returns_nothing, "expected your evaluation transform back, found None"),
    (only_the_head, "only the head has moved"),
    (nothing_moves, "no weight of the model has moved"),
    (too_short, "the linear probe 0."),
    (flips_in_evaluation, "the evaluation transform draws"),
    (not_standardised, "pixels go from 0.00 to 1.00"),
    (wrong_size, "found torch.float32 (3, 28, 28)"),
    (one_channel, "found torch.float32 (1, 64, 64)"),
]
PLANNED_WRONG = [
    (None, "expected a dictionary with the keys train, epochs"),
    (FINISHED | {"train": "body"}, "`train` is"),
    (FINISHED | {"epochs": 2.5}, "`epochs` is a whole number"),
    (FINISHED | {"head_rate": "high"}, "`head_rate` is a number"),
    (FINISHED | {"epochs": 7}, "the budget is 8 s"),
    (FINISHED | {"train": "head", "epochs": 30}, "the budget is 8 s"),
    (FINISHED | {"epochs": 1}, "at least 0.82 can be had"),
    (FINISHED | {"train": "head", "epochs": 2, "head_rate": 1e-4}, "at least 0.82 can be had"),
]
DIAGNOSED_WRONG = [
    (None, "expected a dictionary with the keys a, b, c"),
    ({"a": "random validation", "b": "over-fitting", "c": "test is validation"}, "found 'over-fitting'"),
    ({"a": "test is validation", "b": "rate too low", "c": "random validation"}, "1 of 3 are right"),
]


@pytest.mark.parametrize(
    ("attempt", "sentence"), BUILT_WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_wrong_fine_tuning_is_refused_with_a_reason(attempt, sentence, refused):
    refused(ch06.small_fine_tuning, attempt, sentence)


@pytest.mark.parametrize(("planned", "sentence"), PLANNED_WRONG)
def test_a_wrong_plan_is_refused_with_a_reason(planned, sentence, refused):
    refused(ch06.plan, lambda: planned, sentence)


@pytest.mark.parametrize(("found", "sentence"), DIAGNOSED_WRONG)
def test_a_wrong_diagnosis_is_refused_with_a_reason(found, sentence, refused):
    refused(ch06.diagnosis, lambda: found, sentence)


def test_the_logs_can_be_told_apart_by_what_they_print():
    shown = {ch06.diagnosis.answer()[letter]: lines for letter, lines in ch06.logs().items()}
    validations = {fault: [line.rsplit(" ", 1)[1] for line in lines[:3]] for fault, lines in shown.items()}
    again = {
        fault: lines[3].removeprefix("validated again: ").split(" and ") for fault, lines in shown.items()
    }
    test = {fault: lines[4].rsplit(" ", 1)[1] for fault, lines in shown.items()}
    assert again["random validation"][0] != again["random validation"][1]
    for fault in ("test is validation", "rate too low"):
        assert again[fault][0] == again[fault][1] == max(validations[fault])
    assert test["test is validation"] == max(validations["test is validation"])
    assert all(test[fault] not in again[fault] for fault in ("random validation", "rate too low"))
    slowest = {fault: float(lines[0].split("loss ")[1].split(",")[0]) for fault, lines in shown.items()}
    assert max(slowest, key=slowest.get) == "rate too low"
