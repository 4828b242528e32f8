"""How fast weights move: learning rates per layer, and over time (chapter 04)."""

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from helpers.errors import InputError
from helpers.tuning.freezing import layer_groups

SCHEDULES = ("linear", "cosine", "constant")


def parameter_groups(model: nn.Module, learning_rate: float, *, weight_decay: float = 0.01, layer_decay: float = 1.0) -> list[dict]:
    """Parameters for an optimizer: lower layers learn more slowly, and biases and norms are not decayed.

    Lower layers hold what is common to all texts or images, so they need to change least: each group's rate is
    `layer_decay` times that of the group above it (discriminative learning rates: Howard and Ruder, 2018).

    Args:
        model: any model; with `layer_decay` below 1 one that `layer_groups` knows.
        learning_rate: of the head.
        weight_decay: decoupled decay of the weight matrices (AdamW); vectors (biases, norms) get none.
        layer_decay: 1 gives every layer the same rate.
    """
    groups = layer_groups(model) if layer_decay != 1.0 else [("all", [model])]
    result = []
    for depth, (name, modules) in enumerate(reversed(groups)):
        parameters = [p for module in modules for p in module.parameters()]
        for part, chosen, decay in (
            ("matrices", [p for p in parameters if p.ndim > 1], weight_decay),
            ("vectors", [p for p in parameters if p.ndim <= 1], 0.0),
        ):
            if chosen:
                result.append({"params": chosen, "lr": learning_rate * layer_decay**depth, "weight_decay": decay, "name": f"{name} {part}"})
    return result


def make_schedule(name: str, optimizer: Optimizer, num_steps: int, *, warmup_share: float = 0.1) -> LambdaLR:
    """Warm-up from 0 to the full rate, then "linear" or "cosine" decay to 0, or a "constant" rate.

    The first steps of a fresh head bring large, arbitrary gradients; the warm-up keeps them from shaking the pretrained
    layers. The decay lets the last steps settle.

    Args:
        name: "linear", "cosine" or "constant".
        optimizer: whose groups are scheduled.
        num_steps: optimizer steps of the whole training.
        warmup_share: share of the steps spent warming up.
    """
    from transformers import get_scheduler

    if name not in SCHEDULES:
        raise InputError(f"the schedule must be one of {', '.join(SCHEDULES)}, found {name!r}")
    kind = "constant_with_warmup" if name == "constant" else name
    return get_scheduler(kind, optimizer, num_warmup_steps=round(warmup_share * num_steps), num_training_steps=num_steps)
