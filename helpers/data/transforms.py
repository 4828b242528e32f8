"""Image presets: what is done to a picture before a model sees it, in training and in evaluation (chapters 02 and 05)."""

from dataclasses import dataclass

import torch
from torchvision.transforms import v2


@dataclass(frozen=True)
class ImagePreprocessing:
    """What a pretrained model expects of an image.

    Attributes:
        size: height and width in pixels.
        mean, std: of each channel, in the range 0..1, as used when the model was pretrained.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def evaluation_preset(preprocessing: ImagePreprocessing) -> v2.Compose:
    """PIL image -> float32 (3, size, size): resized, centre-cropped, scaled to 0..1, standardised. Nothing random."""
    return v2.Compose([v2.Resize(preprocessing.size), v2.CenterCrop(preprocessing.size), *_to_standardised_tensor(preprocessing)])


def training_preset(preprocessing: ImagePreprocessing, *, smallest_crop: float = 0.7) -> v2.Compose:
    """As `evaluation_preset`, with a random crop and a random left-right flip in place of the centre crop.

    Args:
        preprocessing: what the model expects.
        smallest_crop: least share of the image's area that a crop keeps.
    """
    crop = v2.RandomResizedCrop(preprocessing.size, scale=(smallest_crop, 1.0), ratio=(0.85, 1.18))
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *_to_standardised_tensor(preprocessing)])


def _to_standardised_tensor(preprocessing: ImagePreprocessing) -> list:
    # Two different steps: scaling maps 0..255 to 0..1; standardising then subtracts the mean and divides by the std.
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(preprocessing.mean, preprocessing.std)]
