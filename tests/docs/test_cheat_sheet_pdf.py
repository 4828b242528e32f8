"""The cheat sheet's PDF: two pages, of today's text, and a sentence where nothing can print it."""

import os
import re
import runpy
import shutil
import subprocess
import sys

import pytest

from helpers.files import ROOT

SCRIPT = ROOT / "docs" / "print_cheat_sheet.py"
PRINTING = runpy.run_path(str(SCRIPT))
PDF, SHEET = ROOT / "docs" / "cheat_sheet.pdf", ROOT / "docs" / "cheat_sheet.md"
BROWSER = next(filter(None, map(shutil.which, PRINTING["BROWSERS"])), None)


def title_of(pdf: bytes) -> str:
    return re.search(rb"/Title \(([^)]*)\)", pdf)[1].decode()


def test_it_has_two_pages_and_holds_the_text_of_today():
    pdf = PDF.read_bytes()
    assert PRINTING["count_pages"](pdf) == 2
    assert title_of(pdf) == PRINTING["title"](SHEET.read_text(encoding="utf-8")), (
        "make cheat-sheet prints it again"
    )


def test_another_text_has_another_title():
    assert PRINTING["title"]("a") != PRINTING["title"]("b")


@pytest.mark.skipif(not BROWSER, reason="no Chromium on the path")
def test_it_is_printed_again(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--output", tmp_path / "new.pdf"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert title_of((tmp_path / "new.pdf").read_bytes()) == title_of(PDF.read_bytes())


@pytest.mark.skipif(not BROWSER, reason="no Chromium on the path")
def test_a_third_page_is_refused():
    text = SHEET.read_text(encoding="utf-8") + "\n\nOne more line." * 60
    with pytest.raises(ValueError, match="expected 2 printed pages, found 3"):
        PRINTING["printed"](text)


def test_without_a_browser_one_sentence_says_what_to_do(tmp_path):
    environment = os.environ | {"PATH": str(tmp_path), "CHROMIUM": ""}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--output", tmp_path / "new.pdf"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "make cheat-sheet CHROMIUM=" in done.stderr
    assert not (tmp_path / "new.pdf").exists()
