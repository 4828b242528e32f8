"""The three workflows of appendix B, and the addresses of the course's sections by their numbers.

`workflows.toml` lists the steps, the questions and their sections; `notebooks/figures/flowcharts.py` draws
them, the stepper of appendix B walks through them, and a test follows every link.
"""

import functools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from helpers.errors import InputError

NOTEBOOKS = Path(__file__).parents[1]
_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@functools.cache
def headings(notebook: str) -> tuple[str, ...]:
    """The headings in the Markdown cells of a notebook of the course, without their leading marks."""
    book = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))
    texts = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown"]
    prose = re.sub(  # a comment in code is no heading
        r"^```.*?^```", "", "\n".join(texts), flags=re.DOTALL | re.MULTILINE
    )
    return tuple(re.findall(r"^#{1,6} +(.+?) *$", prose, flags=re.MULTILINE))


def anchor(heading: str) -> str:
    """The fragment of a heading in JupyterLab and nbconvert: spaces become hyphens, markup goes."""
    return quote(re.sub(r"[`*]", "", heading).replace(" ", "-"), safe="?/:@!$&'()*+,;=")


def notebook_of(section: str) -> str:
    """File name of the notebook with this section: "5.11" stands in chapter 05, "A.2" in appendix A.

    Raises InputError: no notebook of the course begins with that number.
    """
    chapter = section.partition(".")[0].zfill(2) if section[:1].isdigit() else section[:1]
    found = sorted(NOTEBOOKS.glob(f"{chapter}_*.ipynb"))
    if not found:
        raise InputError(f"section {section!r}: no notebook of the course begins with {chapter}_")
    return found[0].name


def heading_of(section: str) -> str:
    """The heading with this number as its notebook has it today: "5.11 Split without leaks · core".

    Raises InputError: the notebook has no heading with this number.
    """
    notebook = notebook_of(section)
    found = [heading for heading in headings(notebook) if heading.split()[0] == section]
    if not found:
        raise InputError(f"section {section}: {notebook} has no heading that begins with {section}")
    return found[0]


def title_of(section: str) -> str:
    """The heading with this number, without its mark core or optional: "5.11 Split without leaks"."""
    return heading_of(section).partition(" · ")[0]


def link_to(section: str) -> str:
    """Address of the section with this number, seen from the folder of the notebooks."""
    return f"{notebook_of(section)}#{anchor(heading_of(section))}"


@dataclass(frozen=True)
class Node:
    """A step, or a question after a step.

    Attributes:
        text: what stands in the box.
        section: number of the section that does it: "5.11".
        onward: the answer that leads to the next node; empty for a step.
        back: pairs (answer, text of the step to return to); empty for a step.
    """

    text: str
    section: str
    onward: str = ""
    back: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """Number and title of the section: "5.11 Split without leaks"."""
        return title_of(self.section)

    @property
    def notebook(self) -> str:
        """File name of the section's notebook."""
        return notebook_of(self.section)

    @property
    def link(self) -> str:
        """Address of the section, seen from the folder of the notebooks."""
        return link_to(self.section)


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


def _node(entry: dict) -> Node:
    return Node(**entry | {"back": tuple(entry.get("back", {}).items())})


CHARTS = tuple(
    Chart(chart["name"], chart["title"], tuple(map(_node, chart["nodes"]))) for chart in _TABLES["charts"]
)
DEVELOPMENT, FINE_TUNING, APPLICATION = CHARTS
