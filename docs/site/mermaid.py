"""A small part of Mermaid, drawn without a browser: boxes in rows, an arrow for each `-->`.

The course's charts need no more: `id["label"]`, `subgraph ... end`, chains of `a --> b`. What a box leads to
stands in a row above it (`flowchart BT`); an arrow to a subgraph leads to its lowest box.
"""

import html
import re
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks" / "figures"))
import drawing

NODE = re.compile(r'(\w+)(?:\["([^"]+)"\])?')
HEIGHT, GAP, WIDTH, LETTER = 36, 30, 760, 7.6  # pixels


def read(source: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The labels of the boxes by their ids, and the arrows as pairs of ids.

    Raises ValueError: a line is none of those that are understood.
    """
    labels, arrows, groups, group = {}, [], {}, None
    for line in map(str.strip, source.strip().splitlines()):
        if line.startswith("subgraph "):
            group = line.split()[1]
            groups[group] = []
        elif line == "end":
            group = None
        elif re.fullmatch(rf"{NODE.pattern}(?: --> {NODE.pattern})*", line) and " " in line:
            found = [NODE.fullmatch(part) for part in line.split(" --> ")]
            for name, label in (match.groups() for match in found):
                if name not in groups:
                    labels[name] = label or labels.get(name, name)
                    groups.get(group, []).append(name)
            arrows += [(start[1], end[1]) for start, end in pairwise(found)]
        elif line not in ("flowchart BT", "direction BT"):
            raise ValueError(f"docs: a chart has the line {line!r}; expected boxes and arrows (-->)")
    targets = {end for _, end in arrows}
    lowest = {name: next(box for box in boxes if box not in targets) for name, boxes in groups.items()}
    return labels, [(start, lowest.get(end, end)) for start, end in arrows]


def rows(labels: dict[str, str], arrows: list[tuple[str, str]]) -> dict[str, int]:
    """The row of each box: one more than the highest box that it leads to."""

    def row(name: str) -> int:
        return max((row(end) + 1 for start, end in arrows if start == name), default=0)

    return {name: row(name) for name in labels}


def figure(source: str) -> str:
    """The chart as an SVG element for a page.

    Raises ValueError: it has a line that is not understood.
    """
    labels, arrows = read(source)
    row_of = rows(labels, arrows)
    places, parts = {}, []
    for row in range(max(row_of.values()) + 1):
        names = [name for name in labels if row_of[name] == row]
        for number, name in enumerate(names):
            places[name] = (WIDTH * (2 * number + 1) / (2 * len(names)), row * (HEIGHT + GAP) + 6)
    for start, end in arrows:
        (x0, y0), (x1, y1) = places[start], places[end]
        parts.append(
            f'<path d="M{x0:g},{y0} L{x1:g},{y1 + HEIGHT + 3}" stroke="#333" stroke-width="2" fill="none" '
            'marker-end="url(#tip)"/>'
        )
    for name, (x, y) in places.items():
        width = LETTER * len(labels[name]) + 24
        parts.append(
            f'<rect x="{x - width / 2:g}" y="{y}" width="{width:g}" height="{HEIGHT}" rx="8" fill="#cfe6f5" '
            f'stroke="#0072b2" stroke-width="2"/><text x="{x:g}" y="{y + HEIGHT / 2 + 5:g}" font-size="14" '
            f'text-anchor="middle" fill="#000">{html.escape(labels[name])}</text>'
        )
    said = "; ".join(f"{labels[start]} to {labels[end]}" for start, end in arrows)
    height = (max(row_of.values()) + 1) * (HEIGHT + GAP)
    return drawing.document(WIDTH, height, parts, name="chart", title="Chart", text=f"Arrows: {said}.")
