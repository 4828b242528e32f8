"""DataFrame rows as PyTorch datasets: map-style for texts and images, iterable for files too large to hold
(chapter 02).

A map-style dataset answers "how many?" and "give me number i"; the loader asks. A stream just keeps handing
out rows. Each sample is a dictionary that carries its `index`, so that a prediction can always be traced to
its row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from helpers.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_TOKENS = 128  # 4 of the 23,703 embedded comments are longer; a longer text is cut at its end


class TextDataset(Dataset):
    """Texts as token ids, tokenised once when the dataset is built.

    Samples: {"input_ids": list of int (without padding: collating pads), "label": int (absent without
    labels), "index": int}.

    Args:
        frame: rows with `text`, and `label` where `classes` is given.
        tokenizer: a Hugging Face tokenizer.
        classes: the class names in the order of the model's outputs; None for texts without labels.
        max_length: longest sequence in tokens, the special ones included.

    Raises:
        InputError: a label is none of `classes`.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        tokenizer,
        classes: tuple[str, ...] | None = None,
        max_length: int = MAX_TOKENS,
    ):
        texts = frame["text"].tolist()
        self.input_ids = (
            tokenizer(texts, truncation=True, max_length=max_length)["input_ids"] if texts else []
        )
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

    Samples: {"image": what `transform` returns, usually float32 (3, H, W), "label": int (absent without
    labels), "index": int}.

    The random part of a transform depends on (seed, epoch, index) alone: an image gets the same crop in epoch
    3 whether it is loaded by the main process or by worker 7, before or after a resume.

    Args:
        frame: rows with `path` (a file) or `image` (uint8 array (H, W) or (H, W, 3)), and `label` where
            `classes` is given.
        transform: called with a PIL image in RGB.
        classes: as in `TextDataset`.
        seed: of the random part of `transform`.

    Raises:
        InputError: a label is none of `classes`.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        transform: Callable,
        classes: tuple[str, ...] | None = None,
        *,
        seed: int = 0,
    ):
        self.sources = frame["path" if "path" in frame else "image"].tolist()
        self.labels = None if classes is None else encode_labels(frame, classes)
        self.transform = transform
        self.seed = seed
        self.epoch = torch.zeros(
            (), dtype=torch.int64
        ).share_memory_()  # shared: persistent workers must see it change

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict:
        image = open_image(self.sources[index])
        with torch.random.fork_rng(
            devices=[]
        ):  # the model's dropout must not notice how many images were augmented
            torch.manual_seed(zlib.crc32(f"{self.seed}/{self.epoch.item()}/{index}".encode()))
            sample = {"image": self.transform(image), "index": index}
        return sample if self.labels is None else sample | {"label": int(self.labels[index])}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops and flips are drawn next; the training loop calls this."""
        self.epoch.fill_(epoch)


def max_tokens(tokenizer, wanted: int = MAX_TOKENS) -> int:
    """Tokens that a text may have: `wanted`, but never more than the tokenizer's own model can read."""
    return min(wanted, tokenizer.model_max_length)


class FeatureDataset(Dataset):
    """Features that were computed once, in place of the rows they were computed from.

    Samples: {"features": float32 (D,), "label": int, "index": int}, for `collate_features`.

    Args:
        features: float32 (N, D).
        labels: class indices (N,).
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        self.features, self.labels = torch.from_numpy(features), labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"features": self.features[index], "label": int(self.labels[index]), "index": index}


def open_image(source: str | Path | np.ndarray) -> Image.Image:
    """A file or a uint8 array as a PIL image in RGB, 8 bits a channel, upright; the file is closed again."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(source).convert("RGB")
    with Image.open(source) as image:
        return to_rgb(image)


def encode_labels(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Label words (N,) as class indices (N,) int64.

    Raises:
        InputError: a label is none of `classes`; the message names the first rows and counts them all.
    """
    indices = (
        frame["label"].map({name: i for i, name in enumerate(classes)}).fillna(-1).to_numpy(dtype=np.int64)
    )
    if (unknown := np.flatnonzero(indices < 0)).size:
        rows = ", ".join(f"{frame['label'].iloc[i]!r} (id {frame['id'].iloc[i]})" for i in unknown[:5])
        raise InputError(
            f"labels must be among {', '.join(classes)}, found {rows}; {unknown.size} rows in all: mend or "
            "remove them"
        )
    return indices


def to_rgb(image: Image.Image, *, background: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Any picture as upright RGB with 8 bits a channel.

    Args:
        image: in any mode; 16 bits are divided by 257 (65,535 becomes 255), where `convert("RGB")` would cut
            at 255.
        background: what shows through transparent pixels; `convert("RGB")` shows the hidden colour below
            them.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # "I;16", and "I" as some versions of Pillow read the same file
        image = Image.fromarray(
            (np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return image.convert("RGB")
