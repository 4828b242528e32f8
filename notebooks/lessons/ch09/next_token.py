"""Next-token explorer (chapter 09): the ten likeliest tokens behind a text, under temperature and top-p."""

from dataclasses import dataclass

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch09.writing import keep_top_p
from lessons.controls import explorer, wide

SHOWN = 10
MOST_TOKENS = 200  # of a typed text: its end, so that an answer takes a second


@dataclass(frozen=True)
class Choice:
    """A token, its probability as the model gives it, and its chance to be drawn."""

    token: str
    probability: float
    chance: float


def likeliest(model, tokenizer, sign: int, text: str, *, temperature: float, top_p: float) -> list[Choice]:
    """The ten likeliest tokens behind `text`, the likeliest first.

    Args:
        model: token ids (1, L) to `hidden` (1, L, D) and its `logits`, as `decoder.Decoder`.
        sign: id of the sign before a text.
        temperature: divides the logits; above 0.
        top_p: the likeliest tokens that reach this probability together can be drawn, no others.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][-MOST_TOKENS:]
    with torch.inference_mode():
        logits = model.logits(model.hidden(torch.tensor([[sign, *ids]]))[0, -1])  # (V,)
    plain = logits.softmax(-1)
    chances, order = keep_top_p(logits / temperature, top_p).softmax(-1).sort(descending=True)
    return [
        Choice(tokenizer.decode([token]), plain[token].item(), chance)
        for token, chance in zip(order[:SHOWN].tolist(), chances[:SHOWN].tolist())
    ]


def sentence(text: str, choices: list[Choice]) -> str:
    """What the picture shows, for whoever does not see it."""
    drawn = [choice for choice in choices if choice.chance > 0]
    names = ", ".join(f"{choice.token!r} {choice.chance:.0%}" for choice in drawn)
    number = f"{len(drawn)} of these ten" if len(drawn) < SHOWN else "all of these ten, and maybe more,"
    return f"After {text[-60:]!r}, {number} can be drawn: {names}."


def picture(choices: list[Choice]) -> Figure:
    """Two bars for each token: grey as the model has it, blue its chance after temperature and top-p."""
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    ax = figure.subplots()
    places = range(len(choices))
    ax.barh([p - 0.2 for p in places], [c.chance for c in choices], 0.4, color=plots.BLUE, label="chance now")
    ax.barh(
        [p + 0.2 for p in places], [c.probability for c in choices], 0.4, color=plots.GREY, label="the model"
    )
    ax.set_yticks(places, [plots.printable(repr(c.token)[1:-1]) for c in choices], parse_math=False)
    ax.set(xlabel="probability", xlim=(0, 1))
    ax.invert_yaxis()
    ax.legend(frameon=False, loc="lower right")
    return figure


def next_token_explorer(model, tokenizer, sign: int, text: str) -> widgets.Widget:
    """A text field, temperature and top-p, with picture and sentence below."""

    def draw(**values):
        choices = likeliest(model, tokenizer, sign, **values)
        return picture(choices), sentence(values["text"], choices)

    slider = wide() | {"continuous_update": False}
    controls = {
        "text": widgets.Text(value=text, description="text", continuous_update=False, **wide()),
        "temperature": widgets.FloatSlider(
            value=1.0, min=0.1, max=3.0, step=0.1, description="temperature", **slider
        ),
        "top_p": widgets.FloatSlider(value=1.0, min=0.05, max=1.0, step=0.05, description="top-p", **slider),
    }
    return explorer(controls, draw)
