"""Attention explorer (chapter 09): where one head of one layer looks while the model reads a text."""

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch09.decoder import attention_weights
from lessons.controls import explorer, wide

MOST_TOKENS = 24  # more could not be read in the picture


def head_weights(model, ids: list[int], layer: int) -> np.ndarray:
    """Attention (H, L, L) of a layer of `decoder.Decoder`: row = the token that looks; rows sum to 1."""
    attention, seen = model.layers[layer].self_attn, {}

    def keep(_, inputs):
        x, turn, mask = inputs[:3]
        queries, keys, _ = attention.project(x, turn)
        seen["weights"] = attention_weights(queries, keys.repeat_interleave(attention.group, dim=1), mask)

    handle = attention.register_forward_pre_hook(keep)
    try:
        with torch.inference_mode():
            model.hidden(torch.tensor([ids]))
    finally:
        handle.remove()
    return seen["weights"][0].numpy()


def sentence(tokens: list[str], weights: np.ndarray, layer: int, head: int) -> str:
    """Weights (L, L) of a head in words."""
    if len(tokens) < 2:
        return "Type a text: there is nothing to look at yet."
    first = weights[1:, 0].mean()
    before = np.diagonal(weights, -1).mean()
    own = np.diagonal(weights)[1:].mean()
    target = int(weights[-1].argmax())
    return (
        f"Layer {layer}, head {head}: a token gives on average {first:.0%} of its attention to the first "
        f"sign, {before:.0%} to the token just before it and {own:.0%} to itself; the last token, "
        f"{tokens[-1]!r}, looks most at {tokens[target]!r} ({weights[-1, target]:.0%})."
    )


def picture(tokens: list[str], weights: np.ndarray, title: str) -> Figure:
    """Weights (L, L) as a table of shades."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    ax = figure.subplots()
    shown = ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    names = [plots.printable(token) for token in tokens]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
    ax.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    ax.set(xlabel="looks at", ylabel="the token that looks", title=title)
    figure.colorbar(shown, ax=ax, label="attention", shrink=0.7)
    return figure


def attention_explorer(model, tokenizer, sign: int, text: str, *, layer: int = 0, head: int = 0):
    """A text field, a layer and a head, with picture and sentence below."""

    def draw(text, layer, head):
        ids = [sign, *tokenizer(text, add_special_tokens=False)["input_ids"][: MOST_TOKENS - 1]]
        tokens = [tokenizer.decode([number]) for number in ids]
        weights = head_weights(model, ids, layer)[head]
        title = f"layer {layer}, head {head}"
        return picture(tokens, weights, title), sentence(tokens, weights, layer, head)

    slider = wide() | {"continuous_update": False}
    layers, heads = len(model.layers), model.config.heads
    controls = {
        "text": widgets.Text(value=text, description="text", continuous_update=False, **wide()),
        "layer": widgets.IntSlider(value=layer, min=0, max=layers - 1, description="layer", **slider),
        "head": widgets.IntSlider(value=head, min=0, max=heads - 1, description="head", **slider),
    }
    return explorer(controls, draw)
