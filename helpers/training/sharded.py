"""Weights shared out among processes (FSDP2), and checkpoints of which each process writes its own part: no
process ever needs room for all of it (chapter 12).
"""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed
import torch.distributed.checkpoint as parts_of
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from helpers.tuning.freezing import BATCH_NORMS


def share_out(model: nn.Module, mesh: DeviceMesh, precision: str) -> list[tuple]:
    """Leave in each process 1/n of every weight, in place; returns what `put_together` needs.

    A layer's weights are whole only while it computes. On GPUs in bf16 a layer's weights are exchanged in
    bfloat16, half the bytes; gradients are always summed in float32. What lies outside the layers (the
    embeddings, whose output is added to all others) stays in float32.
    """
    exchange = MixedPrecisionPolicy()
    if mesh.device_type == "cuda" and precision == "bf16":
        half = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32}
        exchange = MixedPrecisionPolicy(**half, cast_forward_inputs=False)
    before = [(module, type(module), _hooks(module), set(vars(module))) for module in model.modules()]
    for module in reversed(list(model.modules())):  # from the inside out; layers stand in a list
        for layer in module if isinstance(module, nn.ModuleList) else ():
            fully_shard(layer, mesh=mesh, mp_policy=exchange)
    # True here, too: after an evaluation no process is left with whole embeddings.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return [(module, kind, hooks, set(vars(module)) - names) for module, kind, hooks, names in before]


def put_together(model: nn.Module, before: list[tuple]) -> None:
    """Give every process all weights and take away what `share_out` has added, in place: a plain model again.

    It needs 4 bytes a weight in each process; gradients and moments are not needed any more.
    """
    whole: dict[nn.Parameter, nn.Parameter] = {}  # tied weights stay tied
    for module, kind, hooks, added in before:
        for name, part in module._parameters.items():
            if isinstance(part, DTensor):
                if part not in whole:
                    whole[part] = nn.Parameter(part.full_tensor().detach(), requires_grad=part.requires_grad)
                module._parameters[name] = whole[part]
        module.__class__ = kind
        vars(module).update(hooks)
        for name in added:
            del vars(module)[name]


def _hooks(module: nn.Module) -> dict:
    return {name: copy.copy(value) for name, value in vars(module).items() if "hooks" in name}


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of all parts; all processes call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor, or all of one that is not shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shared_like(tensor: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The tensor, shared out as `target` is, if it has its shape: a counter of steps is never shared out."""
    if not isinstance(target, DTensor) or isinstance(tensor, DTensor) or tensor.shape != target.shape:
        return tensor
    return distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)


def empty_like(target: torch.Tensor | None, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """An empty tensor, shared out as `target` is if it has its shape, else whole and on the CPU."""
    if isinstance(target, DTensor) and target.shape == shape:
        return torch.empty_like(target, dtype=dtype)
    return torch.empty(shape, dtype=dtype)


def average_buffers(model: nn.Module) -> None:
    """Of BatchNorm's running means and variances, which each process measures on its own rows, all keep the
    mean.
    """
    layers = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.training]
    found = [b for layer in layers for b in (layer.running_mean, layer.running_var) if b is not None]
    if not found:
        return
    mean = torch.cat(found)
    torch.distributed.all_reduce(mean)
    mean /= torch.distributed.get_world_size()
    for buffer, part in zip(found, mean.split([len(buffer) for buffer in found]), strict=True):
        buffer.copy_(part)


def write_parts(folder: Path, tensors: dict[str, torch.Tensor]) -> str | None:
    """Write this process's part of the tensors as safetensors; the name of its file; all processes call this.

    Raises OSError: a process could not write its part.
    """
    writer = parts_of.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        parts_of.save(tensors, storage_writer=writer)
    except CheckpointException as error:  # no Exception of Python's, and the same in all processes
        raise next(iter(error.failures.values()))[0] from None
    # Its name begins with the number of the process, from 1; one that had nothing to write has none.
    own = folder.glob(f"shard-{torch.distributed.get_rank() + 1:05}-*.safetensors")
    return next((file.name for file in own), None)


def read_parts(folder: Path, empty: Callable, *, together: bool) -> dict[str, torch.Tensor]:
    """Read what any number of processes wrote by `write_parts`; of a tensor only what `empty` has room for.

    Args:
        empty: (name, shape, dtype) -> the tensor to fill, whole or shared out.
        together: whether tensors are shared out, so that all processes call this.

    Raises RuntimeError: the parts do not make these tensors.
    """
    reader = parts_of.HuggingFaceStorageReader(str(folder))
    try:
        found = reader.read_metadata().state_dict_metadata
        tensors = {name: empty(name, each.size, each.properties.dtype) for name, each in found.items()}
        parts_of.load(tensors, storage_reader=reader, no_dist=not together)
    except CheckpointException as error:
        raise RuntimeError(str(next(iter(error.failures.values()))[0])) from None
    return tensors
