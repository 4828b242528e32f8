"""Image presets: what is done to a picture before a model sees it (chapters 02 and 05).

Two, because training may see a picture changed at random, and evaluation must see it as it is (chapter 05).
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torchvision.transforms import v2

from helpers.errors import InputError

AUGMENTATIONS = ("crop", "flip", "upside_down", "rotate", "colour", "noise")


@dataclass(frozen=True)
class ImagePreprocessing:
    """What a pretrained model expects of an image: what it got when it was pretrained."""

    size: int  # height and width in pixels
    mean: tuple[float, float, float]  # of each channel, in the range 0..1
    std: tuple[float, float, float]  # spread of each channel
    crop_share: float = 1.0  # share of the shorter side that the centre crop keeps
    interpolation: str = "bilinear"  # or "bicubic": how pixels are made up when a picture is resized


def copy_side(preprocessing: ImagePreprocessing) -> int:
    """The shorter side, in pixels, to which a large photograph may be shrunk before the presets see it.

    Half as much again as the model's own size, or what the centre crop cuts from, where that is more: the
    smallest crop of `training_preset` (0.7 of the area) then still has more pixels than the model takes.
    """
    return math.ceil(preprocessing.size * max(1.5, 1 / preprocessing.crop_share))


def evaluation_preset(preprocessing: ImagePreprocessing) -> v2.Compose:
    """PIL image -> float32 (3, size, size): resized, centre-cropped, scaled, standardised; nothing random."""
    return training_preset(preprocessing, augmentations=())


def training_preset(
    preprocessing: ImagePreprocessing,
    *,
    augmentations: Collection[str] = ("crop", "flip"),
    smallest_crop: float = 0.7,
) -> v2.Compose:
    """As `evaluation_preset`, with random changes.

    Example: `training_preset(preprocessing, augmentations=("flip", "rotate"))`

    Args:
        preprocessing: what the model expects.
        augmentations: some of `AUGMENTATIONS`. "crop": a part of the picture; "flip": left-right, every
            second picture; "upside_down": top-bottom, every second picture; "rotate": by up to 20 degrees;
            "colour": brightness, contrast and saturation by up to 40 per cent; "noise": on every pixel of
            every second picture, with standard deviation 0.1 on the scale 0..1.
        smallest_crop: least share of the image's area that a crop keeps.

    Raises InputError: an augmentation is none of `AUGMENTATIONS`.
    """
    unknown = ", ".join(sorted(set(augmentations) - set(AUGMENTATIONS)))
    if unknown:
        raise InputError(f"augmentations must be among {', '.join(AUGMENTATIONS)}, found {unknown}")
    size = preprocessing.size
    if "crop" in augmentations:
        framed = [v2.RandomResizedCrop(size, scale=(smallest_crop, 1.0), ratio=(0.85, 1.18))]
    else:
        interpolation = v2.InterpolationMode(preprocessing.interpolation)
        shorter_side = math.floor(size / preprocessing.crop_share)
        framed = [v2.Resize(shorter_side, interpolation=interpolation), v2.CenterCrop(size)]
    changes = {
        "flip": v2.RandomHorizontalFlip(),
        "upside_down": v2.RandomVerticalFlip(),
        "rotate": v2.RandomRotation(20, interpolation=v2.InterpolationMode.BILINEAR),
        "colour": v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
    }
    changed = [step for name, step in changes.items() if name in augmentations]
    scaled = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]  # 0..255 to 0..1, where noise is measured
    noise = [v2.RandomApply([v2.GaussianNoise(sigma=0.1)], p=0.5)] if "noise" in augmentations else []
    standardised = v2.Normalize(preprocessing.mean, preprocessing.std)  # minus the mean, divided by the std
    return v2.Compose([*framed, *changed, *scaled, *noise, standardised])
