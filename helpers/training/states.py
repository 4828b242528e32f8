"""What a checkpoint holds of a model and its optimizer, as tensors with names (chapter 03)."""

from collections.abc import Callable

import torch
from torch import nn

from helpers.models.adapters import has_lora
from helpers.training.sharded import empty_like, shared_like


def state(model: nn.Module, optimizer=None) -> dict[str, torch.Tensor]:
    """`model.NAME`, and `optimizer.NUMBER.NAME` by the parameter's number, as they are: on the device, and
    shared out where the model is.

    Of a model with adapters only what moves: the frozen weights are those of the pretrained model.
    """
    first = _first_names(model)
    own = {name: tensor for name, tensor in model.state_dict().items() if first.get(name) == name}
    tensors = {f"model.{name}": tensor for name, tensor in own.items()}
    moments = optimizer.state_dict()["state"] if optimizer is not None else {}
    for number, values in moments.items():
        start = f"optimizer.{number}."
        tensors |= {start + name: torch.as_tensor(value) for name, value in values.items()}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def frozen(model: nn.Module) -> list[torch.Tensor]:
    """What `state` leaves out: the weights below adapters."""
    tensors = model.state_dict(keep_vars=True) if has_lora(model) else {}
    return [tensor for name, tensor in tensors.items() if _is_still(name, tensor)]


def room(model: nn.Module, optimizer=None) -> Callable:
    """(name, shape, dtype) -> an empty tensor for what `state` calls so, shared out as the model is."""
    own = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if optimizer is not None:
        own |= {f"optimizer.{number}": p for number, p in enumerate(_parameters(optimizer))}
    # A moment has the shape of its parameter: "optimizer.7.exp_avg" that of "optimizer.7".
    return lambda name, *like: empty_like(own.get(name, own.get(name.rpartition(".")[0])), *like)


def load(state: dict[str, torch.Tensor], model: nn.Module, optimizer=None, groups=()) -> None:
    """Put what `state` returned back, also into a model that is shared out otherwise than before.

    Args:
        state: what `state` returned, whole or shared out as the model is.
        model, optimizer: what to fill, after `Runtime.prepare`.
        groups: the optimizer's `param_groups`, as its `state_dict` gives them.

    Raises RuntimeError: the tensors are those of another model.
    """
    own, saved, first = model.state_dict(), _below(state, "model"), _first_names(model)
    if set(saved) != set(first.values()):
        raise RuntimeError(f"{len(set(saved) ^ set(first.values()))} of its weights have other names")
    kept = {name: shared_like(saved[first[name]], own[name]) for name in first}
    model.load_state_dict(kept, strict=len(kept) == len(own))
    if optimizer is None:
        return
    parameters, moments = _parameters(optimizer), {}
    for name, tensor in _below(state, "optimizer").items():
        number, key = name.split(".", 1)
        parameter = parameters[int(number)]
        if tensor.ndim and tensor.shape != parameter.shape:
            raise RuntimeError(f"moment {key} of parameter {number} has another shape")
        moments.setdefault(int(number), {})[key] = shared_like(tensor, parameter)
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _parameters(optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name that is kept of the model's state with the first name of the same tensor: tied weights have
    two.
    """
    first: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    if has_lora(model):
        tensors = {name: tensor for name, tensor in tensors.items() if not _is_still(name, tensor)}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def _is_still(name: str, tensor: torch.Tensor) -> bool:
    """Whether it is of the pretrained model below the adapters: a frozen weight, or its parts in 4 bits."""
    return ".base_layer." in name or (isinstance(tensor, nn.Parameter) and not tensor.requires_grad)
