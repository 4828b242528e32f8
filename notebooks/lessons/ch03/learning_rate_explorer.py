"""Learning-rate explorer (chapter 03): one slider, a short training on silhouettes, what became of it."""

import math
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from helpers import plots
from helpers.data.sources import ANIMALS
from helpers.tuning.optimization import OPTIMIZERS, make_optimizer, make_schedule, parameter_groups
from lessons.ch03.silhouettes import Silhouettes
from lessons.controls import explorer, wide
from lessons.one_step import take_step

STEPS = 150
CHANCE = math.log(len(ANIMALS))  # cross-entropy (nats) of equal probabilities


@dataclass(frozen=True)
class ShortTraining:
    """One training of the tiny model.

    Attributes:
        learning_rate: rate at the start.
        losses: training loss of each step (nats); may hold inf or nan.
        accuracy: share of validation rows that are right after the last step.
    """

    learning_rate: float
    losses: np.ndarray
    accuracy: float

    def sentence(self) -> str:
        """The training in words."""
        end = self.losses[-20:]
        if not end.mean() < 0.8 * CHANCE:  # also where it is nan
            jumped = not self.losses.max() < CHANCE + 0.7
            verdict = (
                "the first steps were so long that the loss jumped up"
                if jumped
                else "it has hardly learnt: the steps are too short"
            )
        else:
            verdict = (
                f"the loss of the last 20 steps is {end.mean():.2f} and varies by {end.std():.2f} "
                "(standard deviation)"
            )
        return (
            f"Learning rate {self.learning_rate:.2g}: validation accuracy {self.accuracy:.0%} after "
            f"{len(self.losses)} steps; {verdict}."
        )


def train_briefly(
    train_rows: Silhouettes,
    validation_rows: Silhouettes,
    learning_rate: float,
    *,
    optimizer: str = "sgd",
    schedule: str = "constant",
    batch_size: int = 32,
    seed: int = 0,
) -> ShortTraining:
    """Train two fully connected layers for `STEPS` steps, without the full loop's care: in under a second.

    Args:
        train_rows, validation_rows: a few hundred silhouettes each.
        learning_rate: rate at the start.
        optimizer: one of `OPTIMIZERS`.
        schedule: one of `helpers.tuning.optimization.SCHEDULES`; no warm-up.
        batch_size: rows per step.
        seed: seed of the first weights and of the order of rows; global random numbers stay as they were.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, len(ANIMALS)))
        rows = torch.randint(len(train_rows), (STEPS, batch_size))
    moved_by = make_optimizer(optimizer, parameter_groups(model, learning_rate))
    scheduler = make_schedule(schedule, moved_by, STEPS, warmup_share=0.0)
    labels, losses = torch.tensor(train_rows.labels), []
    for chosen in rows:
        loss = F.cross_entropy(model(train_rows.images[chosen]), labels[chosen])  # (B, 10) and (B,)
        losses.append(take_step(loss, moved_by).item())
        scheduler.step()
    with torch.inference_mode():
        predictions = model(validation_rows.images).argmax(1).numpy()
    return ShortTraining(
        learning_rate, np.array(losses), float((predictions == validation_rows.labels).mean())
    )


def picture(trainings: list[ShortTraining]) -> Figure:
    """Left: the loss of the last training. Right: the accuracy of all of them against the learning rate."""
    figure = Figure(figsize=(8.5, 2.8), layout="constrained")
    curve, summary = figure.subplots(1, 2, width_ratios=[3, 2])
    last = trainings[-1]
    curve.plot(
        range(1, len(last.losses) + 1), np.nan_to_num(last.losses, nan=99, posinf=99), color=plots.BLUE
    )
    curve.axhline(CHANCE, color=plots.GREY, linestyle=":")
    curve.text(STEPS, CHANCE + 0.06, "equal probabilities", ha="right", fontsize=9)
    curve.set(
        xlabel="step",
        ylabel="training loss (nats)",
        ylim=(0, 5),
        xlim=(0, STEPS),
        title=f"learning rate {last.learning_rate:.2g}",
    )
    summary.scatter(
        [t.learning_rate for t in trainings],
        [t.accuracy for t in trainings],
        color=plots.GREY,
        label="tried before",
    )
    summary.scatter(last.learning_rate, last.accuracy, color=plots.VERMILION, zorder=3, label="now")
    summary.set(
        xlabel="learning rate",
        ylabel="validation accuracy",
        xscale="log",
        xlim=(5e-5, 20),
        ylim=(0, 1),
        title="all that you tried",
    )
    summary.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def learning_rate_explorer(animals: pd.DataFrame) -> widgets.Widget:
    """Controls for `train_briefly`: each change trains once more and adds a point to the picture.

    Args:
        animals: cleaned training rows of `sources.animals()`; the first 600 are trained on, the next 400
            validate.
    """
    train_rows, validation_rows = Silhouettes(animals.iloc[:600]), Silhouettes(animals.iloc[600:1000])
    controls = {
        "learning_rate": widgets.FloatLogSlider(
            value=0.001,
            base=10,
            min=-4,
            max=1,
            step=0.25,
            description="learning rate",
            readout_format=".2g",
            continuous_update=False,
            **wide(),
        ),
        "optimizer": widgets.Dropdown(
            options=sorted(OPTIMIZERS, reverse=True), value="sgd", description="optimizer", **wide()
        ),
        "schedule": widgets.Dropdown(
            options=["constant", "linear", "cosine"], value="constant", description="schedule", **wide()
        ),
        "batch_size": widgets.Dropdown(options=[8, 32, 128], value=32, description="batch_size", **wide()),
    }
    tried: dict[tuple, list[ShortTraining]] = {}

    def draw(**values):
        done = tried.setdefault((values["optimizer"], values["schedule"], values["batch_size"]), [])
        done.append(train_briefly(train_rows, validation_rows, **values))
        return picture(done), done[-1].sentence()

    return explorer(controls, draw)
