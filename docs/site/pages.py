"""What the site changes of a page's text before Sphinx reads it.

Nothing here needs Sphinx, which the learner's environment does not have, so tests can call it there.
"""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import mermaid

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
DOCS = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
MERMAID = re.compile(r"```mermaid\n(.*?)```", flags=re.DOTALL)
HEADING_LINK = re.compile(r"(\]\((?:[\w./]*\.ipynb)?#)((?:[^()\s\\]|\([^()\s]*\))+)\)")
WIDGET = "application/vnd.jupyter.widget-view+json"


def contents() -> str:
    """The table of contents, for the end of the front page: chapters, then the kit, then the project."""
    groups = {
        "Chapters": [f"notebooks/{name}" for name in CHAPTERS],
        "For teachers and readers": [f"docs/{name}" for name in DOCS],
        "The project": ["data/README", "CHANGELOG", "CODE_OF_CONDUCT"],
    }
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in groups.items()
    )


def slug(fragment: str) -> str:
    """JupyterLab's fragment of a heading as MyST and GitHub write it: "0.1-A-taste" -> "01-a-taste"."""
    return re.sub(r"[^\w-]", "", unquote(fragment).lower())


def prepared(docname: str, text: str) -> str:
    """The text of a page as Sphinx shall read it: contents at the end of the first page, links that find
    their headings, charts drawn.
    """
    if docname == "README":
        text += contents()
    text = HEADING_LINK.sub(lambda found: f"{found[1]}{slug(found[2])})", text)
    if docname.startswith("notebooks/"):
        return json.dumps(prepared_notebook(json.loads(text)))
    return MERMAID.sub(lambda found: mermaid.figure(found[1]), text)


def prepared_notebook(book: dict) -> dict:
    """A notebook without what no page can show: Mermaid (the same map follows as a picture) and widgets."""
    book["metadata"].pop("widgets", None)
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(MERMAID.pattern + r"\n\nWhere Mermaid[^\n]*", "", source, flags=re.DOTALL)
            continue
        if "environment.set_up()" in source:  # how a notebook finds the course: folded
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
        cell["outputs"] = [one for one in map(without_widget, cell["outputs"]) if one]
    return book


def without_widget(output: dict) -> dict | None:
    """An output as it is, a sentence for a widget, nothing for a bar of progress."""
    data = output.get("data", {})
    if WIDGET not in data:
        return output
    if re.search(r"\d+%\|", "".join(data.get("text/plain", ""))):
        return None
    text = "A widget: open the notebook in JupyterLab to use it."
    return {"output_type": "display_data", "metadata": {}, "data": {"text/plain": text}}
