"""Which weights move: all, the head alone, layer after layer from the head down, or LoRA's adapters (chapter
04).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from helpers.errors import InputError
from helpers.tuning.layers import layer_groups
from helpers.tuning.lora import add_lora, has_lora, merge_lora

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
STRATEGIES = ("full", "head", "gradual", "lora")


def begin_strategy(model: nn.Module, strategy: str, *, sharded: bool = False) -> None:
    """What a strategy does once, before the optimizer is made: "lora" adds adapters where there are none. In
    place.

    Raises:
        InputError: weights that are shared out among processes, and a strategy that needs them whole.
    """
    if sharded and strategy in ("gradual", "lora"):
        raise InputError(
            f"strategy {strategy} needs whole weights, these are shared out among processes; use full or head"
        )
    if strategy == "lora" and not has_lora(model):
        add_lora(model)


def end_strategy(model: nn.Module, strategy: str) -> None:
    """What a strategy does once, after the last step: "lora" merges its adapters, so that a plain model is
    left. In place.
    """
    if strategy == "lora":
        merge_lora(model)


def apply_strategy(model: nn.Module, strategy: str, epoch: int, epochs: int) -> bool:
    """Set which weights may move in this epoch; returns whether that changed anything.

    Args:
        model: for all but "full" one whose head `layer_groups` finds; for "lora" one that `add_lora` has
            prepared.
        strategy: "full" moves all weights, "head" those of the head, "lora" those of the head and the
            adapters. "gradual" begins with the head and opens the groups below it in equal steps, so that the
            last epoch trains the whole model (Howard and Ruder, 2018).
        epoch: counted from 0.
        epochs: of the whole training.

    Raises:
        InputError: another strategy, a model without adapters, or one whose head `layer_groups` does not
            find.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"the strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}")
    chosen = _moving(model, strategy, epoch, epochs)
    changed = False
    for parameter in model.parameters():
        changed |= parameter.requires_grad != (parameter in chosen)
        parameter.requires_grad_(parameter in chosen)
    return changed


def _moving(model: nn.Module, strategy: str, epoch: int, epochs: int) -> set[nn.Parameter]:
    if strategy == "full":
        return set(model.parameters())
    groups = layer_groups(model)
    num_open = 1
    if strategy == "gradual" and epochs > 1:
        num_open += round((len(groups) - 1) * min(1, epoch / (epochs - 1)))
    if num_open == len(groups):
        return set(model.parameters())
    chosen = {p for _, modules in groups[-num_open:] for module in modules for p in module.parameters()}
    if strategy == "lora":
        adapters = {p for name, p in model.named_parameters() if "lora_" in name}
        if not adapters:
            raise InputError(
                "strategy lora needs a model with adapters, found none; call tuning.lora.add_lora(model) "
                "first"
            )
        chosen |= adapters
    return chosen


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
    """Evaluation mode without gradients inside; afterwards every module is in the mode in which it was
    before.
    """
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
