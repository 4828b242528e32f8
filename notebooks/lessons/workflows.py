"""The three workflows of appendix B: `workflows.toml` lists their steps, their questions and their sections.

`notebooks/figures/flowcharts.py` draws them, the stepper of appendix B walks through them, and a test follows
every link.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
CHAPTER_NAMES: dict[str, str] = _TABLES["chapters"]


@dataclass(frozen=True)
class Node:
    """A step, or a question after a step.

    Attributes:
        text: what stands in the box.
        heading: heading of the section that does it, with its number: "5.11 Split without leaks".
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
    """The fragment of a heading in JupyterLab and nbconvert: spaces become hyphens, markup goes."""
    return quote(re.sub(r"[`*]", "", heading).replace(" ", "-"), safe="?/:@!$&'()*+,;=")


def link_to(heading: str) -> str:
    """Address of the section with this numbered heading, seen from the folder of the notebooks."""
    chapter = int(heading.split(".")[0])
    return f"{CHAPTER_NAMES[f'{chapter:02}']}#{anchor(heading)}"


def _node(entry: dict) -> Node:
    return Node(**entry | {"back": tuple(entry.get("back", {}).items())})


CHARTS = tuple(
    Chart(chart["name"], chart["title"], tuple(map(_node, chart["nodes"]))) for chart in _TABLES["charts"]
)
DEVELOPMENT, FINE_TUNING, APPLICATION = CHARTS
