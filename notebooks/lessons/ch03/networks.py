"""Three small networks without pretrained weights: CNN, LSTM or GRU, Transformer encoder.

Chapter 03 writes each of them by hand.

Images: `model(images)` with images float32 (B, C, H, W). Texts: `model(input_ids=..., attention_mask=...)`,
both int64 (B, L). All return logits (B, num_classes), as `models.forward.forward` expects.
"""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers.errors import InputError

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


def conv_block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU, pooling: (B, channels_in, H, W) -> (B, channels_out, H/2, W/2)."""
    return nn.Sequential(
        # BatchNorm has a bias of its own.
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class CNN(nn.Module):
    """Blocks of convolution and pooling, then one fully connected layer.

    Args:
        num_classes: C of the logits (B, C).
        channels: channels of the images; 1 = grey, 3 = RGB.
        width: channels after the first block; each further block doubles them.
        depth: number of blocks; each halves height and width, which must be at least 4 * 2**depth pixels.
        dropout: share of the head's inputs that is zeroed in training.
    """

    def __init__(
        self, num_classes: int, *, channels: int = 1, width: int = 16, depth: int = 2, dropout: float = 0.2
    ):
        super().__init__()
        sizes = [channels] + [width * 2**block for block in range(depth)]
        self.blocks = nn.Sequential(*(conv_block(size_in, size_out) for size_in, size_out in pairwise(sizes)))
        self.pool = nn.AdaptiveAvgPool2d(4)  # any height and width -> 4 x 4
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sizes[-1] * 4 * 4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, channels, H, W) float32 -> logits (B, num_classes)."""
        features = self.pool(self.blocks(images))  # (B, channels_out, 4, 4)
        return self.head(self.dropout(features.flatten(1)))  # (B, channels_out * 16) -> (B, num_classes)


def small_embedding(count: int, width: int) -> nn.Embedding:
    """A table of `count` vectors that start small.

    With PyTorch's standard deviation of 1, the noise outlives a short training.
    """
    table = nn.Embedding(count, width)  # (count, D)
    nn.init.normal_(table.weight, std=0.1)
    return table


class RecurrentClassifier(nn.Module):
    """A text read token by token in both directions; the states at the real tokens are averaged.

    Args:
        vocab_size: number of token ids.
        num_classes: C of the logits (B, C).
        width: D, numbers per token and per state of one direction.
        cell: "lstm" or "gru".
        dropout: share of the inputs of the cell and of the head that is zeroed in training.

    Raises:
        InputError: another cell.

    Source: Hochreiter and Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU).
    """

    def __init__(
        self, vocab_size: int, num_classes: int, *, width: int = 64, cell: str = "lstm", dropout: float = 0.3
    ):
        super().__init__()
        if cell not in CELLS:
            raise InputError(f"the cell must be one of {', '.join(CELLS)}, found {cell!r}")
        self.embedding = small_embedding(vocab_size, width)
        self.recurrent = CELLS[cell](width, width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask (B, L) int64 -> logits (B, num_classes); padding at the end changes nothing."""
        lengths = attention_mask.sum(1)  # (B,)
        embedded = self.dropout(self.embedding(input_ids))  # (B, L, D)
        # Packed, a text has no padding; padded again, the states (B, L, 2D) are 0 there.
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return self.head(self.dropout(states.sum(1) / lengths[:, None]))  # (B, 2D) -> (B, num_classes)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention: each token takes a weighted mean of the values of all real tokens.

    Args:
        query, key, value: float (B, H, L, E), H heads of E numbers.
        attention_mask: int64 (B, L), 1 = a real token.

    Returns:
        The means (B, H, L, E) and the weights (B, H, L, L), whose rows add up to 1.

    Source: Vaswani et al., "Attention is all you need", 2017.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (B, H, L, L)
    scores = scores.masked_fill(attention_mask[:, None, None, :] == 0, -math.inf)  # nobody looks at padding
    weights = scores.softmax(-1)
    return weights @ value, weights


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself: (B, L, D) -> (B, L, D).

    Args:
        width: D, a multiple of `heads`.
        heads: H, how many weighted means each token takes side by side.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_query_key_value = nn.Linear(width, 3 * width)
        self.to_output = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, D) and mask (B, L) -> tokens (B, L, D)."""
        parts = self.to_query_key_value(tokens).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, H, E)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, H, L, E)
        means, _ = attend(query, key, value, attention_mask)  # (B, H, L, E)
        return self.to_output(means.transpose(1, 2).flatten(2))  # (B, L, D)


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward network for each token alone; each is added to what came in (pre-norm).

    Args:
        width, heads: as in `SelfAttention`.
        dropout: share of each part's output that is zeroed in training.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, L, D) and mask (B, L) -> tokens (B, L, D)."""
        tokens = tokens + self.dropout(self.attention(self.norm_1(tokens), attention_mask))
        return tokens + self.dropout(self.feed_forward(self.norm_2(tokens)))


class TransformerClassifier(nn.Module):
    """Token and position embeddings, blocks, and the mean over the real tokens.

    Args:
        vocab_size: number of token ids.
        num_classes: C of the logits (B, C).
        width: D, numbers per token.
        heads, depth: attention heads per block, number of blocks.
        dropout: share zeroed in training, after the embeddings and in the blocks.
        max_length: longest text in tokens; each position has a vector of its own.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        *,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        dropout: float = 0.1,
        max_length: int = 128,
    ):
        super().__init__()
        self.embedding = small_embedding(vocab_size, width)
        self.positions = small_embedding(max_length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask (B, L) int64, L at most max_length -> logits (B, num_classes)."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)  # (L,)
        tokens = self.dropout(self.embedding(input_ids) + self.positions(places))  # (B, L, D)
        for block in self.blocks:
            tokens = block(tokens, attention_mask)
        mask = attention_mask[:, :, None]  # (B, L, 1)
        return self.head((self.norm(tokens) * mask).sum(1) / mask.sum(1))  # (B, D) -> (B, num_classes)
