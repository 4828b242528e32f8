"""Move beta, and see what is gained and how far the model goes for it: the widget of chapter 11.

The computation (`trade`) and the picture (`draw`) know nothing of widgets.
"""

import functools

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch11 import results
from lessons.controls import explorer, wide


def trade(found: dict, beta: float) -> dict:
    """What a beta brought: `pair_accuracy` and `kl_answer` (points,) on the way, `macro_f1` at the end."""
    family = results.by_beta(found)[beta]
    curve = results.over_seeds(found, "curves", family, "curve", "pair_accuracy", "kl_answer")
    return curve | {
        "macro_f1": found["means"][family]["macro_f1"],
        "start": found["means"]["start"]["macro_f1"]["value"],
        "seeds": len(found["curves"][family]),
    }


def draw(found: dict, beta: float) -> tuple[Figure, str]:
    """The way of every beta from drift to accuracy, the chosen one in colour, and one sentence."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    betas = list(results.by_beta(found))
    for place, other in enumerate(sorted(betas, key=lambda one: one == beta)):  # the chosen one on top
        one = trade(found, other)
        color = plots.BLUE if other == beta else "#bbbbbb"
        left.plot(one["kl_answer"], one["pair_accuracy"], "o-", color=color, zorder=place)
        left.annotate(
            f"{other:g}",
            (one["kl_answer"][-1], one["pair_accuracy"][-1]),
            xytext=(5, 3),
            textcoords="offset points",
            color="black" if other == beta else "#777777",
        )
        row = betas.index(other)
        right.plot(one["macro_f1"]["interval"], [row] * 2, color=color, linewidth=4, solid_capstyle="butt")
        right.plot(one["macro_f1"]["value"], row, "o", color=color)
    chosen = trade(found, beta)
    left.set(
        xlabel="drift from the start, nats an answer",
        ylabel="pairs right, held out",
        title="from the start to the end; number: beta",
    )
    left.margins(x=0.12)
    right.axvline(chosen["start"], color=plots.VERMILION, linestyle="--")
    right.set_yticks(range(len(betas)), [f"{one:g}" for one in betas])
    right.set(
        xlabel="macro-F1, test", ylabel="beta", title="dashed: the start", ylim=(-0.6, len(betas) - 0.4)
    )
    low, high = chosen["macro_f1"]["interval"]
    return figure, (
        f"Beta {beta:g}, {chosen['seeds']} seeds: pairs right go from {chosen['pair_accuracy'][0]:.2f} to "
        f"{chosen['pair_accuracy'][-1]:.2f} for a drift of {chosen['kl_answer'][-1]:.2f} nats an answer; "
        f"macro-F1 is {chosen['macro_f1']['value']:.3f} (seeds {low:.3f} to {high:.3f}), at the "
        f"start it was {chosen['start']:.3f}."
    )


def beta_explorer(found: dict) -> widgets.Widget:
    """A slider over the betas that were measured (arrow keys move it); a sentence where none was."""
    betas = list(results.by_beta(found))
    if not betas or "start" not in found["means"]:
        return widgets.HTML(f"<p>{results.MISSING}</p>")
    slider = widgets.SelectionSlider(
        options=[(f"{beta:g}", beta) for beta in betas],
        value=0.1 if 0.1 in betas else betas[0],
        description="beta",
        **wide(),
    )
    return explorer({"beta": slider}, functools.partial(draw, found))
