"""The 300 pictures that chapter 06's exercises train on, the 400 hidden ones, and the network (64 pixels)."""

import functools

import numpy as np
import torch
from PIL import Image
from torch import nn

from helpers.data import cleaning, sources, splits
from helpers.data.datasets import encode_labels
from helpers.models.images import image_model

SIZE, TRAINING_ROWS, HIDDEN_ROWS = 64, 300, 400
CHAPTER_ROWS = 2000  # training rows that the chapter draws


@functools.cache
def rows() -> dict[str, tuple[list[Image.Image], list[int]]]:
    """ "train" and "hidden": grey pictures and their class indices; no hidden row is in the chapter."""
    parts = splits.split(cleaning.clean_images(sources.animals())[0])
    shown = splits.subsample(parts["train"], CHAPTER_ROWS)
    others = parts["train"][~parts["train"]["id"].isin(shown["id"])]
    chosen = {"train": shown.head(TRAINING_ROWS), "hidden": splits.subsample(others, HIDDEN_ROWS, seed=11)}
    return {
        name: ([Image.fromarray(one) for one in part["image"]], encode_labels(part, sources.ANIMALS).tolist())
        for name, part in chosen.items()
    }


def network(seed: int = 0) -> tuple[nn.Module, nn.Linear]:
    """EfficientNet-Lite0 on its pretrained weights with a fresh head, and that head."""
    torch.manual_seed(seed)
    model = image_model("efficientnet_lite0", len(sources.ANIMALS), pretrained=True)
    return model.to(memory_format=torch.channels_last), model.classifier


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: list[int]) -> float:
    """Share of preprocessed pictures (N, 3, SIZE, SIZE) that the model names rightly."""
    model.eval()
    images = images.contiguous(memory_format=torch.channels_last)
    said = torch.cat([model(part).argmax(1) for part in images.split(100)]).numpy()
    return float((said == np.array(labels)).mean())
