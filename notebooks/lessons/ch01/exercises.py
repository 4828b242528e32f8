"""The exercises of chapter 01: counting parameters, a claim with a date, memory by arithmetic."""

import pandas as pd
import torch
from torch import nn

from helpers.files import ROOT
from lessons.ch01 import answers
from lessons.exercise import Exercise

TABLE = ROOT / "data" / "large_models.csv"


def _model_with_shared_and_frozen_weights() -> nn.Module:
    """A 20 x 8 embedding shared with the output layer, a frozen 8 x 8 layer: 232 numbers, 160 trainable."""
    with torch.device("meta"):
        model = nn.ModuleDict(
            {
                "embedding": nn.Embedding(20, 8),
                "middle": nn.Linear(8, 8),
                "output": nn.Linear(8, 20, bias=False),
            }
        )
    model["output"].weight = model["embedding"].weight
    model["middle"].requires_grad_(False)
    return model


def _verify_count(attempt):
    for rows, columns in ((3, 4), (5, 2)):
        found = attempt(nn.Linear(columns, rows))
        expected = (rows * columns + rows,) * 2
        if not isinstance(found, tuple) or len(found) != 2:
            raise AssertionError(f"expected a pair (all, trainable), found {found!r}")
        if found != expected:
            raise AssertionError(
                f"nn.Linear({columns}, {rows}) has weights and a bias: expected {expected}, found {found}"
            )
    found = attempt(_model_with_shared_and_frozen_weights())
    if found[0] == 392:
        raise AssertionError(
            "a model whose output layer shares the embedding's matrix counts 392: the shared matrix is in it "
            "twice"
        )
    if found[1] == found[0]:
        raise AssertionError("a layer with requires_grad=False was counted as trainable")
    if found != (232, 160):
        raise AssertionError(f"a model of 232 parameters, 160 of them trainable, was counted as {found}")


count = Exercise(
    verify=_verify_count,
    hints=(
        "Each parameter has `numel()` and `requires_grad`.",
        "`model.state_dict()` lists a shared matrix under both of its names; `model.parameters()` gives each "
        "parameter once.",
    ),
    answer=answers.count,
    praise="You count each number once, and you know which of them training moves.",
)


def _verify_largest(attempt):
    models = pd.read_csv(TABLE)
    for date, kind, expected, why in (
        ("2020-12", "dense", "GPT-3", "the newer models of the table were not out yet"),
        ("2022-02", "dense", "MT-NLG", "compare all dense models up to that month"),
        ("2022-04", "dense", "PaLM", "a model published in that month counts"),
        ("2025-12", "dense", "PaLM", "the newest is not always the largest; sparse models are another list"),
        ("2020-12", "sparse", "GShard", "the argument kind chooses the list"),
    ):
        found = attempt(models, date, kind)
        if found != expected:
            raise AssertionError(
                f"the largest {kind} model of the table up to {date} is {expected}, your function says "
                f"{found!r}: {why}"
            )
    shuffled = models.sample(frac=1, random_state=0)
    if attempt(shuffled, "2020-12", "dense") != "GPT-3":
        raise AssertionError(
            "with the rows in another order the answer changes; do not rely on the order of the table"
        )
    if attempt(models, "1990-01", "dense") is not None:
        raise AssertionError("before the first row there is no largest model: expected None")


largest = Exercise(
    verify=_verify_largest,
    hints=(
        "Months written as YYYY-MM sort like dates, so `models['date'] <= date` works on the strings.",
        "Select the rows by date and by `dense_or_sparse`; then `idxmax()` of `parameters` gives the index "
        "label of the largest row.",
        "Before you call `idxmax()`, look whether any row is left.",
    ),
    answer=answers.largest,
    praise="A superlative with a date and a source can be checked; without them it will be wrong one day.",
)


def _verify_states(attempt):
    if attempt(1000, 1000, "adamw") == 4000:
        raise AssertionError(
            "1,000 parameters with AdamW need more than the 4,000 bytes of the weights: what else has one "
            "value each?"
        )
    for parameters, trainable, optimizer, expected in (
        (1000, 1000, "sgd", 4000 + 4000),
        (1000, 1000, "momentum", 4000 + 4000 + 4000),
        (1000, 1000, "adamw", 4000 + 4000 + 8000),
        (1000, 10, "adamw", 4000 + 40 + 80),
    ):
        found = attempt(parameters, trainable, optimizer)
        if found != expected:
            advice = (
                "a frozen parameter has neither a gradient nor optimizer values"
                if trainable < parameters
                else "4 bytes for each value"
            )
            raise AssertionError(
                f"{parameters:,} parameters, {trainable:,} trainable, {optimizer}: expected {expected:,} "
                f"bytes, found {found!r}; {advice}"
            )


states = Exercise(
    verify=_verify_states,
    hints=(
        "Every parameter has a weight. Which of them have a gradient?",
        "SGD keeps nothing, momentum one running mean, AdamW two, and each of these only for parameters that "
        "train.",
    ),
    answer=answers.states,
    praise="This part of the memory you can now work out in your head: 16 bytes per parameter for AdamW in "
    "float32.",
)
