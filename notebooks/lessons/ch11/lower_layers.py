"""Compute what the frozen lower layers make of a row once, and keep it: the short trainings of chapter 11."""

import copy

import torch
from torch import nn


class LowerLayersOnce(nn.Module):
    """A decoder (`LlamaModel`) whose first layers are frozen; what they make of a row is computed once.

    Rows are known by their tokens, so the same row in another batch, or with other padding on the right, is
    found again. Sound as long as nothing below `first` is trained, and because the model is causal: what
    stands on the right of a token never changes it.

    Args:
        decoder: its layers are shared, not copied: an adapter that hangs on them later counts.
        first: number of the first layer that may be trained.
    """

    def __init__(self, decoder, first: int):
        super().__init__()
        self.lower, self.upper = copy.copy(decoder), copy.copy(decoder)
        for half, layers in ((self.lower, decoder.layers[:first]), (self.upper, decoder.layers[first:])):
            half._modules = dict(decoder._modules) | {"layers": layers}
        self.lower._modules["norm"] = nn.Identity()  # it belongs behind the last layer
        self.kept: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, input_ids, attention_mask):
        """Last hidden states (N, L, hidden) of rows (N, L) that are padded on the right."""
        lengths = attention_mask.sum(1).tolist()
        keys = [tuple(row[:length]) for row, length in zip(input_ids.tolist(), lengths)]
        new = [place for place, key in enumerate(keys) if key not in self.kept]
        if new:
            with torch.no_grad():
                hidden = self.lower(
                    input_ids[new], attention_mask=attention_mask[new], use_cache=False
                ).last_hidden_state
            for place, row in zip(new, hidden):
                self.kept[keys[place]] = row[: lengths[place]].clone()
        rows = [self.kept[key] for key in keys]
        hidden = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (N, L, hidden)
        hidden = nn.functional.pad(hidden, (0, 0, 0, input_ids.shape[1] - hidden.shape[1]))
        return self.upper(inputs_embeds=hidden, attention_mask=attention_mask, use_cache=False)
