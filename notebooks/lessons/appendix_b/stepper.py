"""Stepper of appendix B: name what you have just finished, and read what to ask and to do next."""

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers import plots
from lessons.controls import explorer, wide
from lessons.workflows import CHARTS, Chart, Node


def what_next(chart: Chart, step: str) -> str:
    """What a workflow asks after a finished step, and what it does next, with the sections that do it.

    Args:
        chart: one of `CHARTS`.
        step: the text of one of its steps.
    """
    following = list(chart.nodes[[node.text for node in chart.nodes].index(step) + 1 :])
    parts = [f"{step} is step {chart.steps.index(step) + 1} of {len(chart.steps)}."]
    while following and following[0].back:
        node = following.pop(0)
        ways = [f"{node.onward}, go on"] if node.onward else []
        ways += [f"{answer}, go back to {target}" for answer, target in node.back]
        parts.append(f"Ask: {node.text} ({_place(node)}) If {'; if '.join(ways)}.")
    if following:
        parts.append(f"Next: {following[0].text} ({_place(following[0])}).")
    elif not chart.nodes[-1].back:
        parts.append("This was the last step, until something changes.")
    return " ".join(parts)


def picture(chart: Chart, step: str) -> Figure:
    """The steps of a workflow in a row: done ones filled, the next one framed."""
    figure = Figure(figsize=(8.5, 1.5), layout="constrained")
    ax = figure.subplots()
    done = chart.steps.index(step)
    for place, name in enumerate(chart.steps):
        face, edge = (
            (plots.SKY, plots.BLUE)
            if place <= done
            else ("white", plots.VERMILION if place == done + 1 else plots.GREY)
        )
        ax.scatter(
            place, 0, s=500, marker="s", color=face, edgecolor=edge, linewidth=3 if place == done + 1 else 1.5
        )
        ax.text(place, 0, str(place + 1), ha="center", va="center", fontsize=12, weight="bold")
        ax.text(place, -0.75, name.replace(" and ", "\nand "), ha="center", va="top", fontsize=9)
    ax.set(
        xlim=(-0.6, len(chart.steps) - 0.4),
        ylim=(-2, 0.8),
        title=f"{chart.name}: blue is done, the red frame is next",
    )
    ax.set_axis_off()
    return figure


def stepper() -> widgets.VBox:
    """Two lists to choose from, the workflow and the step just finished, with picture and sentence below."""
    charts = {chart.name: chart for chart in CHARTS}
    workflow = widgets.Dropdown(options=list(charts), value="development", description="workflow", **wide())
    done = widgets.Dropdown(
        options=charts["development"].steps, value="Split", description="just finished", **wide()
    )

    def offer(change) -> None:
        done.options = charts[change["new"]].steps

    def draw(name: str, step: str) -> tuple[Figure | None, str]:
        chart = charts[name]
        if step not in chart.steps:  # the workflow has changed, and the list of its steps has not yet
            step = chart.steps[0]
        return picture(chart, step), what_next(chart, step)

    box = explorer({"name": workflow, "step": done}, draw)
    workflow.observe(offer, "value")
    return box


def _place(node: Node) -> str:
    return f"chapter {node.notebook[:2]}, section {node.section}"
