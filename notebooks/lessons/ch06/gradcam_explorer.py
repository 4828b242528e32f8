"""Grad-CAM explorer (chapter 06): choose picture, class and layer, and see what speaks for that class."""

from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from lessons import panels
from lessons.ch06.gradcam import enlarge, grad_cam
from lessons.controls import explorer, wide


@dataclass(frozen=True)
class Pictures:
    """What the explorer shows.

    Attributes:
        images: preprocessed, as the network takes them (N, 3, H, W).
        grey: the same as people see them, 0..1 (N, H, W).
        labels: the true class indices (N,).
    """

    images: torch.Tensor
    grey: np.ndarray
    labels: np.ndarray


def overlay(ax, grey: np.ndarray, heat: np.ndarray, title: str) -> None:
    """A grey picture (H, W) with a map (H, W) of 0..1 over it: bright yellow speaks for the class."""
    ax.imshow(grey, cmap="gray", vmin=0, vmax=1)
    ax.imshow(heat, cmap="cividis", vmin=0, vmax=1, alpha=0.65)
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()


def picture(
    grey: np.ndarray, heat: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...], chosen: int
) -> Figure:
    """The picture, its map for one class, and the probabilities of all classes."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    panels.image_row([left], [grey], ["the picture"])
    overlay(middle, grey, heat, f"what speaks for {classes[chosen]}")
    panels.probabilities(right, classes, probabilities)
    return figure


def sentence(label: str, classes: tuple[str, ...], probabilities: np.ndarray, chosen: int) -> str:
    """The network's answer and the chosen class in words."""
    best = int(probabilities.argmax())
    verdict = "right" if classes[best] == label else "wrong"
    return (
        f"A {label}; the network says {classes[best]} (p = {probabilities[best]:.2f}), which is {verdict}. "
        f"The map shows what speaks for {classes[chosen]} (p = {probabilities[chosen]:.2f})."
    )


def gradcam_explorer(
    model: nn.Module, layers: dict[str, nn.Module], pictures: Pictures, classes: tuple[str, ...]
) -> widgets.Widget:
    """Controls for picture, class and layer with the map below.

    Args:
        model: images (N, 3, H, W) -> logits (N, C).
        layers: layers for `grad_cam`, by a name for the menu.
        pictures: the pictures to choose from.
        classes: names of the C outputs, in order.
    """
    labels = [classes[label] for label in pictures.labels]

    def draw(number: int, name: str, layer: str) -> tuple[Figure, str]:
        image, chosen = pictures.images[number : number + 1], classes.index(name)
        with torch.no_grad():
            probabilities = model.eval()(image).softmax(1)[0].numpy(force=True)
        heat = enlarge(
            grad_cam(model, layers[layer], image, torch.tensor([chosen], device=image.device)),
            image.shape[-1],
        )[0].numpy(force=True)
        return picture(pictures.grey[number], heat, probabilities, classes, chosen), sentence(
            labels[number], classes, probabilities, chosen
        )

    numbered = [(f"{number}: {label}", number) for number, label in enumerate(labels)]
    controls = {
        "number": widgets.Dropdown(options=numbered, value=0, description="picture", **wide()),
        "name": widgets.Dropdown(options=classes, value=labels[0], description="explain class", **wide()),
        "layer": widgets.Dropdown(options=list(layers), description="layer", **wide()),
    }
    return explorer(controls, draw)
