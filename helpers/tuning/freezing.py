"""Which weights move: all, the head, layer by layer from the head down, or LoRA's adapters (chapter 04)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.adapters import has_lora
from helpers.models.forward import writes
from helpers.tuning.layers import layer_groups
from helpers.tuning.lora import add_lora, merge_lora

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
STRATEGIES = ("full", "head", "gradual", "lora")


def begin_strategy(model: nn.Module, strategy: str) -> None:
    """Prepare a model in place, before its optimizer is made: "lora" adds adapters where there are none."""
    if strategy == "lora":
        if not has_lora(model):
            add_lora(model)
        apply_strategy(model, strategy, 0, 1)


def end_strategy(model: nn.Module, strategy: str) -> None:
    """Leave a plain model, in place, after the last step: "lora" merges its adapters, but those of a language
    model, which are saved by themselves (`models.adapters`).
    """
    if strategy == "lora" and not writes(model):
        merge_lora(model)


def apply_strategy(model: nn.Module, strategy: str, epoch: int, epochs: int) -> bool:
    """Set which weights may move in this epoch; returns whether that changed anything.

    Args:
        strategy: "full" moves all weights, "head" those of the head, "lora" those of the head and the
            adapters (of a language model the adapters alone: its head is its table of words). "gradual"
            begins with the head and opens the groups below it in equal steps, so that the last epoch trains
            the whole model (Howard and Ruder, 2018).
        epoch, epochs: number of this epoch, from 0, and how many there will be.

    Raises InputError: another strategy, "lora" without adapters, or a head that `layer_groups` cannot find.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"the strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}")
    chosen, before = _moving(model, strategy, epoch, epochs), [p.requires_grad for p in model.parameters()]
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in chosen)
    return before != [p.requires_grad for p in model.parameters()]


def _moving(model: nn.Module, strategy: str, epoch: int, epochs: int) -> set[nn.Parameter]:
    if strategy == "full":
        return set(model.parameters())
    groups = layer_groups(model)
    if strategy == "lora":
        if not has_lora(model):
            advice = "call tuning.lora.add_lora(model) first"
            raise InputError(f"strategy lora needs a model with adapters, found none; {advice}")
        adapters = {p for name, p in model.named_parameters() if "lora_" in name}
        return adapters if writes(model) else adapters | _parameters(groups[-1:])
    share = min(1, epoch / (epochs - 1)) if strategy == "gradual" and epochs > 1 else 0
    num_open = 1 + round((len(groups) - 1) * share)
    return set(model.parameters()) if num_open == len(groups) else _parameters(groups[-num_open:])


def _parameters(groups: list) -> set[nn.Parameter]:
    return {p for _, modules in groups for module in modules for p in module.parameters()}


def train_mode(model: nn.Module) -> None:
    """`model.train()`, but a BatchNorm whose weights are frozen stays in evaluation mode.

    Frozen weights are not enough: in training mode BatchNorm goes on replacing its running mean and variance
    by those of the new data, so a "frozen" model would still change (chapter 04).
    """
    model.train()
    for module in model.modules():
        is_frozen = not any(p.requires_grad for p in module.parameters())
        if is_frozen and isinstance(module, BATCH_NORMS):
            module.eval()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; then every module returns to the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def num_trainable(model: nn.Module) -> int:
    """Number of weights that may move."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
