"""The pictures of chapter 01; what they show is computed in the chapter's cells."""

import numpy as np
import pandas as pd
from IPython.display import HTML, display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from helpers import plots

PARTS = {
    "embeddings": (plots.ORANGE, "//"),
    "attention": (plots.BLUE, ""),
    "feed-forward": (plots.SKY, ""),
    "convolutions": (plots.GREEN, ".."),
    "normalisation": ("black", ""),
    "other": ("white", ""),
}
MEMORY = {
    "weights": (plots.BLUE, ""),
    "gradients": (plots.ORANGE, ""),
    "optimizer": (plots.PURPLE, ""),
    "activations": (plots.SKY, ""),
}
FAMILIES = {
    "convolutional": (plots.GREEN, "s"),
    "recurrent": (plots.PURPLE, "v"),
    "encoder": (plots.BLUE, "o"),
    "encoder-decoder": (plots.ORANGE, "D"),
    "decoder": (plots.VERMILION, "^"),
}
# Where a model's name stands, (points right, points up), if it would cover another at its marker's right.
LEFT = (
    "GPT-2 XL", "BERT-large", "T5-11B", "MoE LSTM", "GPT-3", "GShard", "Switch-C", "Gopher", "GPT", "MT-NLG",
    "Transformer big", "Mistral 7B",
)  # fmt: skip
TIMELINE = {
    **dict.fromkeys(LEFT, (-7, 0)),
    **dict.fromkeys(("LeNet-5", "VGG-16", "PaLM"), (0, 11)),
    "ResNet-50": (0, -11),
    "InstructGPT": (-7, -5),
    "BLOOM": (7, 5),
    "LLaMA-65B": (-7, -9),
    "Chinchilla": (-7, -2),
    "Llama 2 70B": (5, 8),
    "Mixtral 8x7B": (7, 5),
    "Gemma 2 27B": (7, -7),
    "Llama 3.1 405B": (-7, 4),
    "DeepSeek-V3": (-7, 6),
    "DeepSeek-R1": (6, -9),
    "GLM-5": (7, 3),
    "Qwen3-235B-A22B": (7, 0),
    "Kimi K2": (-7, 4),
    "SmolLM2-1.7B": (7, 0),
}
TOKENS = {"GPT-3": (-7, 0), "LLaMA-65B": (-7, -4), "Llama 3.1 405B": (-7, 0), "Gemma 2 27B": (0, 11)}
TOKENS |= {"BLOOM": (-7, 4), "Llama 2 70B": (7, 6), "Gopher": (0, -11), "MT-NLG": (7, 0)}


def in_words(count: float) -> str:
    """A count with its unit, or nothing where it is unknown: "1.54 billion"."""
    for unit, size in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6), ("thousand", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return ""


def stacked_bars(ax: Axes, frame: pd.DataFrame, looks: dict) -> None:
    """One bar for each row of `frame`, cut into its columns."""
    start = np.zeros(len(frame))
    for part, (colour, hatch) in looks.items():
        style = {"color": colour, "hatch": hatch, "edgecolor": "black", "linewidth": 0.6, "label": part}
        ax.barh(frame.index, frame[part], left=start, **style)
        start += frame[part].to_numpy()
    ax.invert_yaxis()
    ax.figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize=9)


def shares(parts: pd.DataFrame) -> None:
    """Which share of its parameters each model (row) has in each part (column)."""
    figure, ax = plt.subplots(figsize=(9.5, 3.6), layout="constrained")
    totals = parts.sum(axis=1)
    stacked_bars(ax, parts.div(totals, axis=0), PARTS)
    for row, total in enumerate(totals):
        ax.text(1.01, row, in_words(total), va="center", fontsize=9)
    ax.set(xlabel="share of the parameters", xlim=(0, 1.2), xticks=np.linspace(0, 1, 6))
    alt = (
        "Stacked bars of parameter shares. Image models: nearly all convolutions. MiniLM: half embeddings. "
        "BERT, RoBERTa and GPT-2: a fifth to a third. GPT-3: almost only feed-forward layers and attention."
    )
    plots.show(figure, alt)


def table_of(models: pd.DataFrame) -> None:
    """The table of models with counts in words and short sources."""
    shown = models[["name", "date", "family"]].copy()
    shown["kind"] = models["dense_or_sparse"]
    shown["parameters"] = models["parameters"].map(in_words)
    shown["training tokens"] = models["training_tokens"].map(in_words)
    sources = models["source"].str.split(", ")
    shown["source (title in the file)"] = sources.map(lambda source: f"{source[0]}, {source[-1]}")
    cell = '<td style="white-space: nowrap; text-align: left">'
    display(HTML(shown.to_html(index=False).replace("<td>", cell)))


def _models(ax: Axes, frame: pd.DataFrame, x: str, y: str, places: dict) -> None:
    """A marker for each model, hollow when sparse, with its name."""
    for row in frame.to_dict("records"):
        colour, marker = FAMILIES[row["family"]]
        fill = "full" if row["dense_or_sparse"] == "dense" else "none"
        ax.plot(row[x], row[y], marker=marker, color=colour, fillstyle=fill, markersize=7, linestyle="")
        right, up = places.get(row["name"], (7, 0))
        side = {1: "left", -1: "right", 0: "center"}[np.sign(right)]
        style = {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 8}
        ax.annotate(row["name"], (row[x], row[y]), (right, up), **style)


def _legend(ax: Axes, frame: pd.DataFrame, **place) -> None:
    for family in [name for name in FAMILIES if name in set(frame["family"])]:
        colour, marker = FAMILIES[family]
        ax.plot([], [], marker=marker, color=colour, linestyle="", label=family)
    ax.plot([], [], marker="o", color="black", fillstyle="none", linestyle="", label="hollow: sparse")
    ax.legend(frameon=False, fontsize=9, **place)


def timeline(models: pd.DataFrame) -> None:
    """Parameters against the month of publication, and the largest dense model so far."""
    year = models["date"].str[:4].astype(int) + (models["date"].str[5:].astype(int) - 0.5) / 12
    models = models.assign(year=year)
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 6.4), layout="constrained", sharey=True, width_ratios=(1, 10)
    )
    _models(axes[0], models[models["year"] < 2010], "year", "parameters", TIMELINE)
    _models(axes[1], models[models["year"] > 2010], "year", "parameters", TIMELINE)
    dense = models[models["dense_or_sparse"] == "dense"]
    record = dense["parameters"].cummax().tolist()
    ends = [*dense["year"], models["year"].max()]
    style = {"color": plots.GREY, "linestyle": ":", "label": "largest dense model so far"}
    axes[1].step(ends, [*record, record[-1]], where="post", **style)
    axes[0].set(yscale="log", ylabel="parameters", xlim=(1997, 2001), xticks=[1998], ylim=(2e4, 8e12))
    axes[1].set(xlim=(2011.5, 2029), xlabel="year of publication (2000 to 2011 left out)")
    _legend(axes[1], models, loc="lower center", bbox_to_anchor=(0.42, 0))
    alt = (
        "Timeline with a logarithmic axis: LeNet-5 with 60 thousand parameters in 1998; AlexNet, VGG and "
        "ResNet with 25 to 140 million; from 2020 on language models of hundreds of billions; sparse models "
        "above a trillion; from 2023 on small open models, too."
    )
    plots.show(figure, alt)


def influence(squares: dict) -> None:
    """For each name an (L, L) table of booleans: changed token against output that moved."""
    figure, axes = plt.subplots(1, len(squares), figsize=(10.5, 3.3), layout="constrained", sharey=True)
    for ax, (title, moved) in zip(axes, squares.items()):
        places = range(len(moved))
        ax.imshow(moved, cmap=ListedColormap(["white", plots.BLUE]), vmin=0, vmax=1)
        ax.set(title=title, xlabel="output position", xticks=places, yticks=places)
        ax.set_xticks(np.arange(-0.5, len(moved)), minor=True)
        ax.set_yticks(np.arange(-0.5, len(moved)), minor=True)
        ax.grid(which="minor", color=plots.GREY, linewidth=0.5)
        ax.tick_params(which="minor", length=0)
    axes[0].set_ylabel("changed token")
    alt = (
        "Four grids of changed token against output position, dark where the output moved. BERT and T5's "
        "source: all dark. GPT and T5's target: only outputs at or after the changed token."
    )
    plots.show(figure, alt)


def depth(millions, pretrained, untrained, words, interval) -> None:
    """Macro-F1 against the parameters of the cuts; `interval(values)` is half the width of its interval."""
    figure, ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
    lines = (("pretrained", pretrained, plots.BLUE, "o"), ("random weights", untrained, plots.VERMILION, "s"))
    for name, results, colour, marker in lines:
        style = {"color": colour, "marker": marker, "capsize": 3, "label": f"MiniLM, {name}"}
        ax.errorbar(millions, [r.mean() for r in results], [interval(r) for r in results], **style)
    for count, (x, result) in enumerate(zip(millions, pretrained)):
        ax.annotate(
            f"{count} layers", (x, result.mean() + interval(result)), (0, 6), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    ax.axhline(words.mean(), color="black", linestyle="--", label="word counts (TF-IDF)")
    low, high = words.mean() - interval(words), words.mean() + interval(words)
    ax.axhspan(low, high, color=plots.GREY, alpha=0.25, linewidth=0)
    ax.margins(y=0.12)
    ax.set(xlabel="parameters used, embedding table included (millions)", ylabel="macro-F1")
    ax.set_title(f"sentiment learnt from few comments: mean and 95% interval over {len(words)} training sets")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    alt = (
        "Macro-F1 against the parameters of MiniLM cut after 0 to 6 layers. Pretrained: rises over the first "
        "layers, falls at the last one, always above the word counts. Random weights: no better than these."
    )
    plots.show(figure, alt)


def memory(planned: dict, measured: dict) -> None:
    """The four parts of each planned step, its estimated peak and the measured one (bytes)."""
    figure, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
    for values, marker, what in ((planned, "|", "estimated peak"), (measured, "x", "measured peak")):
        peaks = [getattr(value, "peak", value) / 1e6 for value in values.values()]
        style = {"color": "black", "marker": marker, "markersize": 11, "linestyle": "", "zorder": 3}
        ax.plot(peaks, list(planned), label=what, **style)
    frame = pd.DataFrame(
        {name: {part: getattr(plan, part) for part in MEMORY} for name, plan in planned.items()}
    )
    stacked_bars(ax, frame.T / 1e6, MEMORY)
    ax.set(xlabel="memory (MB)", xlim=(0, None))
    alt = (
        "Stacked bars of the four parts. In each, estimated and measured peak nearly coincide. Shorter "
        "rows shrink only the activations."
    )
    plots.show(figure, alt)


def by_length(plans: dict) -> None:
    """What one step holds of each part, for each length of a row (tokens)."""
    states = pd.DataFrame(
        {
            f"{tokens:,} tokens": {
                "weights, gradients, moments": plan.weights + plan.gradients + plan.moments,
                "activations": plan.activations,
                "logits": plan.logits,
            }
            for tokens, plan in plans.items()
        }
    ).T
    figure, ax = plt.subplots(figsize=(9, 2.4), layout="constrained")
    looks = {
        "weights, gradients, moments": (plots.BLUE, ""),
        "activations": (plots.SKY, ""),
        "logits": (plots.GREEN, "//"),
    }
    stacked_bars(ax, states / 1e9, looks)
    ax.set(xlabel="memory (GB)")
    alt = (
        "Bars for rows of 128 to 4,096 tokens. The states stay as they are; the activations grow with the "
        "length, from a small part to the largest, and the logits with them."
    )
    plots.show(figure, alt)


def tokens(models: pd.DataFrame) -> None:
    """Training tokens against the parameters that a token uses, and the line of 20 tokens per parameter."""
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    line = np.array([7e7, 2e12])
    ax.plot(line, 20 * line, color=plots.GREY, linestyle="--", label="20 tokens per parameter")
    _models(ax, models, "parameters", "training_tokens", TOKENS)
    ax.set(xscale="log", yscale="log", xlim=(7e7, 2e12), ylim=(1.5e11, 4e13))
    ax.set(xlabel="parameters", ylabel="training tokens")
    ax.legend(frameon=False, loc="lower left")
    alt = (
        "Training tokens against parameters, both logarithmic. GPT-3, Gopher, MT-NLG, BLOOM and PaLM lie far "
        "below the line of 20 tokens per parameter, Chinchilla on it, later models above it, the smallest "
        "one furthest."
    )
    plots.show(figure, alt)


def energy(runs: pd.DataFrame) -> None:
    """Published and estimated electricity of each training (kWh) as two dots on a logarithmic axis."""
    figure, ax = plt.subplots(figsize=(8.5, 2.2), layout="constrained")
    places = np.arange(len(runs))
    ax.hlines(places, runs["published"] / 1000, runs["estimated"] / 1000, color=plots.GREY, linewidth=1)
    for column, colour, marker in (("published", "black", "o"), ("estimated", plots.BLUE, "D")):
        ax.plot(runs[column] / 1000, places, color=colour, marker=marker, linestyle="", label=column)
    ax.set_yticks(places, runs["model"] + " (" + runs["chip"] + ")")
    ax.set(xscale="log", xlabel="electricity (MWh)", xlim=(100, 100_000), ylim=(len(runs) - 0.5, -0.5))
    ax.grid(axis="x", alpha=0.3)
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    alt = (
        "Two dots for each of three trainings: published and estimated electricity, on a logarithmic axis. "
        "They are near each other for BLOOM and Llama 3.1; the estimate for GPT-3 is less than half."
    )
    plots.show(figure, alt)
