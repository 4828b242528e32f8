"""An encoder that is summarised the way it was trained, and how its weights are told to move (chapter 04).

The chapter writes each of these in a cell; `helpers.models.pooling`, `helpers.tuning.optimization` hold the
same for every model.
"""

import math

import torch
from torch import nn


def masked_mean(hidden, attention_mask):
    """Mean over the real tokens: (B, L, H) and (B, L) -> (B, H)."""
    mask = attention_mask[..., None]
    return (hidden * mask).sum(1) / mask.sum(1)


class MeanPooled(nn.Module):
    """A text encoder with dropout and one linear layer on the masked mean of its last hidden states."""

    def __init__(self, encoder, num_classes, dropout=0.1):
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, num_classes)

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(input_ids, attention_mask).last_hidden_state  # (B, L, H)
        return self.head(self.dropout(masked_mean(hidden, attention_mask)))  # (B, C)


def layerwise_groups(layers, rate, layer_decay, weight_decay=0.01):
    """Groups for an optimizer, of layers from the head down: each layer `layer_decay` times the rate above
    it; matrices are decayed, vectors (biases and norms) are not.
    """
    groups = []
    for depth, layer in enumerate(layers):
        for is_matrix, decay in ((True, weight_decay), (False, 0.0)):
            chosen = [p for p in layer.parameters() if (p.ndim > 1) == is_matrix]
            groups.append({"params": chosen, "lr": rate * layer_decay**depth, "weight_decay": decay})
    return groups


def warmup_then_line(num_steps, warmup_share=0.1):
    """The factor of the rate at each step: a straight line up to 1, then a straight line down to 0."""
    warmup = round(warmup_share * num_steps)

    def factor(step):
        if step < warmup:
            return step / warmup
        return 1 - (step - warmup) / (num_steps - warmup)

    return factor


def rising(lowest, highest, num_steps):
    """The factor of the highest rate at each step of a range test."""
    return lambda step: math.exp(math.log(lowest / highest) * (1 - step / (num_steps - 1)))


@torch.no_grad()
def text_logits(model, texts, tokenizer, device, batch_size=64):
    """Logits (N, C) of a list of texts, in its order."""
    order, parts = sorted(range(len(texts)), key=lambda i: len(texts[i])), []
    for start in range(0, len(texts), batch_size):
        chosen = [texts[i] for i in order[start : start + batch_size]]
        batch = tokenizer(chosen, truncation=True, max_length=128, padding=True, return_tensors="pt")
        parts.append(model(batch["input_ids"].to(device), batch["attention_mask"].to(device)).cpu())
    return torch.cat(parts)[torch.tensor(order).argsort()]
