"""Chapter 01's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest

from lessons.ch01 import exercises as ch01


def by_state_dict(model):
    return sum(tensor.numel() for tensor in model.state_dict().values()), sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


def by_module(model):
    every = [p for module in model.modules() for p in module._parameters.values() if p is not None]
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def without_frozen(model):
    return (sum(p.numel() for p in model.parameters()),) * 2


def without_bias(model):
    return (sum(p.numel() for name, p in model.named_parameters() if "bias" not in name),) * 2


def just_one(model):
    return sum(p.numel() for p in model.parameters())


def of_all_time(models, date, kind="dense"):
    return models.loc[models["parameters"].idxmax(), "name"]


def mixing_kinds(models, date, kind="dense"):
    known = models[models["date"] <= date]
    return known.loc[known["parameters"].idxmax(), "name"]


def strictly_before(models, date, kind="dense"):
    known = models[(models["date"] < date) & (models["dense_or_sparse"] == kind)]
    return known.loc[known["parameters"].idxmax(), "name"]


def newest(models, date, kind="dense"):
    return models[(models["date"] <= date) & (models["dense_or_sparse"] == kind)]["name"].iloc[-1]


def by_position(models, date, kind="dense"):
    known = models[(models["date"] <= date) & (models["dense_or_sparse"] == kind)]
    return models["name"].iloc[known["parameters"].idxmax()] if len(known) else None


def without_guard(models, date, kind="dense"):
    known = models[(models["date"] <= date) & (models["dense_or_sparse"] == kind)].sort_values("parameters")
    return known["name"].iloc[-1]


def weights_only(parameters, trainable, optimizer="adamw"):
    return 4 * parameters


def as_if_all_trained(parameters, trainable, optimizer="adamw"):
    return 4 * parameters * {"sgd": 2, "momentum": 3, "adamw": 4}[optimizer]


def without_gradients(parameters, trainable, optimizer="adamw"):
    return 4 * (parameters + trainable * {"sgd": 0, "momentum": 1, "adamw": 2}[optimizer])


def in_half_precision(parameters, trainable, optimizer="adamw"):
    return 2 * (parameters + trainable + trainable * {"sgd": 0, "momentum": 1, "adamw": 2}[optimizer])


WRONG = [
    (ch01.count, by_state_dict, "twice"),
    (ch01.count, by_module, "twice"),
    (ch01.count, without_frozen, "requires_grad=False"),
    (ch01.count, without_bias, "weights and a bias"),
    (ch01.count, just_one, "expected a pair"),
    (ch01.largest, of_all_time, "not out yet"),
    (ch01.largest, mixing_kinds, "largest dense model of the table up to 2020-12"),
    (ch01.largest, strictly_before, "published in that month counts"),
    (ch01.largest, newest, "the newest is not always the largest"),
    (ch01.largest, by_position, "another order"),
    (ch01.largest, without_guard, "IndexError"),
    (ch01.states, weights_only, "what else has one value each"),
    (ch01.states, as_if_all_trained, "a frozen parameter"),
    (ch01.states, without_gradients, "expected 8,000 bytes, found 4000"),
    (ch01.states, in_half_precision, "4 bytes for each value"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
