"""Layer freezer (chapter 04): what freezing saves, in parameters, memory and measured time per step."""

import copy
import time
from dataclasses import dataclass

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import nn

from helpers import plots
from helpers.models.pretrained import Classifier
from helpers.training.loop import to_device
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import apply_strategy, num_trainable, train_mode
from helpers.tuning.layers import layer_groups
from helpers.tuning.lora import add_lora
from helpers.tuning.optimization import make_optimizer, parameter_groups
from lessons.controls import explorer, wide
from lessons.one_step import take_step
from lessons.parameters import count_parameters

LORA = "LoRA"


@dataclass(frozen=True)
class Setting:
    """One choice of what may move, measured on one model.

    Attributes:
        name: shown in the list of choices.
        open_groups: names of the layer groups whose weights move, from the head down.
        trainable, total: numbers of parameters.
        seconds: time of one optimizer step (forward, backward, AdamW) with one batch.
    """

    name: str
    open_groups: tuple[str, ...]
    trainable: int
    total: int
    seconds: float

    @property
    def extra_bytes(self) -> int:
        """Memory beside the weights (bytes): gradient and AdamW's two means of each parameter that moves."""
        return 12 * self.trainable

    def sentence(self, everything: "Setting") -> str:
        """The setting in words, compared with `everything` open."""
        return (
            f"{self.name}: {self.trainable:,} of {self.total:,} parameters move "
            f"({self.trainable / self.total:.1%}). Gradients and AdamW's "
            f"means take {self.extra_bytes / 1e6:.1f} MB beside the weights. One step takes "
            f"{1000 * self.seconds:.0f} ms, "
            f"{self.seconds / everything.seconds:.0%} of a step with all groups open."
        )


def measure(classifier: Classifier, batch: dict[str, torch.Tensor], *, rounds: int = 2) -> list[Setting]:
    """Measure every number of open groups, from the head alone to all, and LoRA on a copy.

    The model's weights do not change.

    Args:
        classifier: its model is one that `layer_groups` knows.
        batch: one batch of its training loader.
        rounds: each measures all settings in turn; the fastest step counts, since other programs only slow a
            step down.
    """
    model = classifier.model
    names = [name for name, _ in reversed(layer_groups(model))]
    states = {parameter: parameter.requires_grad for parameter in model.parameters()}
    device = next(model.parameters()).device
    adapted = copy.deepcopy(model)
    add_lora(adapted)
    choices = [
        ("head only" if depth == 0 else f"down to {name}", model, "gradual", depth)
        for depth, name in enumerate(names)
    ]
    choices.append((LORA, adapted, "lora", 0))
    settings = {}
    for _ in range(rounds):
        for name, network, strategy, depth in choices:
            apply_strategy(network, strategy, depth, len(names))
            seconds = _step_seconds(network, batch)
            if name in settings:
                seconds = min(seconds, settings[name].seconds)
            numbers = num_trainable(network), count_parameters(network)
            settings[name] = Setting(name, tuple(names[: depth + 1]), *numbers, seconds)
    for parameter, requires_grad in states.items():
        parameter.requires_grad_(requires_grad)
    model.to(device)
    return list(settings.values())


def _step_seconds(model: nn.Module, batch: dict) -> float:
    """Time of the second of two steps at a rate of zero, which cost what any step costs."""
    runtime, loss = Runtime(model), Classification()
    optimizer = make_optimizer("adamw", parameter_groups(model, 0.0))
    runtime.prepare(model, optimizer)
    train_mode(model)
    with torch.random.fork_rng(devices=[]):  # dropout's draws are nobody else's business
        for _ in range(2):  # the first one warms up
            start = time.perf_counter()
            with runtime.autocast():
                total = loss(model, to_device(batch, runtime.device))
            take_step(total, optimizer).item()  # reads the loss back, so a GPU has finished, too
            seconds = time.perf_counter() - start
    optimizer.zero_grad()
    return seconds


def picture(settings: list[Setting], groups: dict[str, int], chosen: int) -> Figure:
    """Left: parameters of each layer group, open or frozen. Right: time per step of every setting.

    Args:
        settings: what `measure` returned.
        groups: parameters of each layer group, from input to output.
        chosen: place in `settings`.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    layers, times = figure.subplots(1, 2)
    setting = settings[chosen]
    for place, (name, count) in enumerate(groups.items()):
        is_open = name in setting.open_groups
        layers.barh(
            place,
            count / 1e6,
            color=plots.BLUE if is_open else "#e4e4e4",
            hatch="" if is_open else "//",
            edgecolor=plots.GREY,
        )
    layers.set_yticks(range(len(groups)), groups)
    moving = "head and adapters move" if setting.name == LORA else "blue moves"
    layers.set(xlabel="parameters (millions)", title=f"{setting.name}: {moving}, hatched is frozen")
    colors = [plots.VERMILION if place == chosen else plots.SKY for place in range(len(settings))]
    times.barh(
        range(len(settings)),
        [1000 * s.seconds for s in settings],
        color=colors,
        edgecolor="black",
        linewidth=0.5,
    )
    times.set_yticks(range(len(settings)), [s.name for s in settings])
    times.invert_yaxis()  # as in the left panel, the head on top
    times.set(xlabel="time per step (ms)", title="measured when the chapter ran")
    return figure


def count_groups(model: nn.Module) -> dict[str, int]:
    """Parameters of each layer group, from input to output."""
    return {name: count_parameters(nn.ModuleList(modules)) for name, modules in layer_groups(model)}


def layer_freezer(classifier: Classifier, settings: list[Setting]) -> widgets.Widget:
    """A list of settings with picture and sentence below.

    Args:
        classifier: the one that was measured.
        settings: what `measure` returned.
    """
    groups, everything = count_groups(classifier.model), settings[-2]
    choice = widgets.Dropdown(
        options=[(setting.name, place) for place, setting in enumerate(settings)],
        value=0,
        description="what may move",
        **wide(),
    )
    return explorer(
        {"place": choice},
        lambda place: (picture(settings, groups, place), settings[place].sentence(everything)),
    )
