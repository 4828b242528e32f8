"""JupyterLab as `make lab` starts it, and a notebook opened in it by a browser."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from helpers.files import ROOT

IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
WAITING = """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
    .some(prompt => prompt.textContent.includes("*"))"""
MINUTES = 60_000  # milliseconds
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}  # pixels
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def copied_course(folder: Path) -> Path:
    """What is under version control, as it lies here, with this environment, data and weights."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "data" / "fetched").symlink_to(ROOT / "data" / "fetched")
    return folder


class Lab:
    """A running server with the course in `folder`; `close` ends it and its kernels."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder.parent / "lab.log"
        self.progress = folder.parent / "progress.json"  # what a learner does of the exercises
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        surroundings = os.environ | {
            "COURSE_PROGRESS": str(self.progress),
            "JUPYTER_CONFIG_DIR": str(folder.parent / "settings"),  # not those of who runs the tests
            "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "notebooks")]),
        }
        begun = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["make", "lab", "BROWSER=none", f"PORT={port}"],
                cwd=folder,
                env=surroundings,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not (found := re.search(r"(http://127\S+?/lab)\S*token=(\w+)", self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() - begun > 120:
                self.close()
                raise RuntimeError("make lab did not start: " + self.log.read_text()[-2000:])
            time.sleep(0.2)
        self.address, self.token = found.groups()
        self.seconds = time.monotonic() - begun

    def close(self) -> None:
        """End the server as a terminal that is closed does."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


class Notebook:
    """One notebook in a page of the browser."""

    def __init__(self, lab: Lab, page, name: str):
        self.page, self.path = page, lab.folder / "notebooks" / name
        page.goto(f"{lab.address}/tree/notebooks/{name}?token={lab.token}&reset")
        page.wait_for_selector(IDLE, timeout=2 * MINUTES)

    def choose(self, menu: str, entry: str) -> None:
        """Click an entry of a menu."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$")).click()

    def run_all(self) -> None:
        """Run > Run All Cells; returns when the first cell waits for the kernel."""
        self.page.locator(".jp-Notebook h1").first.click()
        for _ in range(6):  # a kernel that has only just started may miss it
            self.choose("Run", "Run All Cells")
            begun = time.monotonic()
            while time.monotonic() - begun < 5:
                if self.page.evaluate(WAITING):
                    return
                self.page.wait_for_timeout(50)
        raise RuntimeError(f"JupyterLab did not begin to run {self.path.name}")

    def wait(self, minutes: float = 8) -> None:
        """Until no cell waits and the kernel has nothing to do."""
        # looked at twice a second: at every frame, as by default, would take a fifth of a core
        self.page.wait_for_function(f"() => !({WAITING})()", timeout=minutes * MINUTES, polling=500)
        self.page.wait_for_selector(IDLE, timeout=MINUTES)

    def saved(self) -> list[dict]:
        """The code cells as the notebook holds them now: it is saved and read."""
        before = self.path.stat().st_mtime_ns
        self.choose("File", "Save Notebook")
        for _ in range(200):
            self.page.wait_for_timeout(100)
            text = self.path.read_text(encoding="utf-8")
            if self.path.stat().st_mtime_ns != before and text.rstrip().endswith("}"):
                return [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        raise RuntimeError(f"JupyterLab did not save {self.path.name}")

    def close(self) -> None:
        """Shut the kernel down: its memory is needed for the next one."""
        self.choose("Kernel", "Shut Down Kernel")
        self.page.wait_for_timeout(300)
