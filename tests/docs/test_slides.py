"""Slides: what of a chapter stands on them, that they need no network, and that all fits (by Chromium)."""

import json
import re
import runpy
import shutil
import subprocess
import sys

import pytest

from helpers.files import ROOT
from lessons.workflows import NOTEBOOKS, headings

SCRIPT = ROOT / "docs" / "slides" / "make_slides.py"
BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def make(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """The page of each chapter by its name, made as `make slides` does."""
    folder = tmp_path_factory.mktemp("slides")
    done = make("--output", folder)
    assert done.returncode == 0, done.stderr
    return {name: (folder / f"{name}.slides.html").read_text(encoding="utf-8") for name in CHAPTERS} | {
        "index": (folder / "index.html").read_text(encoding="utf-8"),
        "folder": folder,
    }


def shown(file) -> tuple[int, int, str]:
    """(slides, those of which something is cut off, the page) as the browser has made them."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    page = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={file.parent / 'profile'}", file.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    ).stdout
    found = re.search(r'data-slides="(\d+)" data-full="(\d+)"', page)
    return int(found[1]), int(found[2]), page


def titles(page: str) -> list[str]:
    found = re.findall(r"<(?:h2|p class=.part.)>(.*?)</", page, flags=re.DOTALL)
    return [re.sub("<[^>]*>", "", one) for one in found]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_core_sections_and_the_recap_stand_on_slides_and_nothing_optional(decks, chapter):
    found = titles(decks[chapter])
    numbered = [one for one in headings(f"{chapter}.ipynb") if re.match(r"(\d+|[AB])\.\d+ ", one)]
    core = [one.split()[0] for one in numbered if one.endswith("· core")]
    assert [number for number in core if not any(one.split()[0] == number for one in found)] == []
    assert not {one.split()[0] for one in found} & {one.split()[0] for one in numbered} - set(core)
    assert "Recap" in found
    assert not [one for one in found if one.startswith(("Exercise", "Glossary", "Where to go", "Next"))]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_deck_asks_no_network_and_tells_its_pictures_in_words(decks, chapter):
    page = decks[chapter]
    assert not re.findall(r"(?:src=|<link[^>]*href=|url\(|@import )[\"']?(?:https?:|//)", page)
    assert not re.findall(r"<(?:script|img)[^>]*src=\"(?!data:)", page)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", page))
    assert all("aria-label" in one for one in re.findall(r"<svg[^>]*>", page))
    assert "$$" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)  # a model may write anything


def test_formulas_are_drawn_and_keep_their_source(decks):
    labels = re.findall(r'role="img" aria-label="([^"]*)"', decks["11_preference_tuning"])
    assert any("underbrace" in label for label in labels)
    assert len(labels) >= 6


def test_the_index_leads_to_every_deck(decks):
    assert re.findall(r'href="(\w+)\.slides\.html"', decks["index"]) == CHAPTERS


def test_links_lead_to_other_decks(decks):
    for chapter in CHAPTERS:
        assert set(re.findall(r'href="(\w+)\.slides\.html"', decks[chapter])) <= set(CHAPTERS)
        assert ".ipynb#" not in decks[chapter]


@pytest.mark.skipif(not BROWSER, reason="no Chromium on the path")
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_is_cut_off(decks, chapter):
    slides, full, _ = shown(decks["folder"] / f"{chapter}.slides.html")
    assert slides > 10
    assert full == 0


def notebook(folder, *cells):
    """A notebook file of texts (Markdown) and pairs (code, outputs)."""
    found = []
    for cell in cells:
        if isinstance(cell, str):
            found.append({"cell_type": "markdown", "metadata": {}, "source": cell})
        else:
            code, outputs = cell
            found.append({"cell_type": "code", "metadata": {}, "source": code, "outputs": outputs})
    file = folder / "99_made.ipynb"
    file.write_text(json.dumps({"cells": found}), encoding="utf-8")
    return file


def printed(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text}


OPENING = "# 99 Made\n\n**The question of this chapter:** what?\n\n**After this chapter you can**\n\n* do it."
PICTURE = {
    "output_type": "display_data",
    "data": {
        "text/html": f'<img alt="Dot" width="1" src="data:image/png;base64,{PNG}">',
        "text/plain": "Dot",
    },
    "metadata": {},
}


def test_what_becomes_a_slide(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    long = "\n".join(f"x = {number}" for number in range(13))
    file = notebook(
        tmp_path,
        OPENING,
        ("import before_any_section", [printed("hidden\n")]),
        "## 9.1 First · core\n\nOne sentence. Another one. **Guess:** how many? Five.",
        ("print(5)", [printed("5\n")]),
        (long, [printed("long\n"), PICTURE]),
        ("plot()", [PICTURE]),
        "It is so. **Rule:** count twice. Then go on.\n\n### What went wrong: a slip\n\nSomebody slipped.",
        "### Exercise 9.1 (build)\n\nWrite it.",
        ("def f(): ...\n\n\nch99.f.check(f)", [printed("not yet\n")]),
        "## 9.2 Second · optional\n\nLeft out. **Guess:** why?",
        ("print(6)", [printed("6\n")]),
        "## Recap\n\nWords.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n## Glossary\n\n* **a**: b",
    )
    made = runpy.run_path(str(SCRIPT.with_name("topics.py")))["topics"](file)
    said = [
        (topic.kind, topic.title, [(one.kind, one.content[:14]) for group in topic.groups for one in group])
        for topic in made
    ]
    picture = ("picture", "data:image/png")
    assert said == [
        ("title", "99 Made", [("text", "**The question")]),
        ("section", "After this chapter you can", [("text", "* do it.")]),
        ("guess", "9.1 First", [("text", "One sentence. "), ("rule", "**Guess:** how")]),
        (
            "section",
            "9.1 First",
            [
                ("code", "print(5)"),
                ("printed", "5"),
                ("printed", "long"),
                picture,
                picture,
                ("rule", "**Rule:** coun"),
            ],
        ),
        ("mistake", "What went wrong: a slip", [("text", "Somebody slipp")]),
        ("recap", "Recap", [("text", "| a | b |\n|---")]),
    ]
    assert made[2].groups[0][1].content == "**Guess:** how many?", "the answer is not on the question's slide"


@pytest.mark.skipif(not BROWSER, reason="no Chromium on the path")
def test_a_long_table_is_cut_and_what_cannot_be_cut_is_counted(tmp_path):
    rows = "\n".join(f"| row{number} | x |" for number in range(60))
    wide = "<table><tr>" + "".join(f"<td>wide{number}wide</td>" for number in range(60)) + "</tr></table>"
    html = {"output_type": "execute_result", "data": {"text/html": wide}, "metadata": {}}
    section = f"## 9.1 Long · core\n\n| a | b |\n|---|---|\n{rows}"
    make("--output", tmp_path, notebook(tmp_path, OPENING, section))
    slides, full, page = shown(tmp_path / "99_made.slides.html")
    assert full == 0
    assert slides >= 5
    assert [int(one) for one in re.findall(r"<td>row(\d+)</td>", page)] == list(range(60))
    make("--output", tmp_path, notebook(tmp_path, OPENING, "## 9.1 Wide · core\n\nA.", ("table", [html])))
    assert shown(tmp_path / "99_made.slides.html")[1] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no notebook", "expected a notebook"),
        ('{"cells": []}', "must begin with '# '"),
        (
            json.dumps({"cells": [{"cell_type": "markdown", "source": r"# 1 A" "\n\n" r"$$\no{x}$$"}]}),
            "cannot be drawn",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_no_file(tmp_path, content, said):
    file = tmp_path / "bad.ipynb"
    file.write_text(content, encoding="utf-8")
    done = make("--output", tmp_path / "out", file)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
