"""The three workflows of appendix B as lists: their steps, their questions, and the section of the course
that does each.

`notebooks/figures/flowcharts.py` draws them, the stepper of appendix B walks through them, and a test follows
every link.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

CHAPTER_NAMES = {
    "00": "00_start_here.ipynb",
    "01": "01_large_models.ipynb",
    "02": "02_datasets_and_dataloaders.ipynb",
    "03": "03_training_loops.ipynb",
    "04": "04_fine_tuning_strategies.ipynb",
    "05": "05_custom_datasets.ipynb",
    "06": "06_image_case_study.ipynb",
    "07": "07_sentiment_case_study.ipynb",
    "08": "08_outlook.ipynb",
}


@dataclass(frozen=True)
class Node:
    """A step, or a question after a step.

    Attributes:
        text: what stands in the box.
        heading: of the section that does it, as written there, with its number: "5.11 Split without leaks".
        onward: the answer that leads to the next node; empty for a step.
        back: pairs (answer, text of the step to return to); empty for a step.
    """

    text: str
    heading: str
    onward: str = ""
    back: tuple[tuple[str, str], ...] = ()

    @property
    def section(self) -> str:
        """Number of the section: "5.11"."""
        return self.heading.split()[0]

    @property
    def notebook(self) -> str:
        """File name of the section's notebook."""
        return self.link.partition("#")[0]

    @property
    def link(self) -> str:
        """Address of the section, seen from the folder of the notebooks."""
        return link_to(self.heading)


@dataclass(frozen=True)
class Chart:
    """One workflow: a short name, a title, and its nodes from the first to the last."""

    name: str
    title: str
    nodes: tuple[Node, ...]

    @property
    def steps(self) -> list[str]:
        """The texts of the steps, without the questions."""
        return [node.text for node in self.nodes if not node.back]

    def labels(self) -> list[str]:
        """What stands in the boxes: "1 Collect" for a step, the bare text for a question."""
        return [
            node.text if node.back else f"{self.steps.index(node.text) + 1} {node.text}"
            for node in self.nodes
        ]


def anchor(heading: str) -> str:
    """The fragment that leads to a heading in JupyterLab and in nbconvert's pages: spaces become hyphens,
    markup goes.
    """
    return quote(re.sub(r"[`*]", "", heading).replace(" ", "-"), safe="?/:@!$&'()*+,;=")


def link_to(heading: str) -> str:
    """Address of the section with this numbered heading, seen from the folder of the notebooks."""
    chapter = int(heading.split(".")[0])
    return f"{CHAPTER_NAMES[f'{chapter:02}']}#{anchor(heading)}"


DEVELOPMENT = Chart(
    "development",
    "From an idea to a model of your own",
    (
        Node("Collect", "5.1 Collect: three ways to get rows"),
        Node("May you use it?", "5.2 Scrape politely", "yes", (("no", "Collect"),)),
        Node("Clean", "5.6 Duplicates: exact, normalised, near"),
        Node(
            "Would people agree on the labels?", "5.10 Ask how far people agree", "yes", (("no", "Collect"),)
        ),
        Node("Split", "5.11 Split without leaks"),
        Node("Augment", "5.12 Augment pictures"),
        Node("Preprocess", "2.5 Scale, standardise, augment"),
        Node("Design", "3.9 Three architectures against their baselines"),
        Node("Train", "3.8 The whole loop, by hand, and as you will import it"),
        Node("Does the training loss fall?", "3.10 The learning rate", "yes", (("no", "Train"),)),
        Node(
            "Validation much worse than training?",
            "3.14 Over-fitting and under-fitting",
            "no",
            (("yes", "Augment"),),
        ),
        Node("Evaluate", "6.5 Train, validate, keep the best"),
        Node("Better than the baseline?", "7.7 A ladder of baselines", "yes", (("no", "Clean"),)),
        Node("Test once", "6.6 Test once"),
        Node("Deploy", "8.7 Serve it under load"),
    ),
)

FINE_TUNING = Chart(
    "fine-tuning",
    "From pretrained weights to your task",
    (
        Node("Choose", "4.1 Choose: what did the model learn, and from what?"),
        Node(
            "Do licence and pretraining data fit?",
            "4.1 Choose: what did the model learn, and from what?",
            "yes",
            (("no", "Choose"),),
        ),
        Node("Adapt the head", "4.3 Adapt the head"),
        Node("Preprocess", "4.4 Preprocess as in pretraining"),
        Node(
            "Is the first loss about ln(classes)?", "4.3 Adapt the head", "yes", (("no", "Adapt the head"),)
        ),
        Node("Tune", "4.5 The learning rate over time"),
        Node("Is the loss unstable?", "4.6 How high? The range test", "no", (("yes", "Tune"),)),
        Node("Evaluate", "4.11 Evaluate: does it save time and data?"),
        Node(
            "Better than a frozen network?",
            "4.11 Evaluate: does it save time and data?",
            "yes",
            (("no", "Tune"),),
        ),
        Node("Optimise", "8.4 Dynamic int8: a byte per weight"),
        Node(
            "Small, fast, and the same labels?",
            "8.6 The frontier: what to ship",
            "yes",
            (("no", "Optimise"),),
        ),
        Node("Test once", "7.9 Open the test set, once"),
        Node("Deploy", "7.16 Ship it: export, and prove that nothing changed"),
    ),
)

APPLICATION = Chart(
    "application",
    "From a need to a service that is watched",
    (
        Node("Scenario", "7.1 The scenario, and what success would be"),
        Node("Data", "7.2 Look at the data first"),
        Node("Can people do it?", "7.6 How good are people?", "yes", (("no", "Scenario"),)),
        Node("Model", "7.8 The head and the loop"),
        Node("Train", "7.8 The head and the loop"),
        Node("Evaluate", "7.7 A ladder of baselines"),
        Node(
            "Is it the success you wrote down?",
            "7.1 The scenario, and what success would be",
            "yes",
            (("no", "Data"),),
        ),
        Node("Test once", "7.9 Open the test set, once"),
        Node("Deploy and monitor", "7.17 Serve it, and ask it badly"),
        Node(
            "Have the inputs drifted?",
            "7.18 Monitor: when the comments change",
            "",
            (("no", "Deploy and monitor"), ("yes", "Data")),
        ),
    ),
)

CHARTS = (DEVELOPMENT, FINE_TUNING, APPLICATION)
