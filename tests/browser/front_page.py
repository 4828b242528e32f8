"""Draw docs/images/widget_NN.png: three widgets of the course, as a browser shows them.

usage: PYTHONPATH=. python tests/browser/front_page.py
"""

import io
import json
import shutil
import tempfile
from pathlib import Path

from lab import Lab, Notebook, copied_course
from PIL import Image, ImageChops
from playwright.sync_api import sync_playwright
from reduced import reduced
from widget import boxes, moved

from helpers.files import ROOT

# Chapter, the call that shows the widget, and what is moved before its picture is taken.
SHOWN = (
    ("00_start_here", "before_and_after.before_and_after(", "text"),
    ("02_datasets_and_dataloaders", "batch_explorer.batch_explorer(", "list"),
    ("09_language_models", "attention_explorer.attention_explorer(", "slider"),
)
EDGE = 16  # pixels around what is drawn


def picture(lab: Lab, page, name: str, call: str, kind: str) -> Image.Image:
    """The widget of one chapter after one of its controls was moved."""
    book = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    file = lab.folder / "notebooks" / f"{name}.ipynb"
    file.write_text(json.dumps(reduced(book, (call,))), encoding="utf-8")
    notebook = Notebook(lab, page, file.name)
    notebook.run_all()
    notebook.wait()
    box = boxes(page)[-1]
    moved(page, box, kind, 0, "keyboard")
    page.wait_for_timeout(1000)
    found = Image.open(io.BytesIO(box.screenshot())).convert("RGB")
    notebook.close()
    left, top, right, bottom = ImageChops.difference(found, Image.new("RGB", found.size, "white")).getbbox()
    right, bottom = min(right + EDGE, found.width), min(bottom + EDGE, found.height)
    return found.crop((max(left - EDGE, 0), max(top - EDGE, 0), right, bottom))


def main() -> None:
    """Take the three pictures."""
    folder = Path(tempfile.mkdtemp())
    lab = Lab(copied_course(folder / "course"))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1000, "height": 900}, device_scale_factor=1.5)
            for name, call, kind in SHOWN:
                found = picture(lab, page, name, call, kind).quantize(256)
                found.save(ROOT / "docs" / "images" / f"widget_{name[:2]}.png", optimize=True)
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
