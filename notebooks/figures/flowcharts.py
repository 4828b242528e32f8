"""The three workflows of appendix B as SVG and as tables, both from notebooks/lessons/workflows.toml.

After a change of the list: `python notebooks/figures/flowcharts.py` writes the SVG files. After that, and
after a change of a heading: run appendix B, which shows picture, links and table.
"""

import base64
import html
import textwrap
from pathlib import Path

import drawing

from lessons.workflows import CHARTS, Chart

FOLDER = Path(__file__).parent
CENTRE, WIDTH, STEP, DIAMOND, GAP, TOP, LANE = 234, 620, (330, 46), (440, 84), 26, 14, 32
ONWARD, BACK = 'stroke="#333" stroke-width="2"', 'stroke="#d55e00" stroke-width="3" stroke-dasharray="7 5"'


def file(chart: Chart) -> Path:
    """Where the chart's drawing is kept."""
    return FOLDER / f"flowchart_{chart.name}.svg"


def edges(chart: Chart) -> list[tuple[int, int, str]]:
    """(number of the node it leaves, number of the node it reaches, answer or ""); the second is not larger
    on a way back.
    """
    numbers = {node.text: number for number, node in enumerate(chart.nodes)}
    onward = [(n, n + 1, node.onward) for n, node in enumerate(chart.nodes[:-1])]
    return onward + [
        (n, numbers[step], answer) for n, node in enumerate(chart.nodes) for answer, step in node.back
    ]


def table(chart: Chart) -> str:
    """The chart as an HTML table: what to do or ask, where the course does it, and what follows."""
    rows = []
    for node, label in zip(chart.nodes, chart.labels()):
        answers = [f"{node.onward}: go on"] if node.onward else []
        then = "; ".join(answers + [f"{answer}: back to {step}" for answer, step in node.back]) or "go on"
        if node is chart.nodes[-1] and not node.back:
            then = "done, until something changes"
        section = f'<a href="{html.escape(node.link)}">{node.notebook[:2]}: {html.escape(node.title)}</a>'
        cells = ("ask" if node.back else "do", html.escape(label), section, then)
        rows.append("".join(f'<td style="text-align:left;white-space:normal">{cell}</td>' for cell in cells))
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("", "what", "section", "then"))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def boxes(chart: Chart) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of each node's box in pixels."""
    places, y = [], TOP
    for node in chart.nodes:
        width, height = DIAMOND if node.back else STEP
        places.append((CENTRE - width / 2, y, width, height))
        y += height + GAP
    return places


def svg(chart: Chart) -> str:
    """The chart as an SVG document; a box of a step has the number of its section."""
    places = boxes(chart)
    height = int(places[-1][1] + places[-1][3] + TOP)
    parts = [*_onward(chart, places), *_back(chart, places)]
    for number, (node, label) in enumerate(zip(chart.nodes, chart.labels())):
        shape = (
            _question(label, *places[number]) if node.back else _step(label, node.section, *places[number])
        )
        parts.append(f'<g class="node" id="n{number}">{shape}</g>')
    return drawing.document(WIDTH, height, parts, name=chart.name, title=chart.title, text=description(chart))


def description(chart: Chart) -> str:
    """The chart in sentences, for readers who do not see it."""
    sentences = []
    for node, label in zip(chart.nodes, chart.labels()):
        answers = [f"{node.onward}, go on"] if node.onward else []
        answers += [f"{answer}, back to {step}" for answer, step in node.back]
        sentences.append(f"{label} {'; '.join(answers)}." if answers else f"{label}.")
    return " ".join(sentences)


def alt_text(chart: Chart) -> str:
    """What stands in for the picture."""
    return f"Flowchart: {chart.title}. {description(chart)}"


def page(chart: Chart) -> str:
    """The drawing as HTML with a link above each box.

    JupyterLab shows an SVG output as a picture, in which links are dead, and its handling of links stops with
    an error at those of an SVG inside a page. So the links lie above the picture; where styles are removed
    they follow it as a list.
    """
    places = boxes(chart)
    height = int(places[-1][1] + places[-1][3] + TOP)
    data = base64.b64encode(svg(chart).encode()).decode()
    links = "".join(
        f'<a href="{html.escape(node.link)}" title="{html.escape(node.title)}" '
        'style="position:absolute;color:transparent;overflow:hidden;'
        f"left:{100 * x / WIDTH:.2f}%;top:{100 * y / height:.2f}%;"
        f'width:{100 * w / WIDTH:.2f}%;height:{100 * h / height:.2f}%">'
        f"{html.escape(label)} </a>"
        for node, label, (x, y, w, h) in zip(chart.nodes, chart.labels(), places)
    )
    picture = (
        f'<img alt="{html.escape(alt_text(chart))}" src="data:image/svg+xml;base64,{data}" '
        'style="display:block;width:100%">'
    )
    return f'<div style="position:relative;max-width:{WIDTH}px">{picture}{links}</div>'


def show(chart: Chart) -> None:
    """Display the drawing with its links and its table in a notebook."""
    from IPython.display import display

    display({"text/html": page(chart) + table(chart), "text/plain": alt_text(chart)}, raw=True)


def _step(label: str, section: str, x: float, y: float, width: float, height: float) -> str:
    middle = y + height / 2 + 6
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="10" fill="#cfe6f5" '
        'stroke="#0072b2" stroke-width="3"/>'
        f'<text class="label" x="{x + 16:g}" y="{middle:g}" font-size="19" '
        f'font-weight="bold">{html.escape(label)}</text>'
        f'<text x="{x + width - 14:g}" y="{middle:g}" font-size="16" text-anchor="end">{section}</text>'
    )


def _question(label: str, x: float, y: float, width: float, height: float) -> str:
    corners = (
        f"{x + width / 2:g},{y:g} {x + width:g},{y + height / 2:g} {x + width / 2:g},{y + height:g} "
        f"{x:g},{y + height / 2:g}"
    )
    texts = drawing.lines(textwrap.wrap(label, 21), x + width / 2, y + height / 2 + 1, gap=19)
    return (
        f'<polygon points="{corners}" fill="#fff" stroke="#d55e00" stroke-width="3"/><text class="label" '
        f'text-anchor="middle" font-size="17">{texts}</text>'
    )


def _onward(chart: Chart, places: list) -> list[str]:
    """Arrows down the middle, with their answers."""
    parts = []
    for start, end, answer in (edge for edge in edges(chart) if edge[1] > edge[0]):
        y = places[start][1] + places[start][3]
        parts.append(_path(start, end, f"M{CENTRE},{y:g} V{places[end][1] - 3:g}", ONWARD))
        parts += [_answer(answer, CENTRE + 10, y + 18)] if answer else []
    return parts


def _back(chart: Chart, places: list) -> list[str]:
    """Ways back, in lanes on the right, the shortest nearest to the boxes."""
    back = sorted((edge for edge in edges(chart) if edge[1] <= edge[0]), key=lambda edge: edge[0] - edge[1])
    parts, lanes = [], []  # lanes: the spans of nodes beside which each is taken
    for edge in back:
        start, end, answer = edge
        lane = next(
            (n for n, spans in enumerate(lanes) if all(start < low or end > high for low, high in spans)),
            len(lanes),
        )
        lanes += [[]] if lane == len(lanes) else []
        lanes[lane].append((end, start))
        (x0, y0, w0, h0), (x1, y1, w1, h1) = places[start], places[end]
        leaving, arriving = [e for e in back if e[0] == start], [e for e in back if e[1] == end]
        shift = 24 * leaving.index(edge) - 12 * (
            len(leaving) - 1
        )  # two answers leave above and below the corner
        into = (
            y1 + h1 / 2 - 12 * arriving.index(edge) + 6 * (len(arriving) - 1)
        )  # the outer lane arrives above the inner one
        path = (
            f"M{x0 + w0 - abs(shift) * w0 / h0:g},{y0 + h0 / 2 + shift:g} "
            f"H{x0 + w0 + 60 + LANE * lane:g} "
            f"V{into:g} H{x1 + w1 + 3:g}"
        )
        parts.append(_path(start, end, path, BACK))
        parts.append(_answer(answer, x0 + w0 + 8, y0 + h0 / 2 + shift + (20 if shift > 0 else -7)))
    return parts


def _path(start: int, end: int, path: str, look: str) -> str:
    return (
        f'<path class="edge" data-from="n{start}" data-to="n{end}" d="{path}" fill="none" {look} '
        'marker-end="url(#tip)"/>'
    )


def _answer(text: str, x: float, y: float) -> str:
    return f'<text class="answer" x="{x:g}" y="{y:g}" font-size="16">{html.escape(text)}</text>'


if __name__ == "__main__":
    for chart in CHARTS:
        file(chart).write_text(svg(chart), encoding="utf-8", newline="\n")
