"""Samples into batches: pad texts to the longest of the batch, stack images (chapter 02)."""

import torch


class PadCollate:
    """Collate text samples: pad to the longest text of the batch, and say with a mask what is padding.

    A class, not a closure, because workers receive a pickled copy of it.

    Args:
        pad_token_id: the id that fills the short rows.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """Samples of a `TextDataset` as `input_ids` and `attention_mask` int64 (B, L), `labels` and `indices` int64 (B,)."""
        length = max(len(sample["input_ids"]) for sample in samples)
        input_ids = torch.full((len(samples), length), self.pad_token_id)  # (B, L)
        attention_mask = torch.zeros((len(samples), length), dtype=torch.int64)  # (B, L): 1 = a real token
        for row, sample in enumerate(samples):
            input_ids[row, : len(sample["input_ids"])] = torch.tensor(sample["input_ids"])
            attention_mask[row, : len(sample["input_ids"])] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask, **_labels_and_indices(samples)}


def collate_images(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Samples of an `ImageDataset` as `images` float32 (B, 3, H, W) with channels innermost in memory, `labels` and `indices` int64 (B,)."""
    images = torch.stack([sample["image"] for sample in samples]).contiguous(memory_format=torch.channels_last)
    return {"images": images, **_labels_and_indices(samples)}


def _labels_and_indices(samples: list[dict]) -> dict[str, torch.Tensor]:
    batch = {"indices": torch.tensor([sample["index"] for sample in samples])}
    if "label" in samples[0]:
        batch["labels"] = torch.tensor([sample["label"] for sample in samples])
    return batch
