"""The figures of the stored results of chapter 10: one per question, sorted, every seed a dot."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch10 import results


def ladder(found: dict) -> tuple[Figure | None, str]:
    """Macro-F1 of each rung and number of training rows, from the weakest to the strongest."""
    entries = results.by_setting(found["ladder"], "rung", "rows")
    names = [_named(entry["rung"], entry["rows"]) for entry in entries]
    return _dots(entries, names, "macro-F1 on the same comments")


def ranks(found: dict) -> tuple[Figure | None, str]:
    """Macro-F1 by rank."""
    entries = results.by_setting(found["rank"], "rank")
    return _dots(entries, [f"rank {entry['rank']}" for entry in entries], "macro-F1")


def ways(found: dict) -> tuple[Figure | None, str]:
    """Macro-F1 of all weights, LoRA, and LoRA on 4 bits."""
    entries = results.by_setting(found["ways"], "way")
    return _dots(entries, [entry["way"] for entry in entries], "macro-F1")


def kinds(found: dict, part: str) -> tuple[Figure | None, str]:
    """Macro-F1 by kind of training rows: `part` is "generated" or "distilled"."""
    entries = results.by_setting(found[part], "kind")
    return _dots(entries, [entry["kind"] for entry in entries], "macro-F1")


def show(drawn: tuple[Figure | None, str]) -> None:
    """Display a figure with its sentence as alt text, and print that; without data the sentence alone."""
    figure, sentence = drawn
    if figure is not None:
        plots.show(figure, sentence)
    print(sentence)


def _named(rung: str, rows: int | None) -> str:
    return f"{rung}, {rows:,} rows" if rows else rung


def _dots(entries: list[dict], names: list[str], label: str) -> tuple[Figure | None, str]:
    if not entries:
        return None, results.MISSING
    figure = Figure(figsize=(7.5, 0.8 + 0.36 * len(entries)), layout="constrained")
    axis: Axes = figure.subplots()
    for place, entry in enumerate(entries):
        if entry["interval"]:
            axis.plot(entry["interval"], [place, place], color=plots.SKY, linewidth=5, solid_capstyle="butt")
        axis.plot(entry["values"], [place] * len(entry["values"]), "o", color=plots.BLUE, markersize=5)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=label, ylim=(-0.6, len(names) - 0.4))
    axis.grid(axis="x", alpha=0.3)
    low, high = (f"{names[place]} ({entries[place]['mean']:.3f})" for place in (0, -1))
    return figure, f"From {low}, the lowest mean, to {high}, the highest; {_overlap(entries, names)}."


def _overlap(entries: list[dict], names: list[str]) -> str:
    """In words, whether the two highest of those with several seeds can be told apart by their intervals."""
    repeated = [(entry["interval"], name) for entry, name in zip(entries, names) if entry["interval"]]
    if len(repeated) < 2:
        return "too few have several seeds to tell them apart"
    (second, lower), (first, higher) = repeated[-2:]
    return f"the intervals of {higher} and {lower} " + (
        "do not overlap" if first[0] > second[1] else "overlap"
    )
