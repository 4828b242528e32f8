"""How chapter 09 writes with its decoder: the loop with a cache, and what cuts the tail of a distribution."""

import torch

from lessons.ch09.decoder import KVCache


@torch.inference_mode()
def write(model, ids, new_tokens, choose, *, stop=None, positions=None, cached=True):
    """Continue each text of ids (B, L) by `new_tokens` tokens, or until each has written `stop`.

    Args:
        choose: logits (B, V) and the tokens written so far (B, T) to the next tokens (B,).
        positions: int64 (B, L) where padding stands on the left; else 0, 1, 2, ...
        cached: False reads the whole text again for each token.

    Returns:
        The new tokens (B, T); what stands behind a stop token is to be thrown away.
    """
    if positions is None:
        positions = torch.arange(ids.shape[1]).expand_as(ids)  # (B, L)
    cache, written = (KVCache() if cached else None), ids[:, :0]
    for _ in range(new_tokens):
        last = model.hidden(ids, positions, cache)[:, -1]  # (B, D)
        token = choose(model.logits(last), written)[:, None]  # (B, 1)
        written = torch.cat([written, token], dim=1)
        if stop is not None and (written == stop).any(1).all():
            break
        following = positions[:, -1:] + 1
        ids = token if cached else torch.cat([ids, token], dim=1)
        positions = following if cached else torch.cat([positions, following], dim=1)
    return written  # (B, new tokens); what stands behind a stop token is to be thrown away


def keep_top_k(logits, k):
    """Logits (..., V) with all but the `k` largest at minus infinity."""
    lowest = logits.topk(k).values[..., -1:]
    return logits.masked_fill(logits < lowest, -torch.inf)


def keep_top_p(logits, p):
    """Logits (..., V) with all at minus infinity but the likeliest that together reach probability `p`."""
    values, order = logits.softmax(-1).sort(descending=True)
    before = values.cumsum(-1) - values  # what the likelier ones have together: 0 for the first
    out = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(out, -torch.inf)
