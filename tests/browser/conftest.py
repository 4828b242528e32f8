"""A real browser: Debian's Chromium, moved by Playwright; without it these tests say why they are skipped."""

import os
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from helpers.files import ROOT

sys.path.insert(0, str(Path(__file__).parent))
from lab import DESKTOP, Lab, copied_course

FAILED = pytest.StashKey[bool]()
NAMES = runpy.run_path(str(ROOT / "docs" / "print_cheat_sheet.py"))["BROWSERS"]


def missing(what: str) -> None:
    """Skip, with a sentence; where CI promised a browser this is a failure."""
    sentence = f"the browser tests need {what}; README says how to get it"
    if os.environ.get("COURSE_BROWSER"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def chromium():
    """The browser, without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("Chromium")
    with sync_playwright() as playwright:
        # as root, as in a container, Chromium starts without its sandbox alone
        options = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    """JupyterLab with a copy of the course."""
    if shutil.which("make") is None:
        missing("make")
    server = Lab(copied_course(tmp_path_factory.mktemp("browser") / "course"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def site(chromium):
    """The folder that `make site` filled."""
    folder = ROOT / "build" / "site"
    if not (folder / "index.html").exists():
        missing("the site (make browser)")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell the page how its test ended."""
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


@pytest.fixture
def page(chromium, request, tmp_path):
    """A page that collects what goes wrong in it as `page.problems`; a failure leaves its picture."""
    context = chromium.new_context(viewport=DESKTOP)
    made = context.new_page()
    made.problems = []
    made.on("console", lambda said: said.type == "error" and made.problems.append(said.text))
    made.on("pageerror", lambda error: made.problems.append(str(error)))
    made.on(
        "response",
        lambda answer: answer.status >= 400 and made.problems.append(f"{answer.status} {answer.url}"),
    )
    yield made
    if request.node.stash.get(FAILED, False):
        made.screenshot(path=tmp_path / "failed.png")
        print("what the page showed:", tmp_path / "failed.png")
    context.close()


def pytest_terminal_summary(terminalreporter):
    """Which notebooks ran whole, and every control that was moved, with the seconds to its output."""
    passed = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    lines = [
        line
        for report in passed
        for name, line in getattr(report, "user_properties", [])
        if name == "browser"
    ]
    if lines:
        terminalreporter.section("in the browser")
        for line in sorted(lines):
            terminalreporter.write_line(line)
