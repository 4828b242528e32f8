"""The map of the course, once as Mermaid (chapter 00's text) and once as SVG, both from the lists below.

After a change: `python notebooks/figures/course_map.py` writes course_map.svg and prints the Mermaid text for
chapter 00; tests/notebooks/test_course_map.py fails while the two, the chapters on disk and these lists
differ.
"""

import textwrap
from pathlib import Path

import drawing

SVG = Path(__file__).with_name("course_map.svg")
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
    ("09", "Language models", 3, 2),
    ("10", "Case study: instruction tuning", 3, 3),
    ("11", "Preference tuning", 2, 3),
    ("12", "Beyond one machine", 1, 3),
    ("A", "Tools and resources", 0, 2),
    ("B", "Flowcharts", 1, 2),
)
EDGES = (
    ("00", "01"),
    ("01", "02"),
    ("02", "03"),
    ("03", "04"),
    ("04", "05"),
    ("05", "06"),
    ("05", "07"),
    ("06", "08"),
    ("07", "08"),
    ("08", "09"),
    ("09", "10"),
    ("10", "11"),
    ("11", "12"),
)
WIDTH, HEIGHT, GAP_X, GAP_Y, LEFT, TOP = 190, 76, 50, 54, 16, 16
TITLE = "Map of the course"


def mermaid() -> str:
    """The map as Mermaid source."""
    lines = ["flowchart LR", "    accTitle: The chapters and the order in which to read them"]
    lines += [f'    c{number}["{number} {title}"]' for number, title, _, _ in CHAPTERS]
    lines += [f"    c{start} --> c{end}" for start, end in EDGES]
    lines += ["    classDef chapter fill:#cfe6f5,stroke:#0072b2,stroke-width:3px,color:#000"]
    lines += [f"    class {','.join(f'c{number}' for number, *_ in CHAPTERS)} chapter"]
    return "\n".join(lines)


def svg() -> str:
    """The map as an SVG document with a title and a description for screen readers."""
    width, height = LEFT * 2 + 4 * WIDTH + 3 * GAP_X, TOP + 4 * HEIGHT + 3 * GAP_Y + 56
    names = ", ".join(f"{number} {title}" for number, title, *_ in CHAPTERS)
    parts = [_edge(start, end) for start, end in EDGES]
    parts += [_node(number, title, *_corner(column, row)) for number, title, column, row in CHAPTERS]
    y = height - 18
    parts += [
        f'<path d="M{LEFT},{y - 5} h44" stroke="#333" stroke-width="2" fill="none" marker-end="url(#tip)"/>',
        f'<text class="legend" x="{LEFT + 54}" y="{y}" font-size="14">the order to read in; 06 and 07 stand '
        "side by side</text>",
        f'<text class="legend" x="{LEFT + 480}" y="{y}" font-size="14">A and B: to look things up at any '
        "time</text>",
    ]
    text = f"Fifteen chapters and the order to read them in: {names}."
    return drawing.document(width, height, parts, name="map", title=TITLE, text=text)


def _corner(column: int, row: int) -> tuple[int, int]:
    return LEFT + column * (WIDTH + GAP_X), TOP + row * (HEIGHT + GAP_Y)


def _node(number: str, title: str, x: int, y: int) -> str:
    labels = textwrap.wrap(f"{number} {title}", 20)
    texts = drawing.lines(labels, x + WIDTH / 2, y + HEIGHT / 2)
    rect = (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#cfe6f5" '
        'stroke="#0072b2" '
        'stroke-width="3"/>'
    )
    return (
        f'<g class="node" id="c{number}">{rect}<text text-anchor="middle" font-size="16">{texts}</text></g>'
    )


def _edge(start: str, end: str) -> str:
    places = {number: _corner(column, row) for number, _, column, row in CHAPTERS}
    (x0, y0), (x1, y1) = places[start], places[end]
    middle = HEIGHT / 2
    if x0 == x1:
        path = f"M{x0 + WIDTH / 2:g},{y0 + HEIGHT} V{y1 - 4}"
    elif x1 < x0 and y0 == y1:  # the last row goes back
        path = f"M{x0},{y0 + middle:g} H{x1 + WIDTH + 4}"
    elif x1 < x0:  # to the start of the next row
        path = f"M{x0 + WIDTH / 2:g},{y0 + HEIGHT} V{y0 + HEIGHT + GAP_Y / 2:g} H{x1 + WIDTH / 2:g} V{y1 - 4}"
    elif y0 == y1:
        path = f"M{x0 + WIDTH},{y0 + middle:g} H{x1 - 4}"
    elif y1 > y0:  # down into the next column
        path = f"M{x0 + WIDTH},{y0 + middle + 14:g} h{GAP_X / 2:g} V{y1 + middle:g} H{x1 - 4}"
    else:  # up into the next column
        path = f"M{x0 + WIDTH},{y0 + middle:g} h{GAP_X / 2:g} V{y1 + middle + 14:g} H{x1 - 4}"
    return (
        f'<path class="edge" data-from="c{start}" data-to="c{end}" d="{path}" fill="none" stroke="#333" '
        'stroke-width="2" marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    SVG.write_text(svg(), encoding="utf-8", newline="\n")
    print(mermaid())
