"""LoRA: leave every pretrained matrix as it is, and learn a small correction beside it (chapter 04).

A layer's weight W (out, in) stays frozen; what moves are A (rank, in) and B (out, rank), and the layer
computes W x + (alpha / rank) B A x. B starts at zero, so training starts exactly from the pretrained model.
The work is done by peft. Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
"""

from torch import nn

from helpers.errors import InputError
from helpers.models.adapters import has_lora
from helpers.tuning.layers import layer_groups


def add_lora(model: nn.Module, *, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0) -> None:
    """Adapt, in place, every linear layer and ungrouped convolution below the head; seed before calling.

    Args:
        rank: rows of A and columns of B; the corrections' size grows with it.
        alpha: the corrections are multiplied by alpha / rank.
        dropout: share of the adapters' inputs that is zeroed in training.

    Raises InputError: the model has adapters already, its architecture is not known, or it has no such layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if has_lora(model):
        raise InputError(
            "the model has LoRA adapters already; call merge_lora first, or build the model anew"
        )
    body = {part for _, modules in layer_groups(model)[:-1] for layer in modules for part in layer.modules()}
    targets = {name: part for name, part in model.named_modules() if part in body and _can_adapt(part)}
    if not targets:
        raise InputError(
            f"no linear layer was found below the head of {type(model).__name__}; use strategy full"
        )
    options = {"lora_alpha": alpha, "lora_dropout": dropout, "target_modules": list(targets)}
    options |= {"fan_in_fan_out": any(map(_is_turned, targets.values()))}
    config = LoraConfig(r=rank, **options)
    inject_adapter_in_model(config, model)


def merge_lora(model: nn.Module) -> None:
    """Add each correction to its matrix, in place, and remove the adapters: a plain model, fast as before."""
    # Not by peft's `merge_and_unload`: it belongs to the wrapper that `inject_adapter_in_model` throws away.
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)  # refuses corrections that are not finite
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config  # or peft would take later adapters for a second set
    model.requires_grad_(True)


def _can_adapt(module: nn.Module) -> bool:
    is_plain = isinstance(module, nn.Conv2d) and module.groups == 1
    return isinstance(module, nn.Linear) or is_plain or _is_turned(module)


def _is_turned(module: nn.Module) -> bool:
    """Whether it is the linear layer of GPT-2, which keeps its matrix as (in, out)."""
    return type(module).__name__ == "Conv1D"
