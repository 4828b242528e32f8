"""The map of the course, once as Mermaid (chapter 00's text) and once as SVG, both from the lists below.

After a change: `python notebooks/figures/course_map.py` writes course_map.svg and prints the Mermaid text for chapter 00;
tests/notebooks/test_course_map.py fails while the two, the chapters on disk and these lists differ.
"""

import html
import textwrap
from pathlib import Path

SVG = Path(__file__).with_name("course_map.svg")
READY = ("00", "01", "02", "03", "04", "07", "08")
# (number, title, column, row) of the drawing
CHAPTERS = (
    ("00", "Start here", 0, 0),
    ("01", "Large models", 1, 0),
    ("02", "Datasets and DataLoaders", 2, 0),
    ("03", "Training loops", 3, 0),
    ("04", "Fine-tuning strategies", 0, 1),
    ("05", "Custom datasets", 1, 1),
    ("06", "Case study: images", 2, 2),
    ("07", "Case study: sentiment", 2, 1),
    ("08", "Outlook", 3, 1),
    ("A", "Tools and resources", 0, 2),
    ("B", "Flowcharts", 1, 2),
)
# "along": the road from the first chapter to the last; "today": a way round chapters in preparation
EDGES = (
    ("00", "01", "along"),
    ("01", "02", "along"),
    ("02", "03", "along"),
    ("03", "04", "along"),
    ("04", "05", "along"),
    ("05", "06", "along"),
    ("05", "07", "along"),
    ("06", "08", "along"),
    ("07", "08", "along"),
    ("04", "07", "today"),
)
WIDTH, HEIGHT, GAP_X, GAP_Y, LEFT, TOP = 190, 76, 50, 54, 16, 16
TITLE = "Map of the course"


def status(number: str) -> str:
    """ "ready" or "in preparation"."""
    return "ready" if number in READY else "in preparation"


def mermaid() -> str:
    """The map as Mermaid source."""
    lines = ["flowchart LR"]
    lines += [f'    c{number}["{number} {title}<br/>{status(number)}"]' for number, title, _, _ in CHAPTERS]
    lines += [f"    c{start} {'-->' if kind == 'along' else '-.->'} c{end}" for start, end, kind in EDGES]
    lines += ["    classDef ready fill:#cfe6f5,stroke:#0072b2,stroke-width:3px,color:#000"]
    lines += ["    classDef later fill:#fff,stroke:#777,stroke-dasharray:5 4,color:#000"]
    lines += [f"    class {','.join(f'c{n}' for n, *_ in CHAPTERS if (n in READY) == ready)} {name}" for ready, name in ((True, "ready"), (False, "later"))]  # fmt: skip
    return "\n".join(lines)


def svg() -> str:
    """The map as an SVG document with a title and a description for screen readers."""
    width, height = LEFT * 2 + 4 * WIDTH + 3 * GAP_X, TOP + 3 * HEIGHT + 2 * GAP_Y + 56
    ready = ", ".join(f"{number} {title}" for number, title, *_ in CHAPTERS if number in READY)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="width:100%;max-width:{width}px;height:auto" role="img" '
        'aria-labelledby="map-title map-text" font-family="Helvetica, Arial, sans-serif">',
        f'<title id="map-title">{TITLE}</title>',
        f'<desc id="map-text">Eleven chapters and the order to read them in. Ready: {html.escape(ready)}.</desc>',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="12" markerHeight="12" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0,0 L10,5 L0,10 z" fill="#333"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    parts += [_edge(start, end, kind) for start, end, kind in EDGES]
    parts += [_node(number, title, *_corner(column, row)) for number, title, column, row in CHAPTERS]
    y = height - 18
    parts += [
        f'<path d="M{LEFT},{y - 5} h44" stroke="#333" stroke-width="2" fill="none" marker-end="url(#tip)"/>',
        f'<text class="legend" x="{LEFT + 54}" y="{y}" font-size="14">the whole course</text>',
        f'<path d="M{LEFT + 230},{y - 5} h44" stroke="#d55e00" stroke-width="3" stroke-dasharray="7 5" fill="none" marker-end="url(#tip)"/>',
        f'<text class="legend" x="{LEFT + 284}" y="{y}" font-size="14">the way round what is not ready yet</text>',
        f'<text class="legend" x="{LEFT + 570}" y="{y}" font-size="14">A and B: to look things up at any time</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _corner(column: int, row: int) -> tuple[int, int]:
    return LEFT + column * (WIDTH + GAP_X), TOP + row * (HEIGHT + GAP_Y)


def _node(number: str, title: str, x: int, y: int) -> str:
    box = (
        'fill="#cfe6f5" stroke="#0072b2" stroke-width="3"'
        if number in READY
        else 'fill="#fff" stroke="#777" stroke-dasharray="5 4"'
    )
    lines = [*textwrap.wrap(f"{number} {title}", 21), status(number)]
    first = y + HEIGHT / 2 + 5 - 10 * (len(lines) - 1)
    small = ' font-size="13" font-style="italic"'
    texts = "".join(
        f'<tspan x="{x + WIDTH / 2:g}" y="{first + 20 * i:g}"{small if i == len(lines) - 1 else ""}>{html.escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    rect = f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="10" {box}/>'
    return (
        f'<g class="node" id="c{number}">{rect}<text text-anchor="middle" font-size="16">{texts}</text></g>'
    )


def _edge(start: str, end: str, kind: str) -> str:
    places = {number: _corner(column, row) for number, _, column, row in CHAPTERS}
    (x0, y0), (x1, y1) = places[start], places[end]
    middle = HEIGHT / 2
    if kind == "today" and y0 == y1:  # under the boxes between
        path = f"M{x0 + WIDTH / 2:g},{y0 + HEIGHT} v{GAP_Y / 2:g} H{x1 + WIDTH / 2:g} V{y1 + HEIGHT + 4}"
    elif x0 == x1:
        path = f"M{x0 + WIDTH / 2:g},{y0 + HEIGHT} V{y1 - 4}"
    elif x1 < x0:  # to the start of the next row
        path = f"M{x0 + WIDTH / 2:g},{y0 + HEIGHT} V{y0 + HEIGHT + GAP_Y / 2:g} H{x1 + WIDTH / 2:g} V{y1 - 4}"
    elif y0 == y1:
        path = f"M{x0 + WIDTH},{y0 + middle:g} H{x1 - 4}"
    elif y1 > y0:  # down into the next column
        path = f"M{x0 + WIDTH},{y0 + middle + 14:g} h{GAP_X / 2:g} V{y1 + middle:g} H{x1 - 4}"
    else:  # up into the next column
        path = f"M{x0 + WIDTH},{y0 + middle:g} H{x1 + WIDTH / 2:g} V{y1 + HEIGHT + 4}"
    line = (
        'stroke="#d55e00" stroke-width="3" stroke-dasharray="7 5"'
        if kind == "today"
        else 'stroke="#333" stroke-width="2"'
    )
    return f'<path class="edge" data-from="c{start}" data-to="c{end}" d="{path}" fill="none" {line} marker-end="url(#tip)"/>'


if __name__ == "__main__":
    SVG.write_text(svg(), encoding="utf-8", newline="\n")
    print(mermaid())
