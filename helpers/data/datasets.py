"""DataFrame rows as map-style datasets, which answer "how many?" and "give me number i" (chapter 02).

Each sample is a dictionary with its `index`, so that a prediction can always be traced to its row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.data.pictures import open_image
from helpers.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_TOKENS = 128  # 4 of the 23,703 embedded comments are longer; a longer text is cut at its end
Classes = tuple[str, ...] | None


class TextDataset(Dataset):
    """Texts as token ids, tokenised once when the dataset is built.

    Samples: {"input_ids": list of int (not yet padded), "label": int (with `classes` only), "index": int}.

    Args:
        frame: rows with `text`, and `label` where `classes` is given.
        tokenizer: a Hugging Face tokenizer.
        classes: class names in the order of the model's outputs; None for rows without labels.
        max_length: longest sequence in tokens, the special ones included.
    """

    def __init__(self, frame: pd.DataFrame, tokenizer, classes: Classes = None, max_length: int = MAX_TOKENS):
        texts, options = frame["text"].tolist(), {"truncation": True, "max_length": max_length}
        self.input_ids = tokenizer(texts, **options)["input_ids"] if texts else []
        self.labels = None if classes is None else encode_labels(frame, classes)

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> dict:
        sample = {"input_ids": self.input_ids[index], "index": index}
        return sample if self.labels is None else sample | {"label": int(self.labels[index])}

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of every text (N,), for samplers that group similar lengths."""
        return np.array([len(ids) for ids in self.input_ids])


class ImageDataset(Dataset):
    """Images, decoded when they are asked for and then transformed.

    Samples: {"image": what `transform` returns, "label": int (with `classes` only), "index": int}.

    The random part of a transform depends on (seed, epoch, index) alone: an image gets the same crop in epoch
    3 whether it is loaded by the main process or by worker 7, before or after a resume.

    Args:
        frame: rows with `path` (a file) or `image` (uint8 (H, W) or (H, W, 3)), and `label` with `classes`.
        transform: called with a PIL image in RGB; usually returns float32 (3, H, W).
        classes: class names in the order of the model's outputs; None for rows without labels.
        seed: seed of the random part of `transform`.
    """

    def __init__(self, frame: pd.DataFrame, transform: Callable, classes: Classes = None, *, seed: int = 0):
        self.sources = frame["path" if "path" in frame else "image"].tolist()
        self.labels = None if classes is None else encode_labels(frame, classes)
        self.transform, self.seed = transform, seed
        # Shared memory, because workers that live on must see the epoch change.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict:
        image = open_image(self.sources[index])
        # Forked, so that the model's dropout does not notice how many images were augmented.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{self.seed}/{self.epoch.item()}/{index}".encode()))
            sample = {"image": self.transform(image), "index": index}
        return sample if self.labels is None else sample | {"label": int(self.labels[index])}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops and flips are drawn next; the training loop calls this."""
        self.epoch.fill_(epoch)


class FeatureDataset(Dataset):
    """Features float32 (N, D) that were computed once, with class indices (N,); for `collate_features`."""

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self.features, self.labels = torch.from_numpy(features), labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"features": self.features[index], "label": int(self.labels[index]), "index": index}


def encode_labels(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Label words (N,) as class indices (N,) int64; `InputError` names rows whose label is no class."""
    numbers = {name: number for number, name in enumerate(classes)}
    indices = frame["label"].map(numbers).fillna(-1).to_numpy(dtype=np.int64)
    unknown = frame[indices < 0]
    if len(unknown):
        rows = ", ".join(f"{row.label!r} (id {row.id})" for row in unknown.head(5).itertuples())
        raise InputError(
            f"labels must be among {', '.join(classes)}, found {rows}; {len(unknown)} rows in all: mend or "
            "remove them"
        )
    return indices
