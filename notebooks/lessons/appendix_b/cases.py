"""Cases of appendix B: what somebody sees after a step, and the box that comes next."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from helpers import plots


@dataclass(frozen=True)
class Case:
    """One moment of a project.

    Attributes:
        workflow: name of the chart.
        seen: what is known; curves of the case are in `CURVES`.
        box: the step that comes next.
        because: what speaks for it, for somebody who chose another one.
    """

    workflow: str
    seen: str
    box: str
    because: str


# Drawn for the exercise: loss of training and validation after each of eight epochs.
CURVES = {
    "A": (
        (2.30, 2.31, 2.30, 2.30, 2.29, 2.31, 2.30, 2.30),
        (2.30, 2.30, 2.31, 2.30, 2.30, 2.30, 2.31, 2.30),
    ),
    "B": (
        (1.90, 1.20, 0.70, 0.40, 0.22, 0.12, 0.07, 0.04),
        (1.95, 1.60, 1.45, 1.42, 1.50, 1.62, 1.75, 1.88),
    ),
    "C": (
        (2.10, 1.55, 1.30, 1.18, 1.12, 1.09, 1.07, 1.06),
        (2.12, 1.60, 1.37, 1.25, 1.20, 1.17, 1.16, 1.15),
    ),
}
CASES = {
    "A": Case(
        "development",
        "Curve A: ten classes, so always guessing costs about 2.3.",
        "Train",
        "nothing is learnt at all, so neither rows nor network have been tried: the rate, the loop",
    ),
    "B": Case(
        "development",
        "Curve B: 300 rows, and one epoch takes a second.",
        "Collect",
        "the network knows its rows by heart and validation grows worse: it needs more of them",
    ),
    "C": Case(
        "development",
        "Curve C. Macro-F1 on validation is 0.61; TF-IDF with a linear model has 0.66.",
        "Clean",
        "it learns and does not over-fit, and a simple method is better: read the errors, the labels first",
    ),
    "D": Case(
        "fine-tuning",
        "Three classes, a fresh head. The first loss is 41; at random it would be about 1.1.",
        "Adapt the head",
        "the loss of a fresh head is known in advance, so no learning rate is to blame",
    ),
    "E": Case(
        "fine-tuning",
        "All weights, trained: macro-F1 0.58 on validation. A frozen network with a new head has 0.60.",
        "Tune",
        "a frozen network is the baseline here, and it is not beaten yet",
    ),
    "F": Case(
        "application",
        "Comments are twice as long as in training, and nobody has labelled any of them.",
        "Measure on new labels",
        "a drift says that the inputs differ, not that the answers are worse: that must be measured",
    ),
    "G": Case(
        "application",
        "Comments are twice as long. 400 fresh labels: macro-F1 0.74 to 0.81; success was 0.70.",
        "Monitor",
        "the whole interval lies above the success that was written down: no new model is needed",
    ),
    "H": Case(
        "application",
        "Version 2 is out for an hour. Inputs as ever; errors rose from one answer in 5,000 to one in 20.",
        "Deploy",
        "the last good version can be back in a minute; look for the cause after that",
    ),
    "I": Case(
        "application",
        "Validation fell short of the success written down, and people agree on the labels.",
        "Data",
        "the test rows stay shut; the chart leads from this question to the rows",
    ),
}


def tell() -> None:
    """Print what is seen in every case."""
    for name, case in CASES.items():
        print(f"{name} ({case.workflow}): {case.seen}")


def curves() -> tuple[Figure, str]:
    """The three curves, and the sentence that stands in for them."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for ax, (name, (training, validation)) in zip(figure.subplots(1, 3, sharey=True), CURVES.items()):
        epochs = range(1, len(training) + 1)
        ax.plot(epochs, training, color=plots.BLUE, marker="o", label="training")
        ax.plot(epochs, validation, color=plots.VERMILION, marker="s", linestyle="--", label="validation")
        ax.set(title=f"curve {name}", xlabel="epoch", ylim=(0, 2.5))
    figure.axes[0].set_ylabel("loss")
    figure.axes[-1].legend(frameon=False, loc="lower left")
    return figure, (
        "Three pairs of loss curves. A: both stay at 2.3. B: training falls to nearly 0, validation falls to "
        "1.4 and rises to 1.9. C: both fall together and end near 1.1."
    )
