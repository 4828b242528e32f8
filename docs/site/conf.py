"""The course as a site: Sphinx with myst-nb, from README, docs/ and the notebooks with their stored outputs.

`make site` builds it into build/site; nothing is executed, and no page asks a network for anything.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))
import pages

project = "Fine-tuning with PyTorch"
html_title = project
copyright = "the authors of the course, MIT licence"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "data/README.md",
    "docs/*.md",
    "notebooks/*.ipynb",
]
exclude_patterns = ["build", ".venv", "runs"]
html_theme = "furo"
html_copy_source = html_show_sourcelink = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_favicon = "favicon.svg"
html_math_renderer = "mathml"  # by setup() below

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # widgets need a kernel: their place says so
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
nb_output_stderr = "remove"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4


def prepare(app, docname: str, source: list[str]) -> None:
    """Change the text of a page before it is read."""
    source[0] = pages.prepared(docname, source[0])


def draw_formula(self, node) -> None:
    """A formula as MathML, which browsers draw without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    self.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def finish(app, error) -> None:
    """Lead links inside stored outputs to the pages of the site, and make the front page the site's first."""
    if error:
        return
    out = Path(app.outdir)
    ids = {f"notebooks/{name}": ids_of(app, f"notebooks/{name}") for name in pages.CHAPTERS}
    for file in (out / "notebooks").glob("*.html"):
        text = file.read_text(encoding="utf-8")
        text = re.sub(r'href="(\w+)\.ipynb(?:#([^"]*))?"', lambda m: page_link(m, ids), text)
        file.write_text(text, encoding="utf-8")
    (out / "index.html").write_bytes((out / "README.html").read_bytes())


def ids_of(app, docname: str) -> dict[str, str]:
    """The ids that Sphinx gave a page's headings, by their slugs."""
    return {name: found[1] for name, found in app.env.metadata[docname].get("myst_slugs", {}).items()}


def page_link(found: re.Match, ids: dict[str, dict[str, str]]) -> str:
    """A link to a notebook as one to its page, and to the heading where the page has it."""
    fragment = ids.get(f"notebooks/{found[1]}", {}).get(pages.slug(found[2] or ""), "")
    return f'href="{found[1]}.html{"#" if fragment else ""}{fragment}"'


def setup(app) -> None:
    formula = (draw_formula, None)
    app.add_html_math_renderer("mathml", inline_renderers=formula, block_renderers=formula)
    app.connect("source-read", prepare)
    app.connect("build-finished", finish)
