"""Slides of every chapter from its notebook, one HTML file each, and a page that lists them.

python docs/slides/make_slides.py [--output build/slides] [notebooks ...]

A file holds all that it needs (pictures, formulas, style, keys) and asks no network for anything. The browser
cuts what does not fit 1280 x 720 into further slides, because only it knows the fonts of its machine.
"""

import argparse
import base64
import html
import io
import math
import re
import sys
from pathlib import Path

import matplotlib
import mistune
from matplotlib import mathtext
from mistune.plugins.math import math as formulas
from mistune.plugins.table import table, table_in_list
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from topics import Block, Topic, topics

from helpers.errors import InputError
from helpers.files import ROOT, write_atomically

HERE = Path(__file__).parent
NOTEBOOKS = ROOT / "notebooks"
PYTHON = HtmlFormatter(nowrap=True, style="xcode")
SIZES = ((90, ""), (100, "wide"), (math.inf, "wider"))  # of code: characters of its longest line, class
matplotlib.rcParams["svg.hashsalt"] = "slides"  # the same file from the same notebook


def formula(latex: str, *, size: int) -> str:
    """A formula as an SVG element with its LaTeX as its label, by matplotlib's mathtext.

    Raises InputError: mathtext cannot read it.
    """
    plain = re.sub(r"\\[bB]ig+(?=[^a-zA-Z])", "", latex)  # mathtext knows no larger brackets,
    named = re.search(r"\\underbrace\{(.*)\}_\{(\\text\{\w+\})\}", plain)  # and no brace with a name
    if named:
        plain = plain.replace(named[0], named[2])
        plain += rf", \quad {named[2]} = {named[1]}"
    target = io.BytesIO()
    try:
        mathtext.math_to_image(f"${plain.strip()}$", target, format="svg")
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the formula {latex!r} cannot be drawn: {reason}") from error
    found = re.search(r'<svg.*?width="([\d.]+)pt".*', target.getvalue().decode(), flags=re.DOTALL)
    width = float(found[1]) / 10  # in em: mathtext drew it at 10 points
    label = html.escape(latex.strip(), quote=True)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", found[0], flags=re.DOTALL)
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{label}" style="width:{width * size}px"', 1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn))


class Slide(mistune.HTMLRenderer):
    """Markdown as slides show it: formulas drawn, links to chapters leading to their slides."""

    def block_math(self, text):
        drawn = formula(text.replace(r"\frac", r"\dfrac"), size=30)
        return f'<div class="formula">{drawn}</div>'

    def inline_math(self, text):
        return f'<span class="formula">{formula(text, size=26)}</span>'

    def link(self, text, url, title=None):
        if url.startswith(("https:", "http:")):
            return super().link(text, url, title)
        file = url.partition("#")[0]
        if not re.fullmatch(r"\w+\.ipynb", file):
            return text
        return f'<a href="{file.removesuffix(".ipynb")}.slides.html">{text}</a>'


markdown = mistune.Markdown(Slide(escape=True), plugins=[table, table_in_list, formulas])


def block_html(block: Block) -> str:
    """The HTML element of one piece of a slide."""
    if block.kind in ("code", "printed"):
        longest = max(map(len, block.content.splitlines()))
        size = next(name for characters, name in SIZES if longest <= characters)
        is_code = block.kind == "code"
        text = highlight(block.content, PythonLexer(), PYTHON) if is_code else html.escape(block.content)
        return f'<pre class="{block.kind} {size}">{text.rstrip()}</pre>'
    if block.kind == "picture":
        return f'<figure><img src="{block.content}" alt="{html.escape(block.alt, quote=True)}"></figure>'
    if block.kind == "html":
        return made_html(block.content)
    return f'<div class="{block.kind}">{markdown(block.content)}</div>'


def made_html(content: str) -> str:
    """A table or picture that a cell made, without scripts and styles; of a drawing with links over it the
    drawing.
    """
    plain = re.sub(r"<style.*?</style>|<script.*?</script>", "", content, flags=re.DOTALL)
    image = re.search(r'<img alt="([^"]*)" [^>]*src="(data:image/svg\+xml;base64,([^"]*))"', plain)
    if not image:
        plain = plain.replace('border="1"', "")
        return re.sub(r'href="(\w+)\.ipynb[^"]*"', r'href="\1.slides.html"', plain)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', base64.b64decode(image[3]).decode())
    size = f' width="{box[1]}" height="{box[2]}"' if box else ""  # a browser does not know it by itself
    table = re.search(r"<table.*</table>", plain, flags=re.DOTALL)
    rest = made_html(table[0]) if table else ""
    return f'<figure><img alt="{image[1]}" src="{image[2]}"{size}></figure>{rest}'


def topic_html(topic: Topic) -> str:
    """One section for a topic: heading, pieces; the browser cuts it where it is too long."""
    level = "h1" if topic.kind == "title" else "h2"
    heading = mistune.html(topic.title).strip().removeprefix("<p>").removesuffix("</p>")
    part = f'<p class="part">{html.escape(topic.section)}</p>' if topic.section else ""
    mark = '<p class="mark">Guess first</p>' if topic.kind == "guess" else ""
    groups = ["\n".join(map(block_html, group)) for group in topic.groups]
    body = "\n".join(f'<div class="group">{group}</div>' for group in groups)
    return (
        f'<section class="{topic.kind}">{part}<{level}>{heading}</{level}>{mark}<div class="body">\n{body}\n'
        "</div></section>"
    )


def page(title: str, body: str, *, script: str = "") -> str:
    """A whole HTML page with the slides' style in it."""
    style = (HERE / "slides.css").read_text(encoding="utf-8") + PYTHON.get_style_defs(".code")
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head>\n<body>\n{body}\n{script}</body>\n</html>\n"
    )


def deck(notebook: Path) -> tuple[str, list[Topic]]:
    """The HTML page of a chapter's slides, and its topics.

    Raises InputError: no notebook, or a formula that cannot be drawn.
    """
    found = topics(notebook)
    sections = "\n".join(map(topic_html, found))
    keys = "<nav><button id=back aria-label='previous slide'>&#8592;</button><output></output><button id=on "
    keys += "aria-label='next slide'>&#8594;</button> <a href='index.html'>all chapters</a></nav>"
    script = f"<script>\n{(HERE / 'slides.js').read_text(encoding='utf-8')}</script>"
    return page(found[0].title, f"<main>\n{sections}\n</main>\n{keys}", script=script), found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "slides")
    options = parser.parse_args(arguments)
    try:
        made = {path: deck(path) for path in options.notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = []
    for path, (content, found) in made.items():
        file = options.output / f"{path.stem}.slides.html"
        write_atomically(file, content.encode(), make_folder=True)
        rows.append(f'<li><a href="{file.name}">{html.escape(found[0].title)}</a></li>')
        print(f"{file.name}: {len(found)} topics, {len(content) / 1e6:.1f} MB")
    help_line = "<p>Arrow keys or a click turn the slides; printing one (Ctrl+P) gives a PDF.</p>"
    index = f'<div class="index"><h1>Slides</h1>{help_line}<ul>{"".join(rows)}</ul></div>'
    write_atomically(options.output / "index.html", page("Slides", index).encode())
    print(f"open {options.output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
