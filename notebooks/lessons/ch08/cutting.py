"""Make a trained BERT classifier really smaller: cut neurons, heads or whole layers out (chapter 08).

Embedding tables are left alone: a row that is rare in your data is not unimportant.
"""

from collections.abc import Sequence

import torch
from safetensors.torch import save
from torch import nn

from helpers.errors import InputError


def cut_neurons(model: nn.Module, share: float) -> None:
    """Remove the least important hidden neurons of every feed-forward part, in place.

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
        keep_neurons(layer, kept)
    model.config.intermediate_size = kept


def keep_neurons(layer, number):
    """Both matrices of a layer's feed-forward part with the `number` most important neurons alone."""
    inner, outer = layer.intermediate.dense, layer.output.dense
    importance = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)  # (neurons,)
    kept = importance.topk(number).indices.sort().values
    layer.intermediate.dense = smaller_linear(inner.weight[kept], inner.bias[kept])
    layer.output.dense = smaller_linear(outer.weight[:, kept], outer.bias)


def smaller_linear(weight, bias):
    """A layer with these weights (out, in) and biases (out,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return layer


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
            whole = getattr(attention, name)
            setattr(attention, name, smaller_linear(whole.weight[rows], whole.bias[rows]))
        layer.attention.output.dense = smaller_linear(outer.weight[:, rows], outer.bias)
        attention.num_attention_heads, attention.all_head_size = len(chosen), len(rows)


def cut_layers(model: nn.Module, kept: Sequence[int]) -> None:
    """Keep the layers `kept` of the encoder (counted from 0), in this order, in place.

    Raises:
        InputError: no layer is kept, or one that the encoder does not have.
    """
    encoder = model.base_model.encoder
    if not kept or not set(kept) <= set(range(len(encoder.layer))):
        found = f"the encoder has layers 0 to {len(encoder.layer) - 1}, found {list(kept)}"
        raise InputError(f"{found}; name at least one of them")
    encoder.layer = nn.ModuleList(encoder.layer[number] for number in kept)
    model.config.num_hidden_layers = len(kept)


def _number_kept(number: int, share: float) -> int:
    if not 0 <= share < 1:
        raise InputError(f"the share to cut must be at least 0 and below 1, found {share}")
    return max(1, number - round(share * number))


def stored_bytes(model: nn.Module) -> int:
    """Size of the weights as a safetensors file, in bytes."""
    return len(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
