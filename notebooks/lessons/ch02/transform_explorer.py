"""Transform explorer (chapter 02): what flip, crop, rotation and colour do to a picture, for each seed."""

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms import v2

from lessons import panels
from lessons.controls import explorer, wide


def build(
    *, flip: float = 0.5, smallest_crop: float = 0.7, rotation: int = 0, colour: float = 0.0, size: int = 96
) -> v2.Compose:
    """A random augmentation for PIL images.

    Args:
        flip: probability of a left-right flip, 0..1.
        smallest_crop: least share of the area that a crop keeps, 0..1; 1 = no crop.
        rotation: largest angle, degrees.
        colour: largest relative change of brightness and contrast, 0..1.
        size: height and width of the result, pixels.
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(smallest_crop, 1.0), ratio=(1.0, 1.0)),
            v2.RandomHorizontalFlip(flip),
            v2.RandomRotation(rotation),
            v2.ColorJitter(brightness=colour, contrast=colour),
        ]
    )


def apply(image: Image.Image, seed: int, **choices) -> Image.Image:
    """`image` after `build(**choices)`, with random numbers that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(**choices)(image)


def picture(image: Image.Image, seed: int, *, draws: int = 4, **choices) -> Figure:
    """The image as it is, and `draws` random versions of it: those of `seed`, `seed` + 1, ..."""
    figure = Figure(figsize=(7.5, 1.9), layout="constrained")
    axes = figure.subplots(1, draws + 1)
    images = [image.resize((96, 96))] + [apply(image, seed + draw, **choices) for draw in range(draws)]
    panels.image_row(axes, images, ["before"] + [f"seed {seed + draw}" for draw in range(draws)])
    return figure


def sentence(seed: int, *, flip: float, smallest_crop: float, rotation: int, colour: float) -> str:
    """The choices in words, for the text under the picture."""
    parts = [
        f"flipped with probability {flip:.0%}",
        f"cropped to {smallest_crop:.0%} of the area or more" if smallest_crop < 1 else "not cropped",
    ]
    parts += [f"turned by up to {rotation} degrees" if rotation else "not turned"]
    parts += [f"brightness and contrast changed by up to {colour:.0%}" if colour else "colours kept"]
    return f"The picture, then four random versions from seed {seed} on: {', '.join(parts)}."


def transform_explorer(image: Image.Image) -> widgets.Widget:
    """Controls for `apply` with the picture before and after.

    Args:
        image: PIL, RGB.
    """
    slider = wide() | {"continuous_update": False}
    controls = {
        "flip": widgets.FloatSlider(
            value=0.5, min=0, max=1, step=0.5, description="flip (probability)", **slider
        ),
        "smallest_crop": widgets.FloatSlider(
            value=0.7, min=0.1, max=1, step=0.1, description="smallest crop", **slider
        ),
        "rotation": widgets.IntSlider(
            value=0, min=0, max=180, step=15, description="rotation (degrees)", **slider
        ),
        "colour": widgets.FloatSlider(value=0, min=0, max=1, step=0.1, description="colour", **slider),
        "seed": widgets.IntSlider(value=0, min=0, max=99, description="seed", **slider),
    }
    return explorer(controls, lambda **values: (picture(image, **values), sentence(**values)))
