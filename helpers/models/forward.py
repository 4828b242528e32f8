"""The call of a model, whatever it takes: pixels, features, or token ids (chapter 03)."""

import torch
from torch import nn


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The model's logits: of `model(images)`, `model(features)` or `model(input_ids=...,
    attention_mask=...)`.

    They have the shape (B, C), or (B, L, V) where a language model gives every position V scores.
    """
    for name in ("images", "features"):
        if name in batch:
            return model(batch[name])
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return getattr(
        output, "logits", output
    )  # models of transformers wrap their logits, our own return them bare
