"""Samples into batches: pad texts, stack images (chapter 02)."""

import math

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence


class PadCollate:
    """Collate text samples: pad to the longest text of the batch, and say with a mask what is padding.

    A class, not a closure, because workers receive a pickled copy of it.

    Example: `PadCollate(0)([{"input_ids": [5, 6], "index": 0}, {"input_ids": [7], "index": 1}])` has the
    `input_ids` [[5, 6], [7, 0]] and the `attention_mask` [[1, 1], [1, 0]].

    Args:
        pad_token_id: what fills the short rows.
        pad_to_multiple_of: L is rounded up to a multiple of it. A compiled model then meets few different
            lengths; multiples of 8 suit the tensor cores of a GPU.
    """

    def __init__(self, pad_token_id: int, pad_to_multiple_of: int = 1):
        self.pad_token_id, self.pad_to_multiple_of = pad_token_id, pad_to_multiple_of

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` int64 (B, L), `labels` and `indices` int64 (B,)."""
        rows = [torch.tensor(sample["input_ids"], dtype=torch.int64) for sample in samples]
        input_ids = self._pad(rows, self.pad_token_id)
        attention_mask = self._pad([torch.ones_like(row) for row in rows], 0)  # 1 = a real token
        return {"input_ids": input_ids, "attention_mask": attention_mask, **_labels_and_indices(samples)}

    def _pad(self, rows: list[torch.Tensor], value: int) -> torch.Tensor:
        padded = pad_sequence(rows, batch_first=True, padding_value=value)  # (B, longest text)
        length = math.ceil(padded.shape[1] / self.pad_to_multiple_of) * self.pad_to_multiple_of
        return F.pad(padded, (0, length - padded.shape[1]), value=value)  # (B, L)


def collate_images(samples: list[dict]) -> dict[str, torch.Tensor]:
    """`images` float32 (B, 3, H, W), channels innermost in memory; `labels` and `indices` int64 (B,)."""
    images = torch.stack([sample["image"] for sample in samples])
    return {"images": images.contiguous(memory_format=torch.channels_last), **_labels_and_indices(samples)}


def collate_features(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Samples of a `FeatureDataset` as `features` float32 (B, D), `labels` and `indices` int64 (B,)."""
    features = torch.stack([sample["features"] for sample in samples])
    return {"features": features, **_labels_and_indices(samples)}


def _labels_and_indices(samples: list[dict]) -> dict[str, torch.Tensor]:
    batch = {"indices": torch.tensor([sample["index"] for sample in samples])}
    if "label" in samples[0]:
        batch["labels"] = torch.tensor([sample["label"] for sample in samples])
    return batch
