"""Ask the tuned model and its untuned twin the same, and see every token with its probability: the widget of
chapter 10.

The computation (`reply`) knows nothing of widgets, so it can be called and tested without a browser.
"""

import html
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import ipywidgets as widgets
import torch

from helpers import plots
from lessons.controls import comment_field

LONGEST = 400  # characters of a message: the answer should come within seconds on a CPU


@dataclass(frozen=True)
class Token:
    """A written token, its probability, and the likeliest token that was not taken with its own."""

    text: str
    probability: float
    other: str
    other_probability: float


@torch.inference_mode()
def reply(model, tokenizer, prompt: list[int], *, max_new_tokens: int = 24) -> list[Token]:
    """The greedy answer to a prompt (token ids), token by token, with the end sign where it comes."""
    device = next(model.parameters()).device
    ids, cache, tokens = torch.tensor([prompt], device=device), None, []
    for _ in range(max_new_tokens):
        output = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        p, best = output.logits[0, -1].float().softmax(-1).topk(2)
        first, second = (tokenizer.decode([int(number)]) for number in best)
        tokens.append(Token(first, float(p[0]), second, float(p[1])))
        ids = best[:1, None]
        if int(best[0]) == tokenizer.eos_token_id:
            break
    return tokens


def tokens_html(tokens: list[Token]) -> str:
    """Tokens in reading order; orange where the model was unsure; below: probability and runner-up."""
    red, green, blue = bytes.fromhex(plots.ORANGE[1:])
    cells = ""
    for token in tokens:
        shade = f"rgba({red},{green},{blue},{0.7 * (1 - token.probability):.2f})"
        rival = f"{_shown(token.other)} {token.other_probability:.2f}"
        cells += (
            '<span style="display:inline-block;margin:2px;padding:2px 5px;text-align:center;color:#000;'
            f'background:{shade};border:1px solid #999;border-radius:3px"><span '
            'style="font-family:monospace">'
            f'{_shown(token.text)}</span><br><span style="font-size:80%">{token.probability:.2f}<br>'
            f'<span style="color:#555">{rival}</span></span></span>'
        )
    return cells


def twins_html(model, tokenizer, text: str, prompt_of: Callable[[str], list[int]]) -> str:
    """Both answers to a message, or why there is none.

    Args:
        model: a model of peft; its adapter is switched off for the twin.
        text: escaped before it is shown.
        prompt_of: from the message to the token ids that the model reads.
    """
    if not text.strip():
        return "<p>the message is empty; type a few words</p>"
    if len(text) > LONGEST:
        return f"<p>the message has {len(text)} characters, at most {LONGEST} are read here; shorten it</p>"
    prompt, parts = prompt_of(text), ""
    for name, twin in (("tuned", nullcontext()), ("untuned", model.disable_adapter())):
        with twin:
            tokens = reply(model, tokenizer, prompt)
        ends = "stops by itself" if tokens[-1].text == tokenizer.eos_token else "was cut off here"
        parts += f"<p><b>{name}</b> ({len(tokens)} tokens, {ends}):<br>{tokens_html(tokens)}</p>"
    return (
        "<div "
        f'style="background:#fff;color:#000;padding:6px;max-width:860px"><p><b>{html.escape(text)}</b></p>{parts}'
        "<p>Below each token: its probability, then the runner-up. Orange: the model was unsure.</p></div>"
    )


def twin_chat(model, tokenizer, text: str, prompt_of: Callable[[str], list[int]]) -> widgets.Widget:
    """A text field and a button: type a message, see both answers. Arguments: see `twins_html`."""
    return comment_field(
        lambda typed: twins_html(model, tokenizer, typed, prompt_of), text, tooltip="ask both models"
    )


def _shown(token: str) -> str:
    return html.escape(plots.printable(token).replace(" ", "␣")) or "∅"
