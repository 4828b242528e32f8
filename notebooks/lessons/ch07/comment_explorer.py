"""Type a comment, see the class probabilities and which tokens made them: the widget of chapter 07.

The computation (`token_attributions`) knows nothing of widgets, so it can be called and tested without a
browser.
"""

import html
import textwrap

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.cleaning import clean_text
from helpers.data.datasets import MAX_TOKENS
from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.models.pretrained import Classifier
from lessons import panels
from lessons.controls import comment_field

MASKED_TOGETHER = 64  # masked copies of a comment that go through the model together
FULL_COLOUR = 0.05  # an effect below 5 points never gets the strongest colour, however small the others are


def token_attributions(classifier: Classifier, text: str) -> list[tuple[str, float]]:
    """How much each token holds up the predicted class: leave one token out and ask again.

    The effect of a token is p(predicted class | text) - p(predicted class | text with this token replaced by
    [MASK]).
    Positive: the token speaks for the predicted class; negative: against it. The effects do not sum to the
    probability: tokens act together, and two words that say the same hide each other's effect.

    Args:
        classifier: classifier of texts; moved to the CPU, as by `deployment.predict`.
        text: one comment; repaired first, as before every prediction.

    Returns:
        (token, effect in -1..1) for every token of the text in order, without the special tokens around it.

    Raises:
        InputError: the text is empty, or the tokenizer has no mask token.

    Source: leave-one-out attribution ("erasure"), Li, Monroe and Jurafsky 2016, arXiv:1612.08220. Chapter 07.
    """
    tokenizer, model = classifier.preprocessor, classifier.model.to("cpu").eval()
    if not text.strip():
        raise InputError("the comment is empty; type a few words")
    if tokenizer.mask_token_id is None:
        raise InputError(
            f"the tokenizer of {classifier.name!r} has no mask token; use an encoder such as minilm"
        )
    encoding = tokenizer(
        clean_text(text), truncation=True, max_length=MAX_TOKENS, return_special_tokens_mask=True
    )
    ids = torch.tensor(encoding["input_ids"])  # (L,)
    own = torch.tensor(encoding["special_tokens_mask"]) == 0  # (L,): tokens of the text itself
    places = own.nonzero()[:, 0]  # (T,)
    variants = ids.repeat(len(places) + 1, 1)  # (T + 1, L): row 0 is the text itself, row t + 1 lacks token t
    variants[torch.arange(1, len(variants)), places] = tokenizer.mask_token_id
    with torch.inference_mode():
        logits = torch.cat(
            [
                model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits
                for rows in variants.split(MASKED_TOGETHER)
            ]
        )
    p = logits.float().softmax(-1)  # (T + 1, C)
    predicted = p[0].argmax()
    effects = (p[0, predicted] - p[1:, predicted]).tolist()
    return list(zip(tokenizer.convert_ids_to_tokens(ids[places].tolist()), effects))


def tokens_html(attributions: list[tuple[str, float]]) -> str:
    """Tokens in reading order, each with its effect in percentage points; blue for, orange against."""
    strongest = max([FULL_COLOUR, *(abs(effect) for _, effect in attributions)])
    cells = ""
    for token, effect in attributions:
        red, green, blue = bytes.fromhex((plots.BLUE if effect > 0 else plots.ORANGE)[1:])
        shade = f"rgba({red},{green},{blue},{0.6 * abs(effect) / strongest:.2f})"
        cells += (
            '<span style="display:inline-block;margin:2px;padding:2px '
            f"5px;text-align:center;color:#000;background:{shade};"
            'border:1px solid #999;border-radius:3px"><span '
            f'style="font-family:monospace">{html.escape(token)}</span><br>'
            f'<span style="font-size:80%">{100 * effect:+.0f}</span></span>'
        )
    return cells


def answer_html(classifier: Classifier, text: str) -> str:
    """What the widget shows for a comment: probabilities, and tokens with their effects; or why not."""
    try:
        attributions = token_attributions(classifier, text)
    except InputError as error:
        return f"<p>{html.escape(str(error))}</p>"
    p = predict(classifier, [text])[0]
    label = classifier.classes[p.argmax()]
    figure = Figure(figsize=(5, 1.7), layout="constrained")
    panels.probabilities(figure.subplots(), classifier.classes, p.tolist())
    alt = ", ".join(f"{name} {value:.2f}" for name, value in zip(classifier.classes, p))
    picture = plots.image_html(figure, f"probabilities: {alt}")
    return (
        "<div "
        f'style="background:#fff;color:#000;padding:6px;max-width:760px"><p><b>{html.escape(label)}</b>: '
        f"{html.escape(textwrap.shorten(text, 200, placeholder=' ...'))}</p>{picture}"
        f"<p>{tokens_html(attributions)}</p><p>Below each token: by how many percentage points "
        f"p({html.escape(label)}) falls when the token is "
        "masked. Blue and plus: it speaks for this class; orange and minus: against it.</p></div>"
    )


def comment_explorer(classifier: Classifier, text: str) -> widgets.Widget:
    """A text field and a button: type a comment, see probabilities and the effect of each token.

    Args:
        classifier: see `token_attributions`.
        text: the comment to begin with.
    """
    return comment_field(lambda typed: answer_html(classifier, typed), text, tooltip="ask the model")
