"""What autograd keeps for the backward pass, in bytes (chapter 06 measures it, chapter 01 plans with it)."""

from collections.abc import Callable, Iterable

import torch


def kept_bytes(forward: Callable[[], torch.Tensor], own: Iterable[torch.Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of what `forward()` computes.

    PyTorch offers every tensor that it keeps to a hook; views of one storage are counted once.

    Example: `kept_bytes(lambda: model(images), [*model.parameters(), *model.buffers()])`

    Args:
        forward: the forward pass.
        own: tensors that are there anyway, and are not counted: a model's parameters and buffers.
    """
    kept = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.untyped_storage())  # held until the end, so no address is given to another tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept - {tensor.untyped_storage() for tensor in own})
