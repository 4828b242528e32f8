"""DataFrame rows as map-style datasets, which answer "how many?" and "give me number i" (chapter 02).

Each sample is a dictionary with its `index`, so that a prediction can always be traced to its row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from helpers.data.pictures import open_image
from helpers.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

MAX_TOKENS = 128  # 4 of the 23,703 embedded comments are longer; a longer text is cut at its end
Classes = tuple[str, ...] | None
MOST_WORKERS = 256  # that a loader of an `ImageDataset` may have


class SampleError(InputError):
    """A sample cannot be read; the message names it. A worker sends a traceback, whose end is the message."""

    def __init__(self, message: str):
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


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
        cache: opens files, and shrinks large photographs; None decodes each picture as it is, each time.

    Asking for a sample raises SampleError, which names file and row: the picture cannot be read (any more).
    """

    def __init__(
        self, frame: pd.DataFrame, transform: Callable, classes: Classes = None, *, seed: int = 0, cache=None
    ):
        self.sources = frame["path" if "path" in frame else "image"].tolist()
        self.labels = None if classes is None else encode_labels(frame, classes)
        self.transform, self.seed, self.cache = transform, seed, cache
        # Shared memory, because workers that live on must see the epoch change.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        # For each worker its process and the index it is at, written by `workers.start_worker` and below.
        self.loading = torch.full((MOST_WORKERS, 2), -1).share_memory_()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict:
        worker = get_worker_info()
        if worker:
            self.loading[worker.id, 1] = index
        image = self._opened(index)
        # Forked, so that the model's dropout does not notice how many images were augmented.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{self.seed}/{self.epoch.item()}/{index}".encode()))
            sample = {"image": self.transform(image), "index": index}
        return sample if self.labels is None else sample | {"label": int(self.labels[index])}

    def _opened(self, index: int) -> Image.Image:
        source = self.sources[index]
        try:
            if self.cache is not None and isinstance(source, str | Path):
                return self.cache.open(source)
            return open_image(source)
        except Exception as error:  # Pillow raises whatever damaged bytes lead to
            found = f"{self.name_of(index)} cannot be read ({type(error).__name__}: {error})"
            raise SampleError(f"{found}; mend the file, or start anew without it") from error

    def name_of(self, index: int) -> str:
        """Which picture it is, for a person: its file and its number."""
        source = self.sources[index]
        return f"{source} (index {index})" if isinstance(source, str | Path) else f"the picture {index}"

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
