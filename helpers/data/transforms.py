"""Image presets: what is done to a picture before a model sees it, in training and in evaluation (chapters 02
and 05).

Two presets, because two jobs: training may see a picture changed at random, evaluation must see it as it is
(chapter 05).
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
    """What a pretrained model expects of an image.

    Attributes:
        size: height and width in pixels.
        mean, std: mean and spread of each channel, in the range 0..1, as used when the model was pretrained.
        crop_share: share of the shorter side that the centre crop keeps.
        interpolation: "bilinear" or "bicubic": how pixels are made up when a picture is resized.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_share: float = 1.0
    interpolation: str = "bilinear"


def evaluation_preset(preprocessing: ImagePreprocessing) -> v2.Compose:
    """PIL image -> float32 (3, size, size): resized, centre-cropped, scaled to 0..1, standardised. Nothing
    random.
    """
    return v2.Compose([*_whole_picture(preprocessing), *_to_standardised_tensor(preprocessing)])


def training_preset(
    preprocessing: ImagePreprocessing,
    *,
    augmentations: Collection[str] = ("crop", "flip"),
    smallest_crop: float = 0.7,
) -> v2.Compose:
    """As `evaluation_preset`, with random changes.

    Args:
        preprocessing: what the model expects.
        augmentations: some of `AUGMENTATIONS`. "crop": a part of the picture; "flip": left-right, every
            second picture; "upside_down": top-bottom, every second picture; "rotate": by up to 20 degrees;
            "colour": brightness, contrast and saturation by up to 40 per cent; "noise": on every pixel of
            every second picture, with standard deviation 0.1 on the scale 0..1.
        smallest_crop: least share of the image's area that a crop keeps.

    Raises:
        InputError: an augmentation is none of `AUGMENTATIONS`.
    """
    if unknown := sorted(set(augmentations) - set(AUGMENTATIONS)):
        raise InputError(
            f"augmentations must be among {', '.join(AUGMENTATIONS)}, found {', '.join(unknown)}"
        )
    size = preprocessing.size
    on_picture = {
        "flip": v2.RandomHorizontalFlip(),
        "upside_down": v2.RandomVerticalFlip(),
        "rotate": v2.RandomRotation(20, interpolation=v2.InterpolationMode.BILINEAR),
        "colour": v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
    }
    crop = v2.RandomResizedCrop(size, scale=(smallest_crop, 1.0), ratio=(0.85, 1.18))
    first = [crop] if "crop" in augmentations else _whole_picture(preprocessing)
    to_image, to_unit_range, standardise = _to_standardised_tensor(preprocessing)
    # Noise is measured on the scale 0..1, so it comes after scaling and before standardising.
    noise = [v2.RandomApply([v2.GaussianNoise(sigma=0.1)], p=0.5)] if "noise" in augmentations else []
    return v2.Compose(
        [
            *first,
            *(step for name, step in on_picture.items() if name in augmentations),
            to_image,
            to_unit_range,
            *noise,
            standardise,
        ]
    )


def _whole_picture(preprocessing: ImagePreprocessing) -> list:
    resized = math.floor(preprocessing.size / preprocessing.crop_share)
    interpolation = v2.InterpolationMode(preprocessing.interpolation)
    return [v2.Resize(resized, interpolation=interpolation), v2.CenterCrop(preprocessing.size)]


def _to_standardised_tensor(preprocessing: ImagePreprocessing) -> list:
    # Two different steps: scaling maps 0..255 to 0..1; standardising then subtracts the mean and divides by
    # the std.
    return [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(preprocessing.mean, preprocessing.std),
    ]
