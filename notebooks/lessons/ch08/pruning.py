"""Make a trained network smaller: zero its smallest weights, or cut neurons and heads out (chapter 08).

Zeros keep every matrix at its size; only cutting makes a file smaller and a step faster. Embedding tables are
left alone: a row that is rare in your data is not unimportant.
"""

import zlib

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.utils import parametrize

from helpers.errors import InputError


def magnitude_masks(matrices: dict[str, torch.Tensor], sparsity: float) -> dict[str, torch.Tensor]:
    """Which weights to keep when the share `sparsity` with the smallest absolute values goes.

    The share is of the weights of all matrices together.

    Args:
        matrices: float, by name.
        sparsity: 0 <= sparsity < 1.

    Returns:
        A bool tensor of each matrix's shape, True = keep; exactly `round(sparsity x number of weights)` are
        False.

    Raises:
        InputError: `sparsity` is outside its range.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015).
    """
    if not 0 <= sparsity < 1:
        raise InputError(
            f"sparsity is the share of weights to remove, at least 0 and below 1, found {sparsity}"
        )
    sizes = torch.cat([matrix.detach().abs().flatten() for matrix in matrices.values()]).float().cpu().numpy()
    keep = torch.ones(len(sizes), dtype=torch.bool)
    number = round(sparsity * len(sizes))
    if number:  # by rank: a threshold could not split equal weights
        keep[np.argpartition(sizes, number - 1)[:number]] = False
    parts = keep.split([matrix.numel() for matrix in matrices.values()])
    return {name: part.view(matrix.shape) for (name, matrix), part in zip(matrices.items(), parts)}


def linear_weights(encoder: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of all linear layers inside `encoder`, by the layer's name; no embeddings, no norms."""
    return {name: module.weight for name, module in encoder.named_modules() if isinstance(module, nn.Linear)}


class Masked(nn.Module):
    """A parametrization: a weight times a fixed mask of zeros and ones, so that training cannot revive it."""

    def __init__(self, keep: torch.Tensor):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with zeros where `keep` is False."""
        return weight * self.keep


def prune_weights(model: nn.Module, sparsity: float) -> dict[str, torch.Tensor]:
    """Set the smallest weights of an encoder's layers to zero, in place; the head is left alone.

    Args:
        model: a text classifier of transformers with `base_model.encoder`.
        sparsity: see `magnitude_masks`; a share of the encoder's linear weights.

    Returns:
        The masks, by the name of the layer inside the encoder, for `hold_zeros`.
    """
    weights = linear_weights(model.base_model.encoder)
    masks = magnitude_masks(weights, sparsity)
    with torch.no_grad():
        for name, keep in masks.items():
            weights[name].mul_(keep)
    return masks


def hold_zeros(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Keep pruned weights at zero while the model goes on training; `release` makes it plain again."""
    encoder = model.base_model.encoder
    for name, keep in masks.items():
        parametrize.register_parametrization(encoder.get_submodule(name), "weight", Masked(keep))


def release(model: nn.Module) -> None:
    """Turn every masked weight into an ordinary one, zeros included."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def cut_neurons(model: nn.Module, share: float) -> None:
    """Remove the least important hidden neurons of every feed-forward part, in place.

    Both matrices become smaller.

    A neuron's importance is the product of the norms of its incoming and its outgoing weights: one that is
    near zero on either side says little. Each layer loses the same number, so the model can be saved and
    loaded with its configuration.

    Args:
        model: a BERT classifier of transformers.
        share: share of the neurons to remove, at least 0 and below 1.

    Raises:
        InputError: `share` is outside its range.
    """
    layers = model.base_model.encoder.layer
    kept = _number_kept(layers[0].intermediate.dense.out_features, share)
    for layer in layers:
        inner, outer = layer.intermediate.dense, layer.output.dense
        importance = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)  # (neurons,)
        rows = importance.topk(kept).indices.sort().values
        layer.intermediate.dense, layer.output.dense = _only_rows(inner, rows), _only_columns(outer, rows)
    model.config.intermediate_size = kept


def cut_heads(model: nn.Module, share: float) -> None:
    """Remove the attention heads with the smallest output weights from every layer, in place.

    The configuration cannot say so (it derives the heads' width from their number): such a model can be used
    and exported, but not saved and loaded by its configuration.

    Args:
        model: a BERT classifier of transformers.
        share: share of the heads to remove, at least 0 and below 1.

    Raises:
        InputError: `share` is outside its range.
    """
    for layer in model.base_model.encoder.layer:
        attention, outer = layer.attention.self, layer.attention.output.dense
        heads, width = attention.num_attention_heads, attention.attention_head_size
        values = attention.value.weight.view(heads, -1).norm(dim=1)
        importance = values * outer.weight.view(-1, heads, width).norm(dim=(0, 2))  # (heads,)
        chosen = importance.topk(_number_kept(heads, share)).indices.sort().values
        rows = (chosen[:, None] * width + torch.arange(width)).flatten()  # all rows of the heads that stay
        for name in ("query", "key", "value"):
            setattr(attention, name, _only_rows(getattr(attention, name), rows))
        layer.attention.output.dense = _only_columns(outer, rows)
        attention.num_attention_heads, attention.all_head_size = len(chosen), len(rows)


def _number_kept(number: int, share: float) -> int:
    if not 0 <= share < 1:
        raise InputError(f"the share to cut must be at least 0 and below 1, found {share}")
    return max(1, number - round(share * number))


def _only_rows(layer: nn.Linear, rows: torch.Tensor) -> nn.Linear:
    return _linear(layer.weight[rows], layer.bias[rows])


def _only_columns(layer: nn.Linear, columns: torch.Tensor) -> nn.Linear:
    return _linear(layer.weight[:, columns], layer.bias)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return layer


def stored_bytes(model: nn.Module, *, compressed: bool = False) -> int:
    """Size of the weights as a safetensors file, or of that file compressed (zlib, level 6), in bytes."""
    content = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    return len(zlib.compress(content, level=6)) if compressed else len(content)
