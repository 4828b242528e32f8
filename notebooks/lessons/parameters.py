"""How many numbers a model holds."""

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, each once: layers that share a matrix (tied weights) share its numbers."""
    return sum(p.numel() for p in model.parameters())
