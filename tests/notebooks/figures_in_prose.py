"""The figures that a notebook's prose states, and what stands behind each of them."""

import html
import json
import re
import tomllib
from pathlib import Path

FACTS = tomllib.loads((Path(__file__).parent / "facts.toml").read_text(encoding="utf-8"))
NUMBER = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)"
# What has digits and states nothing: code, addresses, headings, places in the course, ids of papers, names.
NO_FIGURE = re.compile(
    r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*ipynb[^)]*\)|\[[^\]]*\]\(#[^)]*\)|\]\([^)]*\)"
    r"|https?://\S+|<[^>]+>|^#+ .*$"
    r"|\b[Ss]ections?\s+[\dAB][\d.]*(?:(?:, | and | to |, and )[\dAB]+\.\d+)*"
    r"|\b[Cc]hapters?\s+\d+(?:(?:, | and | to |, and )\d+)*|\b[Ee]xercises?\s+[\dAB][\d.]*"
    r"|\((?:see )?[\dAB]+\.\d+(?:(?:, | and | to |, and )[\dAB]*\.?\d+)*\)"
    r"|\bin \d+\.\d+(?=[.,;)])|\|\s*[\dAB]+\.\d+(?:(?:, | to )[\dAB]+\.\d+)*(?:, below)?\s*(?=\|)"
    r"|\barXiv:\S+|^\s*\d+\. |^\|.*\*\*(?:core path|everything).*$",
    flags=re.DOTALL | re.MULTILINE,
)


def numbers(text: str) -> list[str]:
    """Numbers of a text as they are written, without thousands commas."""
    return [found.replace(",", "").rstrip(".") for found in re.findall(NUMBER, text)]


def printed(output: dict) -> str:
    """What a reader sees of an output, without pictures."""
    data = output.get("data", {})
    page = re.sub(r"<[^>]+>", " ", html.unescape("".join(data.get("text/html", ""))))
    return " ".join(["".join(output.get("text", "")), "".join(data.get("text/plain", "")), page])


def stated(book: dict) -> list[tuple[str, str]]:
    """Every figure of the prose with the line in which it stands; years and counts up to twelve are none."""
    found = []
    for cell in book["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        for line in NO_FIGURE.sub(" ", "".join(cell["source"])).splitlines():
            for number in numbers(line):
                is_small = number.isdigit() and int(number) <= 12
                is_year = number.isdigit() and 1900 <= int(number) <= 2030
                if not is_small and not is_year:
                    found.append((number, line.strip()))
    return found


def shown(book: dict) -> set[float]:
    """Every number that a cell prints or that stands in its code."""
    texts = []
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            texts += ["".join(cell["source"]).replace("_", ""), *map(printed, cell["outputs"])]
    apart = re.sub(r"(?<=\d)(?=[a-df-zA-Z×%])|(?<=[a-zA-Z$×])(?=\d)", " ", " ".join(texts))
    return set(map(float, numbers(" ".join(texts)) + numbers(apart)))


def unproved(path: Path) -> list[tuple[str, str]]:
    """The stated figures of a notebook that no cell shows and no listed source gives."""
    book = json.loads(path.read_text(encoding="utf-8"))
    facts = {float(figure) for fact in FACTS.get(path.stem, []) for figure in fact["figures"]}
    known = shown(book) | facts
    return [(number, line) for number, line in stated(book) if float(number) not in known]
