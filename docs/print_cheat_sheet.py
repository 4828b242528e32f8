"""The cheat sheet as a PDF of two pages of A4: docs/cheat_sheet.pdf from docs/cheat_sheet.md.

python docs/print_cheat_sheet.py [--output docs/cheat_sheet.pdf]

Chromium (or Chrome) prints it; the environment variable CHROMIUM names one that is not on the path. The PDF's
title holds the hash of the text, by which a test sees that both are of the same day.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mistune
from mistune.plugins.table import table
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers.errors import InputError
from helpers.files import ROOT, write_atomically

SHEET = ROOT / "docs" / "cheat_sheet.md"
PAGES = 2
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PYTHON = HtmlFormatter(nowrap=True, style="xcode")
STYLE = """
@page { size: A4; margin: 9mm 11mm 8mm; }
body { margin: 0; font: 7.6pt/1.22 Helvetica, Arial, "DejaVu Sans", sans-serif; color: #000; }
h1 { font-size: 13pt; margin: 0 0 2pt; } h2 { font-size: 9pt; margin: 5pt 0 2pt; color: #00507d; }
h2 { break-after: avoid; } p { margin: 0 0 3pt; } h2 + p, tr { break-inside: avoid; }
.code { background: #f3f6f8; border-left: 2pt solid #0072b2; margin: 0 0 3pt; padding: 1pt 4pt; }
pre { font: 7.2pt/1.19 "DejaVu Sans Mono", Menlo, Consolas, monospace; margin: 0; padding: 1pt 0 4pt; }
pre { break-inside: avoid; } ol { margin: 0 0 3pt; padding: 0 0 0 11pt; }
code { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 6.7pt; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: .4pt solid #888; text-align: left; }
td, th { padding: 1pt 4pt 1pt 0; vertical-align: top; } td:first-child { white-space: nowrap; }
"""


class Print(mistune.HTMLRenderer):
    """Markdown with coloured Python."""

    def block_code(self, code, info=None):
        parts = code.strip().split("\n\n\n")  # functions, none of which is torn by the end of a page
        pres = "".join(f"<pre>{highlight(part, PythonLexer(), PYTHON).rstrip()}</pre>" for part in parts)
        return f'<div class="code python">{pres}</div>'


def title(text: str) -> str:
    """The PDF's title for this text of the sheet: its name and hash."""
    return f"Cheat sheet, SHA-256 of cheat_sheet.md: {hashlib.sha256(text.encode()).hexdigest()}"


def page(text: str) -> str:
    """The sheet as an HTML page with print style."""
    body = mistune.Markdown(Print(), plugins=[table])(text)
    style = PYTHON.get_style_defs(".python") + STYLE
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title(text)}</title>'
        f"<style>{style}</style></head><body>{body}</body></html>"
    )


def count_pages(pdf: bytes) -> int:
    """Pages of a PDF as Chromium writes it, whose page objects are not compressed."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def browser() -> str:
    """The Chromium to print with.

    Raises InputError: there is none.
    """
    found = next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *BROWSERS])), None)
    if not found:
        raise InputError(
            f"a PDF needs Chromium or Chrome, found none of {', '.join(BROWSERS)} on the path: install one, "
            "or name it: make cheat-sheet CHROMIUM=/path/to/chrome"
        )
    return found


def printed(text: str) -> bytes:
    """The PDF of a text in Markdown.

    Raises InputError: no browser, it fails, or the PDF has not two pages.
    """
    program = browser()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "sheet.html"), Path(folder, "sheet.pdf")
        source.write_text(page(text), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        options += [f"--user-data-dir={Path(folder, 'profile')}", f"--print-to-pdf={target}"]
        done = subprocess.run(
            [program, *options, source.as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        if not target.exists():
            raise InputError(
                f"{program} printed nothing (exit status {done.returncode}): {done.stderr[-300:]}"
            )
        content = target.read_bytes()
    if count_pages(content) != PAGES:
        raise InputError(
            f"{SHEET.name}: expected {PAGES} printed pages, found {count_pages(content)}; shorten the text, "
            "or change the sizes in docs/print_cheat_sheet.py"
        )
    return content


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=SHEET.with_suffix(".pdf"))
    options = parser.parse_args(arguments)
    try:
        content = printed(SHEET.read_text(encoding="utf-8"))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_atomically(options.output, content, make_folder=True)
    print(f"{options.output}: {PAGES} pages, {len(content) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
