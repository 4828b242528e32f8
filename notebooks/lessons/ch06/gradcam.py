"""Grad-CAM: which places of a picture speak for a class, by one layer and its gradients (chapter 06)."""

import torch
from torch import nn
from torch.nn import functional as F

from helpers.errors import InputError


def grad_cam(model: nn.Module, layer: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """How much each place of `layer`'s output speaks for a class, in evaluation mode.

    Args:
        model: images (N, 3, H, W) -> logits (N, C); the weights of `layer` or of one before it must require
            gradients.
        layer: a module of the model whose output is (N, K, h, w).
        images: preprocessed.
        classes: class index of each picture (N,): explain this class, whether or not it is the predicted one.

    Returns:
        Maps (N, h, w), 0 or more: 0 where nothing speaks for the class.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017 (arXiv:1610.02391), equations 1 and 2.
    """
    kept = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    scores = model.eval()(images)  # (N, C)
    handle.remove()
    activations = kept[0]  # (N, K, h, w)
    chosen = scores.gather(1, classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(chosen, activations)
    weights = gradients.mean((2, 3), keepdim=True)  # (N, K, 1, 1): one number per channel
    return (weights * activations).sum(1).relu().detach()


def enlarge(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Maps (N, h, w) as (N, size, size), each scaled to a maximum of 1 (a map of zeros stays one)."""
    large = F.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax((1, 2), keepdim=True).clamp(min=1e-12)


def covered(images: torch.Tensor, places: torch.Tensor, side: int) -> torch.Tensor:
    """Copies of images (N, C, H, W) in which a square is filled with each channel's darkest value.

    For a silhouette that is the background.

    Args:
        images: preprocessed.
        places: row and column of each square's middle (N, 2).
        side: side of the square in pixels; what lies beyond the edge of the picture is cut off.
    """
    rows, columns = (torch.arange(length, device=images.device) for length in images.shape[2:])
    inside_rows = (rows - places[:, :1]).abs() <= side / 2  # (N, H)
    inside_columns = (columns - places[:, 1:]).abs() <= side / 2  # (N, W)
    square = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]  # (N, 1, H, W)
    return torch.where(square, images.amin((0, 2, 3), keepdim=True), images)


def cells(grid: int, size: int) -> torch.Tensor:
    """Row and column of the middles of grid x grid cells of a picture: (grid * grid, 2) int64."""
    middles = ((torch.arange(grid) + 0.5) * size / grid).long()
    return torch.cartesian_prod(middles, middles)


def centre_cell(grid: int) -> int:
    """The number of an odd grid's middle cell: what a map must beat where objects stand in the middle."""
    if grid % 2 == 0:
        raise InputError(f"only an odd grid has a centre cell, found {grid}")
    return grid * grid // 2


@torch.no_grad()
def occlusion(
    model: nn.Module, images: torch.Tensor, classes: torch.Tensor, *, grid: int = 6, share: float = 0.25
) -> torch.Tensor:
    """How much the probability of a class falls when a square in the middle of each cell is covered.

    Args:
        model: images (N, 3, H, W) -> logits (N, C).
        images: preprocessed, square.
        classes: class index of each picture (N,).
        grid: cells per side; the model is called grid * grid + 1 times.
        share: side of the square, as a share of the picture's.

    Returns:
        Falls (N, grid * grid), row by row: above 0 where the covered part spoke for the class.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014 (arXiv:1311.2901),
    section 4.2.
    """
    probability = lambda pictures: model.eval()(pictures).softmax(1).gather(1, classes[:, None])[:, 0]
    side, whole = int(share * images.shape[-1]), probability(images)
    places = cells(grid, images.shape[-1]).to(images.device)
    return torch.stack(
        [whole - probability(covered(images, place.expand(len(images), 2), side)) for place in places], dim=1
    )
