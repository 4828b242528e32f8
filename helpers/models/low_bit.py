"""Frozen weights in 4 bits, with what is trained above them in full precision (chapters 09 and 10).

32 weights in a row share a scale and a minimum, as in llama.cpp's Q4_1: weight = minimum + scale * code, with
a code of 0 to 15. With half-precision scales that is 5 bits a weight. Source of the idea of training above
such weights: Dettmers et al., "QLoRA" (2023), which uses another grid (NF4).
"""

import torch
from torch import nn
from torch.nn import functional as F

from helpers.errors import InputError

BLOCK = 32  # weights that share a scale and a minimum
LEVELS = 15


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, scales and minima of a matrix (out, in); `in` is a multiple of 32.

    Returns:
        codes uint8 (out, in / 2), two to a byte, and scale and minimum float16 (out, in / 32).
    """
    blocks = weight.float().unflatten(1, (-1, BLOCK))  # (out, in / 32, 32)
    minimum, maximum = blocks.amin(-1).half(), blocks.amax(-1)
    scale = ((maximum - minimum.float()) / LEVELS).half()
    steps = torch.where(scale > 0, scale, 1).float()[..., None]
    codes = ((blocks - minimum.float()[..., None]) / steps).round().clamp(0, LEVELS).to(torch.uint8)
    codes = codes.flatten(1)
    return codes[:, ::2] | codes[:, 1::2] << 4, scale, minimum


def dequantise(codes: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor, dtype) -> torch.Tensor:
    """The matrix (out, in) that `quantise` has kept."""
    pairs = torch.stack([codes & LEVELS, codes >> 4], dim=-1)  # (out, in / 2, 2)
    blocks = pairs.flatten(1).unflatten(1, (-1, BLOCK)).float()
    # In float32 whatever is asked for: each step in bfloat16 would round away what 4 bits have kept.
    return (blocks * scale.float()[..., None] + minimum.float()[..., None]).flatten(1).to(dtype)


class LowBitLinear(nn.Linear):
    """A frozen linear layer in 4 bits; its matrix exists only while it is multiplied.

    Args:
        layer: the layer to replace; its input is a multiple of 32 wide.
    """

    def __init__(self, layer: nn.Linear):
        nn.Module.__init__(self)  # not that of nn.Linear, which would make a matrix
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        for name, tensor in zip(("codes", "scale", "minimum"), quantise(layer.weight.detach())):
            self.register_buffer(name, tensor)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix float32 (out, in), computed anew at every call."""
        return dequantise(self.codes, self.scale, self.minimum, torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., in) to (..., out)."""
        return _Product.apply(x, self.codes, self.scale, self.minimum, self.bias)


class _Product(torch.autograd.Function):
    """x W' + bias, which keeps the codes for the backward pass, not the matrix."""

    @staticmethod
    def forward(ctx, x, codes, scale, minimum, bias):
        ctx.save_for_backward(codes, scale, minimum)
        return F.linear(x, dequantise(codes, scale, minimum, x.dtype), bias)

    @staticmethod
    def backward(ctx, gradient):
        return gradient @ dequantise(*ctx.saved_tensors, gradient.dtype), None, None, None, None


def to_low_bit(model: nn.Module) -> int:
    """Replace every linear layer below the last by one in 4 bits, in place; returns how many there are.

    Raises InputError: no layer can be replaced.
    """
    last = model.get_output_embeddings()
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not last and layer.in_features % BLOCK == 0
    }
    if not layers:
        found = f"no linear layer of {type(model).__name__} has an input of a multiple of {BLOCK}"
        raise InputError(f"{found}; train with 16 bits")
    for name, layer in layers.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, LowBitLinear(layer))
    return len(layers)


def from_low_bit(model: nn.Module) -> None:
    """Replace every layer in 4 bits by an ordinary one that computes the same, in place."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LowBitLinear):
            parent, _, attribute = name.rpartition(".")
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
            plain.weight, plain.bias = nn.Parameter(layer.weight), layer.bias
            setattr(model.get_submodule(parent), attribute, plain)
