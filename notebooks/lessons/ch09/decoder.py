"""The decoder that chapter 09 writes in its cells, so that its exercises, widgets and tests can use it.

Its modules have the names of the weights in the file of SmolLM2, so that `load_state_dict` finds each.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a Llama-style decoder; the defaults are those of SmolLM2-135M."""

    vocab_size: int = 49152
    hidden: int = 576
    layers: int = 30
    heads: int = 9
    key_value_heads: int = 3
    intermediate: int = 1536
    theta: float = 100_000.0
    eps: float = 1e-5


class RMSNorm(nn.Module):
    """Divides each vector by the root of its mean square, then scales each channel."""

    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):  # (B, L, D) -> (B, L, D)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotation(positions, size, theta):
    """Cosines and sines, each (B, 1, L, size / 2), of the angles by which RoPE turns pairs of channels."""
    speeds = theta ** -(torch.arange(0, size, 2, device=positions.device) / size)  # (d / 2,)
    angles = positions[:, None, :, None] * speeds  # (B, 1, L, d / 2)
    return angles.cos(), angles.sin()


def rotate(x, turn):
    """Turn each pair of channels of x (B, heads, L, d) by the angle of its position."""
    cos, sin = turn
    first, second = x.chunk(2, dim=-1)  # (B, heads, L, d / 2) each
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def document_mask(positions, queries):
    """positions (B, S) -> bool (B, 1, queries, S): each of the last places sees its own document's past."""
    documents = (positions == 0).cumsum(1)  # (B, S): position 0 begins a document
    same = documents[:, -queries:, None] == documents[:, None, :]  # (B, queries, S)
    past = torch.ones_like(same).tril(positions.shape[1] - queries)
    return (same & past)[:, None]


def attention_weights(queries, keys, mask):
    """(B, H, L, d), (B, H, S, d), bool (B, 1, L, S) -> (B, H, L, S); each row sums to 1."""
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)


class Attention(nn.Module):
    """Grouped-query attention: several query heads share the keys and values of one head."""

    def __init__(self, config, layer):
        super().__init__()
        self.layer, self.size = layer, config.hidden // config.heads
        self.group = config.heads // config.key_value_heads  # query heads per key/value head
        inner = config.key_value_heads * self.size
        self.q_proj = nn.Linear(config.hidden, config.hidden, bias=False)
        self.k_proj = nn.Linear(config.hidden, inner, bias=False)
        self.v_proj = nn.Linear(config.hidden, inner, bias=False)
        self.o_proj = nn.Linear(config.hidden, config.hidden, bias=False)

    def project(self, x, turn):
        split = lambda t: t.unflatten(-1, (-1, self.size)).transpose(1, 2)  # (B, L, n d) -> (B, n, L, d)
        queries, keys, values = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        return rotate(queries, turn), rotate(keys, turn), values

    def forward(self, x, turn, mask, cache=None):
        queries, keys, values = self.project(x, turn)  # (B, H, L, d), (B, H_kv, L, d) twice
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)  # (B, H_kv, S, d): the past, too
        keys, values = (t.repeat_interleave(self.group, dim=1) for t in (keys, values))  # (B, H, S, d)
        mixed = attention_weights(queries, keys, mask) @ values  # (B, H, L, d)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))  # (B, L, D)


class SwiGLU(nn.Module):
    """The feed-forward part: one projection opens or closes what another one says."""

    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.down_proj = nn.Linear(config.intermediate, config.hidden, bias=False)

    def forward(self, x):  # (B, L, D) -> (B, L, D)
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy and adds its answer to the stream."""

    def __init__(self, config, layer):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.eps)
        self.mlp = SwiGLU(config)

    def forward(self, x, turn, mask, cache=None):  # (B, L, D) -> (B, L, D)
        x = x + self.self_attn(self.input_layernorm(x), turn, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Token ids (B, L) to logits (B, L, V); the output layer is the table of embeddings (tied weights)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.eps)

    def hidden(self, ids, positions=None, cache=None):
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)  # (B, L)
        seen = positions if cache is None else cache.see(positions)  # (B, S): those in the cache, too
        turn = rotation(positions, self.config.hidden // self.config.heads, self.config.theta)
        mask = document_mask(seen, ids.shape[1])
        x = self.embed_tokens(ids)  # (B, L, D)
        for layer in self.layers:
            x = layer(x, turn, mask, cache)
        return self.norm(x)

    def logits(self, hidden):  # (..., D) -> (..., V)
        return hidden @ self.embed_tokens.weight.T

    def forward(self, ids, positions=None, cache=None):
        return self.logits(self.hidden(ids, positions, cache))


class KVCache:
    """Keys and values (B, H_kv, S, d) of every layer, for the tokens that the model has read."""

    def __init__(self):
        self.positions, self.keys, self.values = None, {}, {}

    def see(self, positions):
        if self.positions is not None:
            positions = torch.cat([self.positions, positions], dim=1)
        self.positions = positions
        return positions  # (B, S)

    def append(self, layer, keys, values):
        if layer in self.keys:
            keys = torch.cat([self.keys[layer], keys], dim=2)
            values = torch.cat([self.values[layer], values], dim=2)
        self.keys[layer], self.values[layer] = keys, values
        return keys, values
