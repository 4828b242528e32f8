"""Schedule explorer (chapter 04): the learning rate of every step, asked from the scheduler itself."""

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from helpers import plots
from helpers.tuning.optimization import SCHEDULES, make_schedule
from lessons.controls import explorer, wide


def rates(
    name: str, *, learning_rate: float = 1.0, num_steps: int = 100, warmup_share: float = 0.1
) -> np.ndarray:
    """The learning rate of each optimizer step (num_steps,), as a scheduler of `make_schedule` sets it.

    Args:
        name: one of `SCHEDULES`.
        learning_rate: the highest rate.
        num_steps: optimizer steps of the whole training.
        warmup_share: share of the steps spent warming up.
    """
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=learning_rate)
    scheduler = make_schedule(name, optimizer, num_steps, warmup_share=warmup_share)
    result = []
    for _ in range(num_steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(result)


def sentence(name: str, values: np.ndarray) -> str:
    """A schedule's rates (num_steps,) in words."""
    peak = values.max()
    return (
        f"{name}: the first step has rate {values[0]:.2g}, step {values.argmax() + 1} of {len(values)} is "
        f"the first with the highest rate {peak:.2g}, "
        f"the last step has {values[-1]:.2g}. The mean rate is {values.mean() / peak:.0%} of the highest."
    )


def picture(name: str, **settings) -> Figure:
    """The chosen schedule in blue among all others in grey; `settings` are those of `rates`."""
    figure = Figure(figsize=(7.5, 3), layout="constrained")
    ax = figure.subplots()
    for other in SCHEDULES:
        values = rates(other, **settings)
        chosen = other == name
        style = (
            {"color": plots.BLUE, "linewidth": 2.5, "zorder": 3}
            if chosen
            else {"color": plots.GREY, "linewidth": 0.8, "alpha": 0.6}
        )
        ax.plot(range(1, len(values) + 1), values, **style)
    ax.set(
        xlabel="optimizer step",
        ylabel="learning rate",
        title=f"{name} (blue) among the other schedules",
        ylim=(0, None),
    )
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    return figure


def schedule_explorer() -> widgets.Widget:
    """Controls for `rates` with picture and sentence below."""
    slider = wide() | {"continuous_update": False}
    controls = {
        "name": widgets.Dropdown(options=SCHEDULES, value="linear", description="schedule", **wide()),
        "warmup_share": widgets.FloatSlider(
            value=0.1, min=0, max=0.5, step=0.05, description="warm-up share", readout_format=".0%", **slider
        ),
        "learning_rate": widgets.FloatLogSlider(
            value=1e-3,
            base=10,
            min=-5,
            max=-1,
            step=0.5,
            description="highest rate",
            readout_format=".1e",
            **slider,
        ),
        "num_steps": widgets.IntSlider(
            value=200, min=20, max=1000, step=20, description="steps in all", **slider
        ),
    }
    return explorer(controls, lambda **values: (picture(**values), sentence(values["name"], rates(**values))))
