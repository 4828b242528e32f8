"""The command `catch-up`: can a chapter start now, and what of the chapters before it does it build on?

No chapter reads what another one has written, so nothing of them has to be run first.
"""

import os
import subprocess
import sys
from collections.abc import Callable

from helpers.files import ROOT


def add_command(command: Callable) -> None:
    """The command `catch-up`."""
    added = command("catch-up", catch_up, "begin with a chapter: get ready, and say what it builds on")
    added.add_argument("chapter", metavar="NN", help="00 to 12, A or B")


def catch_up(options) -> int:
    """Fetch what is missing, print what is wrong with this machine, then what `lessons.catch_up` reads.

    Exit status 2: no such chapter, or data and weights cannot be had; 1: the doctor objects.
    """
    folder = ROOT / "notebooks"  # a process of its own: helpers know no lesson
    surroundings = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "lessons.catch_up", options.chapter]
    told = subprocess.run(command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, encoding="utf-8")
    if told.returncode:
        return told.returncode

    from helpers import assets, doctor

    for line in assets.fetch():
        print(line)
    checks = doctor.examine()
    for check in checks:
        if check.word != "ok":
            print(f"{check.word:<4} {check.name}: {check.found}; {check.remedy}")
    is_ready = all(check.ready for check in checks)
    if is_ready:
        print("This machine is ready, and no other chapter has to be run first.")
    print(f"\n{told.stdout}", end="")
    return 0 if is_ready else 1
