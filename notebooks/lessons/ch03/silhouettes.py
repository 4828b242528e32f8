"""The animals of chapter 03, small enough to lie ready in memory."""

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from helpers.data.datasets import encode_labels
from helpers.data.sources import ANIMALS


class Silhouettes(Dataset):
    """Silhouettes as tensors that lie ready in memory, which is faster than `ImageDataset` for images this
    small.

    Samples: {"image": float32 (1, 28, 28) in 0..1, "label": int, "index": int}, for `collate_images`.

    Args:
        frame: rows of `sources.animals()`.
    """

    def __init__(self, frame: pd.DataFrame):
        self.images = torch.from_numpy(np.stack(frame["image"]))[:, None].float() / 255  # (N, 1, 28, 28)
        self.labels = encode_labels(frame, ANIMALS)  # int64 (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"image": self.images[index], "label": int(self.labels[index]), "index": index}
