"""First weights: random draws whose spread decides whether a signal survives many layers (chapter 04)."""

import itertools
import math

import pandas as pd
import torch
from torch import nn

from helpers.errors import InputError

SCHEMES = ("normal", "uniform", "xavier", "kaiming")
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in) or (out, in, height, width).

    How many numbers one output adds up, and how many one input feeds.
    """
    taps = math.prod(weight.shape[2:])  # 1 for a linear layer, 9 for a 3 x 3 convolution
    return weight.shape[1] * taps, weight.shape[0] * taps


def initialise(model: nn.Module, scheme: str, *, spread: float = 0.01) -> None:
    """Draw the weights of every linear layer and convolution at random, and set their biases to zero.

    In place; seed before calling.

    Args:
        model: any model; its other layers stay as they are.
        scheme: "normal" and "uniform" draw with the same `spread` everywhere. "xavier" has variance 2 /
            (fan_in + fan_out), made for tanh; "kaiming" has 2 / fan_in, made for ReLU, which sets half of its
            inputs to zero.
        spread: standard deviation of "normal"; "uniform" draws from -spread to spread.

    Raises:
        InputError: another scheme, or a spread that is not positive.

    Source: Glorot and Bengio (2010); He et al., "Delving Deep into Rectifiers" (2015).
    """
    if scheme not in SCHEMES:
        raise InputError(f"the scheme must be one of {', '.join(SCHEMES)}, found {scheme!r}")
    if spread <= 0:
        raise InputError(f"spread must be above 0, found {spread}")
    draw = {
        "normal": lambda weight: nn.init.normal_(weight, std=spread),
        "uniform": lambda weight: nn.init.uniform_(weight, -spread, spread),
        "xavier": nn.init.xavier_normal_,
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    }[scheme]
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def deep_stack(
    kind: str, activation: str, *, depth: int = 20, width: int = 256, inputs: int = 784
) -> nn.Sequential:
    """`depth` equal layers, each followed by an activation: a deep network without head, norm or shortcut.

    Args:
        kind: "linear" takes images of `inputs` pixels in all and gives (B, width); "conv" takes images with
            one channel and gives (B, width, H, W) through 3 x 3 convolutions.
        activation: "relu" or "tanh".
        depth, width: number of layers; outputs of each.
        inputs: pixels of an image, for "linear".

    Raises:
        InputError: another kind or activation.
    """
    if kind not in ("linear", "conv") or activation not in ACTIVATIONS:
        raise InputError(
            f"expected kind linear or conv and activation relu or tanh, found {kind!r} and {activation!r}"
        )
    sizes = [inputs if kind == "linear" else 1, *[width] * depth]
    layers = [] if kind == "conv" else [nn.Flatten()]
    for size, next_size in itertools.pairwise(sizes):
        layers += [
            nn.Linear(size, next_size) if kind == "linear" else nn.Conv2d(size, next_size, 3, padding=1),
            ACTIVATIONS[activation](),
        ]
    return nn.Sequential(*layers)


@torch.no_grad()
def activation_statistics(model: nn.Module, inputs: torch.Tensor) -> pd.DataFrame:
    """What leaves each ReLU or tanh of the model, from input to output.

    Args:
        model: any model whose activations are modules.
        inputs: one batch, (B, ...) float32.

    Returns:
        One row per activation: `depth` (from 1), `mean`, `std` (over all values of the batch) and `zeros`
            (share that is exactly 0).
    """
    rows = []

    def note(_module, _inputs, output):
        values = output.double()  # the squares of very small or large values would leave the range of float32
        rows.append(
            (len(rows) + 1, values.mean().item(), values.std().item(), (output == 0).double().mean().item())
        )

    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, tuple(ACTIVATIONS.values()))
    ]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return pd.DataFrame(rows, columns=["depth", "mean", "std", "zeros"])
