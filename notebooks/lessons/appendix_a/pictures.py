"""The picture of appendix A, with the sentence that stands in for it."""

from matplotlib.figure import Figure

from helpers import plots


def times(milliseconds: dict[str, float], rows: int) -> tuple[Figure, str]:
    """One bar per way to compute the same, slowest first.

    Args:
        milliseconds: name -> time of the fastest run.
        rows: how many rows each way worked through.
    """
    ordered = dict(sorted(milliseconds.items(), key=lambda entry: -entry[1]))
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    ax = figure.subplots()
    bars = ax.barh(list(ordered), list(ordered.values()), color=plots.BLUE, height=0.6)
    ax.bar_label(bars, [f"{value:.2f} ms" for value in ordered.values()], padding=3)
    ax.set(xlabel=f"time for {rows:,} rows (ms), fastest of 7", xlim=(0, 1.25 * max(ordered.values())))
    ax.invert_yaxis()
    return figure, (
        "Four bars of milliseconds for the same means: three are of the same order, NumPy from numbers is by "
        "far the shortest."
    )
