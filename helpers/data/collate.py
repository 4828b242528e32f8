"""Samples into batches: pad texts to the longest of the batch, stack images (chapter 02), mix images (chapter
04).
"""

import zlib
from collections.abc import Callable

import torch
from torchvision.transforms import v2


class PadCollate:
    """Collate text samples: pad to the longest text of the batch, and say with a mask what is padding.

    A class, not a closure, because workers receive a pickled copy of it.

    Args:
        pad_token_id: the id that fills the short rows.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """Samples of a `TextDataset` as `input_ids` and `attention_mask` int64 (B, L), `labels` and `indices`
        int64 (B,).
        """
        length = max(len(sample["input_ids"]) for sample in samples)
        input_ids = torch.full((len(samples), length), self.pad_token_id)  # (B, L)
        attention_mask = torch.zeros((len(samples), length), dtype=torch.int64)  # (B, L): 1 = a real token
        for row, sample in enumerate(samples):
            input_ids[row, : len(sample["input_ids"])] = torch.tensor(sample["input_ids"])
            attention_mask[row, : len(sample["input_ids"])] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask, **_labels_and_indices(samples)}


def collate_images(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Samples of an `ImageDataset` as `images` float32 (B, 3, H, W) with channels innermost in memory,
    `labels` and `indices` int64 (B,).
    """
    images = torch.stack([sample["image"] for sample in samples]).contiguous(
        memory_format=torch.channels_last
    )
    return {"images": images, **_labels_and_indices(samples)}


def collate_features(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Samples of a `FeatureDataset` as `features` float32 (B, D), `labels` and `indices` int64 (B,)."""
    return {
        "features": torch.stack([sample["features"] for sample in samples]),
        **_labels_and_indices(samples),
    }


class MixupCollate:
    """Collate images, then blend each with another one of the batch: t x + (1 - t) x', and the labels in the
    same shares.

    The blend depends on the seed and the rows of the batch alone, so a resumed run draws what an unbroken one
    draws.

    Args:
        collate: makes `images` and `labels` of samples, e.g. `collate_images`.
        num_classes: C.
        alpha: t is drawn from Beta(alpha, alpha); the larger, the more often it is near one half.
        seed: of the draws.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2017).
    """

    def __init__(self, collate: Callable, num_classes: int, *, alpha: float = 0.2, seed: int = 0):
        self.collate, self.seed = collate, seed
        self.mixup = v2.MixUp(alpha=alpha, num_classes=num_classes)

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """The batch of `collate` with blended `images`, and `targets` float32 (B, C) beside its `labels`."""
        batch = self.collate(samples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{self.seed}/{batch['indices'].tolist()}".encode()))
            images, targets = self.mixup(batch["images"], batch["labels"])
        return batch | {"images": images, "targets": targets}


def _labels_and_indices(samples: list[dict]) -> dict[str, torch.Tensor]:
    batch = {"indices": torch.tensor([sample["index"] for sample in samples])}
    if "label" in samples[0]:
        batch["labels"] = torch.tensor([sample["label"] for sample in samples])
    return batch
