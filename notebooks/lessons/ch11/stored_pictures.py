"""The figures of the stored results of chapter 11: one per question."""

from matplotlib.figure import Figure

from helpers import plots
from lessons.ch11 import results


def runs(found: dict) -> tuple[Figure | None, str]:
    return None, results.MISSING


def rewards(found: dict, reward: str) -> tuple[Figure | None, str]:
    return None, results.MISSING


def hacking(found: dict) -> tuple[Figure | None, str]:
    return None, results.MISSING


def control(found: dict) -> tuple[Figure | None, str]:
    return None, results.MISSING


def show(drawn: tuple[Figure | None, str]) -> None:
    """Display a figure with its sentence as alt text, and print that; without data the sentence alone."""
    figure, sentence = drawn
    if figure is not None:
        plots.show(figure, sentence, dpi=150)
    print(sentence)
