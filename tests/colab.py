"""Run chapters as Google Colab does: Colab's versions, and nothing but the notebook, which clones the course.

Not part of `make test`: it makes an environment of 6 GB and downloads data and weights for each chapter.
What is cloned is the last commit. Each call starts with a fresh runtime: Colab's versions, and none of what
the set-up cell installs. Then, for each chapter: the notebook alone in an empty folder runs to its end, and
after a restart its set-up cell once more. What the cell said and what it changed is compared with the
packages before and after. What is not as on Colab: no GPU, the package index's builds, the nearest Python
that is named, only the packages below, and chapters of one call share what the first one installed and
fetched: a hook of git copies its data and weights into each later clone, where they are verified.

The result is kept in benchmarks/results/colab.json, for each chapter that of its last run.

usage: make test-colab [CHAPTERS="00 05"] [COLAB_PYTHON=python3.13]
       python tests/colab.py [--base PYTHON | --python PYTHON] [00 05 ...]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import environment, publish
from helpers.files import ROOT, write_atomically
from test_project import COLAB

FOLDER = Path(tempfile.gettempdir()) / "course-colab"
RESULT = ROOT / "benchmarks" / "results" / "colab.json"
# What Colab has besides (August 2026) that touches how a notebook runs.
SERVER = {
    "ipython": "7.34.0", "ipykernel": "6.17.1", "traitlets": "5.7.1", "tornado": "6.5.7",
    "nbformat": "5.11.1", "nbclient": "0.10.4", "datasets": "4.0.0",
}  # fmt: skip
# It has these too; which versions is not known. Newer than 1.16, scipy warns when scikit-learn 1.6 fits.
OTHERS = {"scipy": "1.16.3", "tensorboard": "2.21.0"}
# Prints as JSON what happened; the notebook with its outputs is written over the one that was given.
EXECUTE = """
import copy, json, sys, time, nbclient, nbformat
book = nbformat.read(sys.argv[1], as_version=4)
code = [cell for cell in book.cells if cell.cell_type == "code"]
again = nbformat.v4.new_notebook(cells=[copy.deepcopy(code[0])])

def run(book):
    start, error = time.perf_counter(), None
    try:
        nbclient.NotebookClient(book, timeout=1800, kernel_name="python3").execute()
    except nbclient.exceptions.CellExecutionError as raised:
        error = f"{raised.ename}: {raised.evalue}"
    return time.perf_counter() - start, error

def said(cell, name="stdout"):
    return "".join(output.text for output in cell.outputs if output.get("name") == name).splitlines()

seconds, error = run(book)
warnings = [line for cell in code for line in said(cell, "stderr")]
told = {"seconds": seconds, "error": error, "warnings": warnings, "said": said(code[0])}
if not error:
    told["seconds_again"], told["error"] = run(again)
    told["said_again"] = said(again.cells[0])
nbformat.write(book, sys.argv[1])
print(json.dumps(told))
"""
PACKAGES = """
import importlib.metadata, json, re
found = {}
for one in importlib.metadata.distributions():
    found.setdefault(re.sub("[-_.]+", "-", one.name).lower(), one.version)
print(json.dumps(found))
"""


def nearest() -> str:
    """Colab's Python, 3.13, where there is one that starts; else the one that runs here."""
    found = shutil.which("python3.13")
    starts = found and subprocess.run([found, "-c", "import venv"], capture_output=True).returncode == 0
    return found if starts else sys.executable


def colab_python(base: str) -> Path:
    """The Python of an environment with Colab's versions; made by the Python `base` at the first call."""
    python = FOLDER / "venv" / "bin" / "python"
    pins = [f"{name}=={version}" for name, version in (COLAB | SERVER | OTHERS).items()]
    ready = FOLDER / "ready"
    if not ready.exists() or ready.read_text().split() != pins:
        subprocess.run([base, "-m", "venv", "--clear", FOLDER / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        ready.write_text("\n".join(pins))
    return python


def runtime(python: Path, folder: Path) -> Path:
    """The Python of a new environment that sees the packages of another one, and is Colab's by its name."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    there, here = (
        Path(subprocess.run([one, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
        for one in (python, folder / "bin" / "python")
    )
    (here / "google" / "colab").mkdir(parents=True)
    (here / "google" / "colab" / "__init__.py").touch()
    (here / "colab.pth").write_text(f"{there}\nimport google.colab\n")  # Colab's kernel has it loaded, too
    return folder / "bin" / "python"


def packages(python: Path) -> dict[str, str]:
    """{name: version} of all packages that a Python sees."""
    done = subprocess.run([python, "-c", PACKAGES], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def hook(fetched: Path, templates: Path) -> None:
    """Write git's templates with a hook that gives each clone what another one has fetched."""
    (templates / "hooks").mkdir(parents=True)
    script = templates / "hooks" / "post-checkout"
    script.write_text(f"#!/bin/sh\nif [ -d '{fetched}' ]; then cp -a '{fetched}' data/fetched; fi\n")
    script.chmod(0o755)


def run(notebook: Path, python: Path, folder: Path, shared: Path) -> dict:
    """Execute one chapter in an empty folder, then its set-up cell in a new kernel; what `EXECUTE` tells."""
    (folder / "alone").mkdir()
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, folder / "course.git"], check=True)
    book = json.loads(notebook.read_text(encoding="utf-8"))
    code = next(cell for cell in book["cells"] if cell["cell_type"] == "code")
    address = f'ADDRESS = "{(folder / "course.git").as_uri()}"'
    code["source"] = publish.ADDRESS.sub(address, "".join(code["source"]))
    (folder / "alone" / notebook.name).write_text(json.dumps(book), encoding="utf-8")
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COURSE_"))}
    home = {name: str(folder / name) for name in ("COURSE_CACHE", "HF_HOME", "TORCH_HOME")}
    given |= home | {"GIT_TEMPLATE_DIR": str(shared / "git"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    command = [python, "-c", EXECUTE, notebook.name]
    done = subprocess.run(command, cwd=folder / "alone", env=given, stdout=subprocess.PIPE, text=True)
    (FOLDER / "executed").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "alone" / notebook.name, FOLDER / "executed")
    if (found := folder / "alone" / "course" / "data" / "fetched").is_dir() and not (
        shared / "fetched"
    ).exists():
        shutil.move(found, shared / "fetched")
    return json.loads(done.stdout) if done.returncode == 0 else {"error": f"exit status {done.returncode}"}


def faults(told: dict, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is wrong with a chapter's run: its error, or what the set-up cell said or did.

    Args:
        told: what `run` returned.
        before, after: the packages as `packages` gives them.
    """
    if told["error"]:
        return [told["error"]]
    found = [
        f"{name} became {after[name]}" for name in environment.KEPT if before.get(name) != after.get(name)
    ]
    named = [re.sub("[-_.]+", "-", name).lower() for name in environment.packages()]
    new = [f"{name} {after[name]}" for name in named if before.get(name) != after.get(name)]
    *installed, ready = told["said"] or [""]
    printed = [part for line in installed for part in line.removeprefix("Installed or updated: ").split(", ")]
    if [part.lower() for part in printed] != new:
        found.append(f"the set-up cell says {installed}, and {new} were installed")
    if not re.fullmatch(rf"Ready: \w+ scale on \w+, torch {re.escape(after['torch'])}\S*, Python \S+", ready):
        found.append(f"the set-up cell says {ready!r}, and torch is {after['torch']}")
    if told["said_again"] != [ready]:
        found.append(f"after a restart it says {told['said_again']}")
    return found


def keep(python: Path, chapter: str, result: dict, set_up: dict | None) -> None:
    """Write a chapter's result into the file of results; those of other versions are thrown away."""
    ask = "import platform; print(platform.python_version())"
    version = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    begun = {"python": version, "versions": COLAB | SERVER | OTHERS, "set_up": {}, "chapters": {}}
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else begun
    if any(kept[name] != begun[name] for name in ("python", "versions")):
        kept = begun
    kept["set_up"] = set_up or kept["set_up"]
    kept["chapters"] = dict(sorted((kept["chapters"] | {chapter: result}).items()))
    write_atomically(RESULT, (json.dumps(kept, indent=1) + "\n").encode())


def main() -> int:
    """Run the chapters that are named, or all; exit status 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--base", default=nearest(), help="the Python that makes Colab's environment")
    which.add_argument(
        "--python", type=Path, help="one with the course's packages, in place of Colab's versions"
    )
    parser.add_argument("chapters", nargs="*", metavar="00")
    options = parser.parse_args()
    notebooks = {path.name.split("_")[0]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    if unknown := set(options.chapters) - set(notebooks):
        parser.error(f"no chapter {', '.join(sorted(unknown))}; there are {' '.join(notebooks)}")
    FOLDER.mkdir(exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        hook(Path(place, "fetched"), Path(place, "git"))
        python = runtime(options.python or colab_python(options.base), Path(place, "runtime"))
        for chapter in options.chapters or notebooks:
            before = packages(python)
            with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
                told = run(notebooks[chapter], python, Path(folder), Path(place))
            after = packages(python)
            wrong = faults(told, before, after)
            failed += bool(wrong)
            how = "FAILED" if wrong else "ran"
            print(f"{notebooks[chapter].stem}: {how}, {told.get('seconds', 0):.0f} s")
            print(*told.get("said", []), *wrong, *told.get("warnings", [])[:20], sep="\n", flush=True)
            changed = {name: version for name, version in after.items() if before.get(name) != version}
            set_up = None
            if changed:
                replaced = {name: before[name] for name in changed if name in before}
                set_up = {"said": told.get("said"), "installed": changed, "replaced": replaced}
                set_up["seconds_again"] = round(told.get("seconds_again", 0), 1)
            if not options.python:
                result = {"ran": not wrong, "seconds": round(told.get("seconds", 0)), "faults": wrong}
                result["warnings"] = told.get("warnings", [])[:5]
                keep(python, chapter, result, set_up)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
