"""Memory planner (chapter 01): which GPU can train a Transformer of a given size, and what fills it."""

from dataclasses import dataclass

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch01 import sizes
from lessons.controls import explorer, wide

MODELS = {  # (layers, hidden, heads, vocabulary) from each model's paper or configuration file
    "MiniLM (23 million)": (6, 384, 12, 30522),
    "BERT-base (110 million)": (12, 768, 12, 30522),
    "BERT-large (340 million)": (24, 1024, 16, 30522),
    "GPT-2 XL (1.6 billion)": (48, 1600, 25, 50257),
    "LLaMA-7B (6.7 billion)": (32, 4096, 32, 32000),
    "LLaMA-65B (65 billion)": (80, 8192, 64, 32000),
    "GPT-3 (175 billion)": (96, 12288, 96, 50257),
}
# GB (10^9 bytes), as sold; a little less is usable
GPUS = {"T4": 16, "RTX 4090": 24, "A100 40 GB": 40, "A100 80 GB": 80, "H100": 80}
PARTS = {
    "weights": plots.BLUE,
    "gradients": plots.ORANGE,
    "optimizer": plots.PURPLE,
    "activations": plots.SKY,
}


@dataclass(frozen=True)
class Plan:
    """The memory of one training step (bytes; `memory.total` is the safe plan) and the model's size."""

    memory: sizes.Memory
    parameters: int

    def fitting(self) -> list[str]:
        """Names of the GPUs that hold it."""
        return [name for name, gigabytes in GPUS.items() if self.memory.total <= gigabytes * 1e9]

    def sentence(self) -> str:
        """The plan in words."""
        shares = {part: getattr(self.memory, part) for part in PARTS}
        largest = max(shares, key=shares.get)
        fitting = self.fitting()
        verdict = (
            f"It fits on: {', '.join(fitting)}." if fitting else f"It fits on none of {', '.join(GPUS)}."
        )
        parts = ", ".join(f"{part} {in_gigabytes(value)}" for part, value in shares.items())
        return (
            f"One step needs about {in_gigabytes(self.memory.total)}: {parts}. The largest part: "
            f"{largest}. {verdict}"
        )


def in_gigabytes(size: float) -> str:
    """Bytes as text in GB, with a digit after the point where it matters."""
    return f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e9:.2f} GB"


def plan(
    model: str,
    *,
    precision: str = "mixed",
    optimizer: str = "adamw",
    batch_size: int = 32,
    length: int = 128,
    fused_attention: bool = True,
    recompute: bool = False,
) -> Plan:
    """Memory of one training step of a classifier.

    A language model adds batch_size x length x vocabulary values for its outputs.

    Args:
        model: one of `MODELS`.
        precision: one of `sizes.PRECISION_BYTES`; in "mixed" the bfloat16 copies of the weights count as
            activations.
        optimizer: one of `sizes.OPTIMIZER_VALUES`.
        batch_size, length: rows, and tokens per row with padding.
        fused_attention: whether the attention matrix is never stored ("flash" attention).
        recompute: gradient checkpointing: keep each layer's input only, and compute one layer at a time
            again.
    """
    layers, hidden, heads, vocabulary = MODELS[model]
    parameters = sizes.transformer_parameters(layers, hidden, vocabulary)
    states = sizes.model_states(parameters, optimizer=optimizer, precision=precision)
    value_bytes = 4 if precision == "float32" else 2
    shape = {"hidden": hidden, "heads": heads, "batch_size": batch_size, "length": length}
    activations = sizes.transformer_activations(
        layers=1 if recompute else layers, **shape, value_bytes=value_bytes, fused_attention=fused_attention
    )
    if recompute:
        activations += layers * batch_size * length * hidden * value_bytes
    if precision == "mixed":
        activations += 2 * parameters
    return Plan(sizes.Memory(states.weights, states.gradients, states.optimizer, activations), parameters)


def picture(result: Plan) -> Figure:
    """What is needed, as one bar cut into its parts, above what each GPU has."""
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    ax = figure.subplots()
    total, start = result.memory.total / 1e9, 0.0
    for part, color in PARTS.items():
        width = getattr(result.memory, part) / 1e9
        ax.barh("needed", width, left=start, color=color, edgecolor="black", label=part)
        start += width
    for name, gigabytes in GPUS.items():
        fits = name in result.fitting()
        ax.barh(name, gigabytes, color="white", edgecolor="black", hatch=None if fits else "//", linewidth=1)
        note = "fits" if fits else f"too small: {total / gigabytes:.1f} times as much is needed"
        ax.text(gigabytes, name, f" {note}", va="center", fontsize=9)
    ax.axvline(total, color="black", linestyle=":", linewidth=1)
    ax.text(total, "needed", f" {in_gigabytes(result.memory.total)}", va="center", fontsize=9, weight="bold")
    ax.set(xlabel="memory (GB)", xlim=(0, 1.45 * max(total, max(GPUS.values()))))
    ax.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def memory_planner() -> widgets.Widget:
    """Controls for `plan` with its picture and its sentence below."""
    label = wide(150)
    box = label | {"indent": True}
    controls = {
        "model": widgets.Dropdown(
            options=list(MODELS), value="BERT-base (110 million)", description="model", **label
        ),
        "precision": widgets.Dropdown(
            options=list(sizes.PRECISION_BYTES), value="float32", description="precision", **label
        ),
        "optimizer": widgets.Dropdown(
            options=list(sizes.OPTIMIZER_VALUES), value="adamw", description="optimizer", **label
        ),
        "batch_size": widgets.Dropdown(
            options=[1, 2, 4, 8, 16, 32, 64, 128, 256], value=32, description="batch size", **label
        ),
        "length": widgets.Dropdown(
            options=[32, 64, 128, 256, 512, 1024, 2048], value=128, description="tokens per row", **label
        ),
        "fused_attention": widgets.Checkbox(value=False, description="fused attention", **box),
        "recompute": widgets.Checkbox(value=False, description="recompute activations", **box),
    }

    def draw(**values):
        result = plan(**values)
        return picture(result), result.sentence()

    return explorer(controls, draw)
