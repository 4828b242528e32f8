"""Token by token: which label each token of a conversation has (chapter 10)."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from helpers import plots

PROMPT, ANSWER, PADDING = plots.SKY, plots.ORANGE, "#cccccc"
WIDEST = 20  # tokens of a row that can be read


def label_map(batch: dict, tokenizer, rows: int = 3) -> None:
    """Draw the last tokens of a batch's first rows, coloured by what the loss does with them.

    Args:
        batch: `input_ids`, `attention_mask`, `labels`, each int64 (B, L).
        rows: how many rows are drawn.
    """
    plots.show(*_drawn(batch, tokenizer, rows))


def _drawn(batch, tokenizer, rows: int) -> tuple[Figure, str]:
    length = batch["input_ids"].shape[1]
    first = max(0, length - WIDEST)
    figure = Figure(figsize=(12, 0.6 + 0.6 * rows), layout="constrained")
    axis = figure.subplots()
    learnt = 0
    for row in range(min(rows, len(batch["input_ids"]))):
        for place in range(first, length):
            token = tokenizer.convert_tokens_to_string(
                [tokenizer.convert_ids_to_tokens(int(batch["input_ids"][row, place]))]
            )
            has_label = int(batch["labels"][row, place]) != -100
            is_text = bool(batch["attention_mask"][row, place])
            learnt += has_label
            color = ANSWER if has_label else PROMPT if is_text else PADDING
            axis.add_patch(Rectangle((place - first, -row), 0.95, 0.8, facecolor=color))
            _write(axis, token, place - first + 0.475, 0.4 - row)
    axis.set(xlim=(0, length - first), ylim=(0.9 - min(rows, len(batch["input_ids"])), 0.9))
    axis.set_axis_off()
    names = {
        PROMPT: "prompt: read, not learnt (-100)",
        ANSWER: "answer and its end: learnt",
        PADDING: "padding: neither (-100)",
    }
    figure.legend(
        handles=[Patch(color=color, label=name) for color, name in names.items()],
        ncols=3,
        loc="outside upper left",
        frameon=False,
    )
    alt = (
        f"The last {length - first} tokens of {min(rows, len(batch['input_ids']))} conversations, one row "
        "each: prompt in blue, "
        f"answers with their end sign in orange ({learnt} tokens with a label), padding in grey at the right."
    )
    return figure, alt


def _write(axis, token: str, x: float, y: float) -> None:
    shown = plots.printable(token.replace("<|", "<").replace("|>", ">").strip(" ") or "␣")
    tilt = 25 if len(shown) > 6 else 0
    axis.text(
        x,
        y,
        shown,
        ha="center",
        va="center",
        fontsize=10 if len(shown) < 8 else 8,
        rotation=tilt,
        parse_math=False,
    )
