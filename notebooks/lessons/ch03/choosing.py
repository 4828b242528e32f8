"""Exercise of chapter 03 that chooses: rate, batch and epochs within a budget, scored on hidden rows."""

import functools
import math

import torch
from torch.nn import functional as F

from helpers.data import cleaning, sources, splits
from lessons.ch03 import answers
from lessons.ch03.networks import CNN
from lessons.ch03.silhouettes import Silhouettes
from lessons.exercise import Exercise
from lessons.one_step import take_step

MOST_STEPS, LARGEST_BATCH, ROWS, HIDDEN_ROWS, GOOD = 60, 128, 1000, 500, 0.6
SHOWN = {"train": 2000, "validation": 1000}  # what the chapter's cells use


@functools.cache
def hidden_rows() -> tuple[Silhouettes, Silhouettes]:
    """Rows to train on and rows to score, none of which the chapter uses."""
    parts = splits.split(cleaning.clean_images(sources.animals())[0])
    shown = {name: splits.subsample(parts[name], size)["id"] for name, size in SHOWN.items()}
    rest = {name: parts[name][~parts[name]["id"].isin(ids)] for name, ids in shown.items()}
    return (
        Silhouettes(splits.subsample(rest["train"], ROWS)),
        Silhouettes(splits.subsample(rest["validation"], HIDDEN_ROWS)),
    )


def num_steps(batch_size: int, epochs: int) -> int:
    """Optimizer steps of a training on the hidden rows."""
    return epochs * math.ceil(ROWS / batch_size)


def train_hidden(learning_rate: float, batch_size: int, epochs: int, seed: int) -> float:
    """Accuracy on hidden rows of a small CNN: AdamW, the rate falling linearly to zero."""
    train_rows, scored_rows = hidden_rows()
    labels, steps = torch.tensor(train_rows.labels), num_steps(batch_size, epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CNN(len(sources.ANIMALS), width=8)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(train_rows)).split(batch_size):
                take_step(F.cross_entropy(model(train_rows.images[rows]), labels[rows]), optimizer)
                schedule.step()
    with torch.inference_mode():
        predictions = model.eval()(scored_rows.images).argmax(1).numpy()
    return float((predictions == scored_rows.labels).mean())


def _verify(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"learning_rate", "batch_size", "epochs"}:
        raise AssertionError(
            f"expected a dictionary with the keys learning_rate, batch_size and epochs, found {found!r}"
        )
    rate, batch_size, epochs = found["learning_rate"], found["batch_size"], found["epochs"]
    whole = all(isinstance(value, int) and value >= 1 for value in (batch_size, epochs))
    if not whole or not isinstance(rate, int | float) or not rate > 0:
        raise AssertionError(f"batch_size and epochs are whole numbers from 1, the rate is above 0: {found}")
    if batch_size > LARGEST_BATCH:
        raise AssertionError(f"{batch_size} rows do not fit, at most {LARGEST_BATCH}")
    steps = num_steps(batch_size, epochs)
    if steps > MOST_STEPS:
        raise AssertionError(f"{steps} steps, and {MOST_STEPS} are paid for: {epochs} epochs of {ROWS} rows")
    accuracies = [train_hidden(rate, batch_size, epochs, seed) for seed in range(2)]
    reached = f"{steps} steps reach accuracies of {accuracies[0]:.3f} and {accuracies[1]:.3f} on hidden rows"
    if sum(accuracies) / 2 < GOOD:
        advice = "how many rows do your steps read, and is the rate one that worked in section 3.12?"
        raise AssertionError(f"{reached}; a mean of {GOOD} can be had: {advice}")
    return f"{reached[0].upper()}{reached[1:]}."


settings = Exercise(
    verify=_verify,
    hints=(
        "The budget counts steps, not rows. How do you read most rows in 60 steps (section 3.13)?",
        "Rates for AdamW and this network: section 3.12. Both ends of its range fail here, too.",
    ),
    answer=answers.settings,
    praise="Within a budget the three numbers are one choice, and you made it on evidence.",
)
