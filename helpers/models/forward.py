"""The call of a model, whatever it takes: pixels, features, or token ids (chapter 03)."""

import torch
from torch import nn


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (B, C) of a model; of a language model (B, L, V), as it scores V words at every position."""
    for name in ("images", "features"):
        if name in batch:
            return model(batch[name])
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return getattr(output, "logits", output)  # models of transformers wrap their logits, ours do not
