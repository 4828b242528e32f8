"""Memory planner (chapter 01): which GPU can train a language model on rows of a given length, and what fills
it. The arithmetic is that of `helpers.planner`; here are the controls, the picture and the sentence.
"""

from dataclasses import dataclass

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers import planner, plots
from lessons.controls import explorer, wide

# GB (10^9 bytes), as sold: the planner's cards, and the one that Colab lends
GPUS = {"T4": 16} | {name: card.memory / 1e9 for name, card in planner.CARDS.items() if name != "l4"}
PARTS = {
    "weights": plots.BLUE,
    "gradients": plots.ORANGE,
    "moments": plots.PURPLE,
    "activations": plots.SKY,
    "logits": plots.GREEN,
}
STRATEGIES = {
    "all weights": {},
    "LoRA, base in float32": {"strategy": "lora"},
    "LoRA, base in 16 bits": {"strategy": "lora", "base_bits": 16},
    "LoRA, base in 4 bits (QLoRA)": {"strategy": "lora", "base_bits": 4},
}
TOKENS = (128, 512, 2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class Plan:
    """The memory of one training step (bytes)."""

    memory: planner.Memory

    def fitting(self) -> list[str]:
        """Names of the GPUs that hold it."""
        room = {name: gigabytes * 1e9 * planner.USABLE for name, gigabytes in GPUS.items()}
        return [name for name, most in room.items() if self.memory.total <= most]

    def sentence(self) -> str:
        """The plan in words."""
        shares = {part: getattr(self.memory, part) for part in PARTS}
        parts = ", ".join(f"{part} {in_gigabytes(value)}" for part, value in shares.items())
        fitting = self.fitting()
        verdict = f"It fits on none of {', '.join(GPUS)}."
        if fitting:
            verdict = f"It fits on: {', '.join(fitting)}."
        return (
            f"One step needs about {in_gigabytes(self.memory.total)} at once. Its parts at their largest: "
            f"{parts}. The largest: {max(shares, key=shares.get)}. {verdict}"
        )


def in_gigabytes(size: float) -> str:
    """Bytes as text in GB, with a digit after the point where it matters."""
    return f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e9:.2f} GB"


def plan(
    model: str,
    *,
    strategy: str = "all weights",
    rows: int = 8,
    tokens: int = 512,
    activation_checkpointing: bool = False,
) -> Plan:
    """Memory of one training step of a language model of `planner.SHAPES`, by a strategy of `STRATEGIES`."""
    workload = planner.Workload(
        planner.SHAPES[model],
        rows=rows,
        tokens=tokens,
        activation_checkpointing=activation_checkpointing,
        **STRATEGIES[strategy],
    )
    return Plan(planner.memory(workload))


def picture(result: Plan) -> Figure:
    """The parts at their largest, and what is needed at once beside what each GPU has."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    ax = figure.subplots()
    total, start = result.memory.total / 1e9, 0.0
    for part, color in PARTS.items():
        width = getattr(result.memory, part) / 1e9
        ax.barh("parts", width, left=start, color=color, edgecolor="black", label=part)
        start += width
    for name, gigabytes in GPUS.items():
        fits = name in result.fitting()
        ax.barh(name, gigabytes, color="white", edgecolor="black", hatch=None if fits else "//", linewidth=1)
        note = "fits" if fits else f"too small: {total / gigabytes:.1f} times as much is needed"
        ax.text(gigabytes, name, f" {note}", va="center", fontsize=9)
    ax.axvline(total, color="black", linestyle=":", linewidth=1.5, label="needed at once")
    ax.set(xlabel="memory (GB)", xlim=(0, 1.45 * max(start, max(GPUS.values()))))
    ax.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=9)
    return figure


def memory_planner() -> widgets.Widget:
    """Controls for `plan` with its picture and its sentence below."""
    label = wide(150)
    controls = {
        "model": widgets.Dropdown(
            options=list(planner.SHAPES), value="llama-3.2-1b", description="model", **label
        ),
        "strategy": widgets.Dropdown(options=list(STRATEGIES), description="what is trained", **label),
        "rows": widgets.SelectionSlider(
            options=[1, 2, 4, 8, 16, 32, 64], value=8, description="rows", **label
        ),
        "tokens": widgets.SelectionSlider(options=TOKENS, value=512, description="tokens per row", **label),
        "activation_checkpointing": widgets.Checkbox(
            value=False, description="recompute activations", **(label | {"indent": True})
        ),
    }

    def draw(**chosen):
        result = plan(**chosen)
        return picture(result), result.sentence()

    return explorer(controls, draw)
