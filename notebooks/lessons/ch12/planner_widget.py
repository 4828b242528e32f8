"""Chapter 12's widget: choose model, cards and strategy, and see what one step needs and a training costs."""

import ipywidgets as widgets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from helpers import plots
from helpers.planner import CARDS, SHAPES, USABLE, Memory, Workload, duration, memory
from helpers.runs.plan import measured_efficiency
from lessons.controls import explorer, wide

STRATEGIES = {
    "full": {"strategy": "full"},
    "LoRA": {"strategy": "lora"},
    "LoRA, weights in 16 bits": {"strategy": "lora", "base_bits": 16},
    "LoRA, weights in 4 bits": {"strategy": "lora", "base_bits": 4},
}
PARTS = ("weights", "gradients", "moments", "activations", "logits")
LOOKS = ((plots.BLUE, ""), (plots.ORANGE, "//"), (plots.SKY, ".."), (plots.GREEN, "xx"), (plots.GREY, "--"))


def planner() -> widgets.VBox:
    """The controls, the sentence and the picture."""
    return explorer(
        {
            "model": widgets.Dropdown(
                options=list(SHAPES), value="llama-3.1-8b", description="model", **wide()
            ),
            "card": widgets.Dropdown(options=list(CARDS), value="h100", description="card", **wide()),
            "cards": widgets.SelectionSlider(
                options=[2**n for n in range(9)], value=8, description="cards", **wide()
            ),
            "strategy": widgets.Dropdown(options=list(STRATEGIES), description="strategy", **wide()),
            "shard": widgets.Checkbox(value=True, description="share out (FSDP2)", **wide()),
            "again": widgets.Checkbox(value=True, description="activation checkpointing", **wide()),
            "rows": widgets.SelectionSlider(
                options=[2**n for n in range(7)], value=1, description="rows per card", **wide()
            ),
            "length": widgets.SelectionSlider(
                options=[2**n for n in range(7, 16)], value=2048, description="tokens per row", **wide()
            ),
            "millions": widgets.SelectionSlider(
                options=[1, 10, 100, 1000, 10_000], value=100, description="million tokens", **wide()
            ),
            "percent": widgets.IntSlider(value=35, min=1, max=70, description="efficiency (%)", **wide()),
            "price": widgets.FloatText(value=2.5, step=0.1, description="price of an hour", **wide()),
        },
        draw,
    )


def draw(
    model, card, cards, strategy, shard, again, rows, length, millions, percent, price
) -> tuple[Figure, str]:
    """The parts of the memory of one card as bars, and the answers to both questions as a sentence."""
    work = Workload(
        SHAPES[model],
        rows * cards,
        length,
        processes=cards,
        shard=shard and cards > 1,
        activation_checkpointing=again,
        **STRATEGIES[strategy],
    )
    need, room = memory(work), USABLE * CARDS[card].memory
    return _bars(
        need, room, card
    ), f"{_fits(need, room, card)} {_costs(work, card, millions, percent, price)}"


def _fits(need: Memory, room: float, card: str) -> str:
    sizes = f"one {card} needs {need.total / 1e9:.1f} GB at once and has room for {room / 1e9:.1f} GB"
    if need.total <= room:
        return f"It fits: {sizes}."
    largest = max(PARTS, key=lambda part: getattr(need, part))
    return f"It does not fit: {sizes}; the largest part are the {largest}."


def _costs(work: Workload, card: str, millions: float, percent: int, price: float) -> str:
    hours = duration(work, millions * 1e6, CARDS[card], work.processes, percent / 100) / 3600
    energy = hours * work.processes * CARDS[card].watts / 1000
    measured = measured_efficiency(work)
    source = "no similar training was measured yet"
    if measured is not None:
        source = f"the most similar training that was measured reached {measured:.0%}"
    cost = f"{hours * work.processes * price:,.2f} of your currency and {energy:,.1f} kWh"
    takes = f"{millions:,} million tokens take {hours:,.1f} hours"
    return f"{takes}, {cost} (at {percent}% of the peak; {source})."


def _bars(need: Memory, room: float, card: str) -> Figure:
    figure, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
    left = 0.0
    for part, (color, hatch) in zip(PARTS, LOOKS):
        width = getattr(need, part) / 1e9
        style = {"color": color, "hatch": hatch, "edgecolor": "black", "linewidth": 0.5, "height": 0.5}
        ax.barh(1, width, left=left, label=part, **style)
        left += width
    ax.barh(0, need.total / 1e9, color="white", edgecolor="black", height=0.5)
    ax.axvline(room / 1e9, color=plots.VERMILION, linestyle="--", label=f"room of one {card}")
    ax.set_yticks([1, 0], ["the parts", "the most at once"])
    ax.set(xlabel="GB in each card", ylim=(-0.5, 1.5))
    ax.legend(frameon=False, fontsize=8, ncols=6, loc="lower center", bbox_to_anchor=(0.45, 1.0))
    plt.close(figure)
    return figure
