"""How fast weights move: learning rates per layer and over time, and optimizers (chapters 03 and 04)."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from helpers.errors import InputError
from helpers.tuning.layers import knows_layers, layer_groups


def _one_cycle(p: float) -> float:
    """Up on a cosine from 1/25 in the first 30%, then down to nearly nothing (Smith and Topin, 2018)."""
    start, end, peak = 1 / 25, 1 / 250_000, 0.3
    low, share = (start, 1 - p / peak) if p < peak else (end, (p - peak) / (1 - peak))
    return low + (1 - low) * (1 + math.cos(math.pi * share)) / 2


# The factor of the learning rate after a share p (0..1) of the steps that follow the warm-up.
SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda p: 1.0,
    "linear": lambda p: 1 - p,
    "cosine": lambda p: (1 + math.cos(math.pi * p)) / 2,
    "step": lambda p: 0.1 ** min(int(3 * p), 2),  # a tenth after each third
    "exponential": lambda p: 0.01**p,  # the same factor at every step: down to a hundredth
    "inverse-time": lambda p: 1 / (1 + 9 * p),  # falls fast, then ever more slowly: down to a tenth
    "one-cycle": _one_cycle,
}
SCHEDULES = tuple(SHAPES)
MAKERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),  # decays apart from the gradient
    "adam": partial(torch.optim.Adam, fused=True),  # adds the decay to the gradient, as do the next two
    "sgd": partial(torch.optim.SGD, momentum=0.9, fused=True),
    "adadelta": torch.optim.Adadelta,
}
OPTIMIZERS = tuple(MAKERS)


def parameter_groups(
    model: nn.Module, learning_rate: float, *, weight_decay: float = 0.01, layer_decay: float = 1.0
) -> list[dict]:
    """Parameters for an optimizer: lower layers learn more slowly, and biases and norms are not decayed.

    Lower layers hold what is common to all texts or images, so they need to change least: each group's rate
    is `layer_decay` times that of the group above it (discriminative learning rates: Howard and Ruder, 2018).

    Example: `optimizer = make_optimizer("adamw", parameter_groups(model, 1e-3, layer_decay=0.8))`

    Args:
        model: any model; where `layer_groups` does not know its layers, all of them get one rate.
        learning_rate: learning rate of the head.
        weight_decay: decay of the weight matrices; vectors (biases, norms) get none.
        layer_decay: 1 gives every layer the same rate.
    """
    groups = [("all", [model])]
    if layer_decay != 1.0 and knows_layers(model):
        groups = [*reversed(layer_groups(model)), ("all below", [model])]  # the last: what stands in no layer
    result, placed = [], set()
    for depth, (name, modules) in enumerate(groups):
        rate = learning_rate * layer_decay**depth
        parameters = [p for module in modules for p in module.parameters() if p not in placed]
        placed |= set(parameters)
        matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
        for part, chosen, decay in (("matrices", matrices, weight_decay), ("vectors", vectors, 0.0)):
            if chosen:
                result.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": f"{name} {part}"})
    return result


def make_schedule(name: str, optimizer: Optimizer, num_steps: int, *, warmup_share: float = 0.1) -> LambdaLR:
    """Warm-up from 0 to the full rate, then the decay called `name` (of `SCHEDULES`), step by step.

    The warm-up is meant to keep a fresh head's arbitrary first gradients from shaking the pretrained layers;
    what it does is not settled (chapter 04). The decay lets the last steps settle. "one-cycle" brings a long
    warm-up of its own, so it gets no other.

    Args:
        num_steps: optimizer steps of the whole training.
        warmup_share: share of the steps spent warming up.
    """
    if name not in SHAPES:
        raise InputError(f"the schedule must be one of {', '.join(SCHEDULES)}, found {name!r}")
    warmup = 0 if name == "one-cycle" else round(warmup_share * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return SHAPES[name](min((step - warmup) / max(1, num_steps - warmup), 1.0))

    return LambdaLR(optimizer, factor)


def make_optimizer(name: str, groups: list[dict]) -> Optimizer:
    """The optimizer called `name` over the groups of `parameter_groups`, which bring rates and decay."""
    if name not in OPTIMIZERS:
        raise InputError(f"the optimizer must be one of {', '.join(OPTIMIZERS)}, found {name!r}")
    return MAKERS[name](groups)
