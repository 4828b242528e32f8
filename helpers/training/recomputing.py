"""Activation checkpointing: what a layer computes inside is not kept for the backward pass, but computed
again when that comes to it (chapter 12). The losses are the same, a step takes longer.
"""

from contextlib import contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from helpers.errors import InputError
from helpers.tuning.freezing import BATCH_NORMS
from helpers.tuning.layers import knows_layers, layer_groups


def recompute(model: nn.Module, *, on: bool) -> None:
    """Let the layers of a model be computed again in the backward pass, in place, or (`on=False`) no more.

    Raises InputError: no layers are found.
    """
    if getattr(
        model, "supports_gradient_checkpointing", False
    ):  # transformers': with them it minds the cache
        word = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        options = ({"use_reentrant": False},) if on else ()
        getattr(model, f"{word}_checkpointing_{'enable' if on else 'disable'}")(*options)
        return
    layers = _layers(model)
    if on and not layers:
        found = f"no layers were found in {type(model).__name__}"
        raise InputError(f"{found} that could be computed again; leave activation_checkpointing out")
    for layer in layers:
        vars(layer).pop("forward", None)
        if on:
            again = {"use_reentrant": False, "context_fn": partial(_first_and_again, layer)}
            layer.forward = partial(checkpoint, layer.forward, **again)


def _layers(model: nn.Module) -> list[nn.Module]:
    """The model's layers between its input and its head, or those of its largest list of layers."""
    if knows_layers(model):
        return [module for _, modules in layer_groups(model)[1:-1] for module in modules]
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList | nn.Sequential)]
    largest = max(lists, key=lambda found: sum(p.numel() for p in found.parameters()), default=())
    return list(largest)


def _first_and_again(layer: nn.Module) -> tuple:
    return nullcontext(), _without_counting(layer)


@contextmanager
def _without_counting(layer: nn.Module):
    """BatchNorm has counted these rows in its running mean and variance already."""
    norms = [m for m in layer.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
