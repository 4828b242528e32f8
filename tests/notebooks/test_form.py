"""Every committed notebook keeps the course's form: executed from top to bottom, checked outputs stored,
pictures described.
"""

import ast
import json
import re
import statistics

import pytest

from helpers.files import ROOT
from helpers.publish import BUTTON
from lessons import working_time

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECK = "nbval-check-output"


def cells(path, kind):
    book = json.loads(path.read_text(encoding="utf-8"))
    return [c for c in book["cells"] if c["cell_type"] == kind and "".join(c["source"]).strip()]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def pictures(book_cells):
    return [
        picture
        for cell in book_cells
        for output in cell["outputs"]
        for picture in re.findall(r"<img[^>]*>", "".join(output.get("data", {}).get("text/html", "")))
    ]


def test_there_are_notebooks():
    assert [path.stem.split("_")[0] for path in NOTEBOOKS] == [
        "00",
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "12",
        "A",
        "B",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestForm:
    def test_executed_in_order_without_errors_or_stderr(self, path):
        code = cells(path, "code")
        assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1)), (
            "run the notebook from top to bottom and save it"
        )
        outputs = [output for cell in code for output in cell["outputs"]]
        assert not [o for o in outputs if o["output_type"] == "error"]
        assert not [o["text"] for o in outputs if o.get("name") == "stderr"]

    def test_checked_cells_store_an_output_nbval_can_compare(self, path):
        checked = [c for c in cells(path, "code") if CHECK in tags(c)]
        assert checked, "no cell of this notebook is compared with its stored output"
        assert all(c["outputs"] for c in checked)

    def test_cells_are_short(self, path):
        """The set-up cell is the same everywhere and read once: it counts as the call with which it ends."""
        _, *others = cells(path, "code")
        lengths = [1] + [len([line for line in source(c).splitlines() if line.strip()]) for c in others]
        lengths.sort()
        assert statistics.median(lengths) <= 8
        assert lengths[int(0.9 * len(lengths))] <= 20

    def test_a_folded_cell_has_a_title_on_colab(self, path):
        """Where it is folded away, too, its title is all that says what it does."""
        folded = [source(c) for c in cells(path, "code") if working_time.is_hidden(c)]
        assert [code for code in folded if not re.match(r"# @title \S", code)] == []

    def test_code_is_never_long_without_prose(self, path):
        kinds = [c["cell_type"] for c in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        runs = [len(run) for run in "".join("c" if kind == "code" else "p" for kind in kinds).split("p")]
        assert max(runs) <= 5

    def test_pictures_have_alt_text(self, path):
        drawn = pictures(cells(path, "code"))
        assert drawn, "a chapter without a picture"
        assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in drawn)
        outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
        assert not any("image/png" in output.get("data", {}) for output in outputs), "a PNG has no alt text"
        prose = "\n".join(map(source, cells(path, "markdown")))
        assert not re.search(r"!\[\s*\]\(", prose)
        assert all(re.search(r'alt="[^"]{10,}"', tag) for tag in re.findall(r"<img[^>]*>", prose))

    def test_no_measured_figure_is_typed(self, path):
        prose = re.sub(r"```.*?```|`[^`]*`", "", "\n".join(map(source, cells(path, "markdown"))), flags=re.S)
        assert not re.findall(r"(?<![\w.])\d+\.\d+\s?%|(?<![\w.])0\.\d{2,}(?![\w.])", prose)

    def test_no_installs_star_imports_or_machine_paths(self, path):
        code = "\n".join(map(source, cells(path, "code")))
        assert not re.search(r"^\s*[!%]\s*(pip|conda)|from \S+ import \*", code, flags=re.M)
        assert not re.search(r"/(home|root|Users|work|tmp/w)/", path.read_text(encoding="utf-8"))

    def test_parts_of_a_chapter(self, path):
        prose = [source(c) for c in cells(path, "markdown")]
        assert BUTTON.sub("", prose[0]).startswith("# ")
        text = "\n".join(prose)
        for part in ("Exercises", "Glossary"):
            assert re.search(rf"^#+ .*{part}", text, flags=re.M), f"the chapter has no {part}"
        assert "environment.set_up()" in source(cells(path, "code")[0])
        assert "assert " in "\n".join(source(c) for c in cells(path, "code")), (
            "no learning result is asserted"
        )

    def test_code_parses_and_stays_small(self, path):
        for cell in cells(path, "code"):
            ast.parse(source(cell))
        assert path.stat().st_size < 1_000_000
