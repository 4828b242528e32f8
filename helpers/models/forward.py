"""The call of a model, whatever it takes: pixels, features, or token ids (chapter 03)."""

import re
import sys

import torch
from torch import nn

# Tables of learned positions, as models of transformers call them.
PLACES = re.compile(r"(position_embeddings?|positions_embed|embed_positions|pos_embed\w*|\.wpe)$")


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (B, C) of a model; of a language model (B, L, V), as it scores V words at every position."""
    for name in ("images", "features"):
        if name in batch:
            return model(batch[name])
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return getattr(output, "logits", output)  # models of transformers wrap their logits, ours do not


def writes(model: nn.Module) -> bool:
    """Whether it is a language model, whose last layer scores every word at every position."""
    return hasattr(model, "can_generate") and model.can_generate()


def max_positions(model: nn.Module) -> int:
    """Tokens that a model of transformers can read; without an end where it learns no vector for each place.

    Models like RoBERTa count their places from the number of the padding token plus one, others from 2.
    """
    config, limits = getattr(model, "config", None), [sys.maxsize]
    for name, module in model.named_modules():
        table = getattr(module, "weight", None)
        if PLACES.search(name) and isinstance(table, torch.Tensor) and table.ndim == 2:
            padding = getattr(module, "padding_idx", None)
            limits.append(len(table) - (getattr(module, "offset", 0) if padding is None else padding + 1))
            limits.append(getattr(config, "max_position_embeddings", None) or sys.maxsize)
    return min(limits)
