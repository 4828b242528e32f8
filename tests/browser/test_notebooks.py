"""Every chapter in JupyterLab, in a real browser: it runs, its pictures and widgets work for everybody."""

import json
import os
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from lab import DESKTOP, Notebook
from reduced import SHORTER, WHOLE, reduced
from widget import KINDS, boxes, is_free, moved
from wire import Wire

from helpers.files import ROOT

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The call that shows each widget; how many the chapter has is the length of its entry.
WIDGETS = {
    "00": ("before_and_after.before_and_after(", "progress.show("),
    "01": ("memory_planner.memory_planner(",),
    "02": ("transform_explorer.transform_explorer(", "batch_explorer.batch_explorer("),
    "03": ("learning_rate_explorer.learning_rate_explorer(",),
    "04": ("schedule_explorer.schedule_explorer(", "layer_freezer("),
    "05": ("threshold_explorer(",),
    "06": ("gradcam_explorer",),
    "07": ("comment_explorer(",),
    "08": ("quiz.final_quiz(",),
    "09": ("next_token.next_token_explorer(", "attention_explorer.attention_explorer("),
    "10": ("twin_chat(",),
    "11": ("beta_explorer(",),
    "12": ("planner_widget.planner(",),
    "A": ("catalogue.chooser(",),
    "B": ("stepper(",),
}
TWICE = ("A", "B")  # these run a second time in the same kernel
ZOOMED = {"width": 853, "height": 533}  # 150%, as on a projector
CODE_TOO_WIDE = """() => [...document.querySelectorAll(".jp-Notebook .cm-scroller")]
    .map(editor => editor.scrollWidth - editor.clientWidth)"""
WIDER = "box => box.scrollWidth - box.clientWidth"
PICTURES = """() => [...document.querySelectorAll(".jp-Notebook img")]
    .filter(image => !image.closest(".jupyter-widgets")).map(image => {
        const canvas = Object.assign(document.createElement("canvas"), {width: 64, height: 64});
        const drawing = canvas.getContext("2d");
        drawing.drawImage(image, 0, 0, 64, 64);
        const values = new Set(drawing.getImageData(0, 0, 64, 64).data);
        return {alt: image.alt, colours: values.size, start: image.src.slice(0, 60)};
    })"""


def chapter(path) -> str:
    return path.stem.split("_")[0]


def code_cells(book: dict) -> list[dict]:
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def opened(lab, page, path, record_property, needed: tuple[str, ...] = ()) -> Notebook:
    """The chapter in the browser, whole or reduced, or what some calls of it need."""
    name, copied = chapter(path), lab.folder / "notebooks" / path.name
    book = json.loads(path.read_text(encoding="utf-8"))
    is_whole = (name in WHOLE or os.environ.get("COURSE_BROWSER") == "full") and not needed
    if not is_whole:
        shorter = SHORTER.get(name, {})
        book = reduced(book, needed or WIDGETS[name], shorter)
        said = "".join(cell["source"] for cell in code_cells(book))
        assert [short for short in shorter.values() if short not in said] == []
    for cell in code_cells(book):
        cell["outputs"], cell["execution_count"] = [], None
    copied.write_text(json.dumps(book), encoding="utf-8")
    how = f"{'whole' if is_whole else 'reduced'}, {len(code_cells(book))} code cells"
    record_property("browser", f"{name}: {how}")
    return Notebook(lab, page, path.name)


def faults(cells: list[dict]) -> list[str]:
    """What a learner must never see: errors, warnings, cells that did not run."""
    found = [f"did not run: {cell['source'][:80]}" for cell in cells if not cell["execution_count"]]
    for cell in cells:
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                found.append(f"{cell['source'][:80]} -> {str(output)[:600]}")
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_chapter_runs_and_shows_all_it_has(path, lab, page, record_property, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(lab.progress))
    notebook = opened(lab, page, path, record_property)
    notebook.run_all()
    notebook.wait()
    assert faults(notebook.saved()) == []
    drawn = page.evaluate(PICTURES)
    assert [picture for picture in drawn if len(picture["alt"]) < 20 or picture["colours"] < 3] == []
    found = boxes(page)
    assert len(found) == len(WIDGETS[chapter(path)])
    still, waiting = [], []
    for box, call in zip(found, WIDGETS[chapter(path)]):
        for kind, selector in KINDS.items():
            places = range(len(box.query_selector_all(selector)))
            waiting += [(box, call, kind, place, way) for place in places for way in ("mouse", "keyboard")]
    waiting.sort(key=lambda move: not is_free(*move[:1], *move[2:4]))  # a button may be opened by another one
    for box, call, kind, place, way in waiting:
        notebook.wait()  # a language model may still be at the answer before
        seconds = moved(page, box, kind, place, way)
        line = f"{chapter(path)}: {call.strip('(')}, {kind} {place + 1} by {way}: {seconds:.1f} s"
        record_property("browser", line)
        still += [line] if seconds == float("inf") else []
    assert still == []
    page.set_viewport_size(ZOOMED)
    page.wait_for_timeout(300)
    assert [box.evaluate(WIDER) for box in found if box.evaluate(WIDER) > 1] == []
    page.set_viewport_size(DESKTOP)
    if chapter(path) in TWICE:
        notebook.run_all()
        notebook.wait()
        assert faults(notebook.saved()) == []
    assert page.problems == []
    notebook.close()


def test_a_training_can_be_interrupted_and_run_again(lab, page, record_property):
    call = "loop.fit_classifier("
    notebook = opened(lab, page, PATHS[0], record_property, (call,))
    codes = code_cells(json.loads(notebook.path.read_text(encoding="utf-8")))
    training = next(number for number, cell in enumerate(codes) if call in cell["source"])
    notebook.run_all()
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    page.wait_for_function(
        "n => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].slice(0, n)"
        ".every(prompt => /[0-9]/.test(prompt.textContent))",
        arg=training,
        timeout=120_000,
        polling=200,
    )
    page.wait_for_timeout(1500)  # some steps are done
    assert "*" in prompts.nth(training).text_content()
    begun = time.monotonic()
    notebook.choose("Kernel", "Interrupt Kernel")
    notebook.wait(1)
    assert time.monotonic() - begun < 10
    said = page.locator(".jp-CodeCell").nth(training).text_content()
    assert "KeyboardInterrupt" in said
    notebook.run_all()
    notebook.wait()
    assert faults(notebook.saved()) == []
    assert page.problems == []
    notebook.close()


def test_a_dropped_connection_loses_nothing_of_a_running_cell(lab, page):
    """The kernel goes on, and what it printed in the meantime comes when the network is back."""
    counting = "import time\nfor number in range(14):\n    print(number, flush=True)\n    time.sleep(1)"
    code = {"cell_type": "code", "id": "b", "source": counting, "outputs": [], "execution_count": None}
    cells = [{"cell_type": "markdown", "id": "a", "source": "# Counting"}, code]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = {"cells": [cell | {"metadata": {}} for cell in cells], "metadata": kernel}
    (lab.folder / "notebooks" / "counting.ipynb").write_text(
        json.dumps(book | {"nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
    )
    wire = Wire(urlsplit(lab.address).port)
    reached = SimpleNamespace(folder=lab.folder, address=f"http://127.0.0.1:{wire.port}/lab", token=lab.token)
    notebook = Notebook(reached, page, "counting.ipynb")
    notebook.run_all()
    page.wait_for_timeout(3000)
    wire.cut()
    page.wait_for_timeout(5000)
    assert "5" not in page.locator(".jp-OutputArea-output").text_content()
    wire.mend()
    page.get_by_role("button", name="Close", exact=True).click()  # JupyterLab says that it tries again
    page.wait_for_selector(".jp-OutputArea-output >> text=13", timeout=60_000)
    printed = page.locator(".jp-OutputArea-output").text_content().split()
    assert printed == [str(number) for number in range(14)]
    notebook.close()
    wire.close()


def test_the_first_page_asks_nothing_and_cuts_no_code(lab, page):
    """What `make lab` opens, as it is stored."""
    name = PATHS[0].name
    (lab.folder / "notebooks" / name).write_bytes(PATHS[0].read_bytes())
    Notebook(lab, page, name)
    page.wait_for_selector(".jp-RenderedMermaid :is(img, svg)", timeout=60_000)
    page.wait_for_timeout(1500)
    assert page.locator(".Toastify__toast, .jp-Dialog").count() == 0
    lines = page.evaluate(CODE_TOO_WIDE)
    assert len(lines) > 10
    assert max(lines) <= 1
    maps = page.evaluate(
        "() => [...document.querySelectorAll('.jp-RenderedMermaid :is(img, svg)')].map(e => e.clientWidth)"
    )
    assert maps
    assert min(maps) > 200
    assert [
        picture for picture in page.evaluate(PICTURES) if len(picture["alt"]) < 20 or picture["colours"] < 3
    ] == []
    assert page.problems == []
