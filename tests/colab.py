"""Run chapters as Google Colab does: Colab's versions, and nothing but the notebook, which clones the course.

Not part of `make test`: it makes an environment of several GB and downloads data and weights for each
chapter. What is cloned is the last commit.

usage: make test-colab [CHAPTERS="00 05"]
       python tests/colab.py [--python PYTHON] [00 05 ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import publish
from helpers.files import ROOT
from test_project import COLAB

FOLDER = Path(tempfile.gettempdir()) / "course-colab"
# What Colab has besides (August 2026) that touches how a notebook runs.
SERVER = {
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
    "traitlets": "5.7.1",
    "nbclient": "0.10.4",
    "datasets": "4.0.0",
}
EXECUTE = """
import sys, nbformat, nbclient
book = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(book, timeout=1800, kernel_name="python3").execute()
print("".join(output.get("text", "") for output in book.cells[1].outputs), end="")
"""


def colab_python() -> Path:
    """The Python of an environment with Colab's versions; made at the first call."""
    python = FOLDER / "venv" / "bin" / "python"
    if not (FOLDER / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "venv"], check=True)
        pins = [f"{name}=={version}" for name, version in (COLAB | SERVER).items()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        (FOLDER / "ready").touch()
    return python


def run(notebook: Path, python: Path, folder: Path) -> bool:
    """Execute one chapter in an empty folder; the command prints its first output or its error."""
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "alone").mkdir()
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, folder / "course.git"], check=True)
    book = json.loads(notebook.read_text(encoding="utf-8"))
    code = next(cell for cell in book["cells"] if cell["cell_type"] == "code")
    address = f'ADDRESS = "{(folder / "course.git").as_uri()}"'
    code["source"] = publish.ADDRESS.sub(address, "".join(code["source"]))
    (folder / "alone" / notebook.name).write_text(json.dumps(book), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [python, "-c", EXECUTE, notebook.name]
    return subprocess.run(command, cwd=folder / "alone", env=environment).returncode == 0


def main() -> int:
    """Run the chapters that are named, or all; exit status 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--python", type=Path, help="one with the course's packages, in place of Colab's versions"
    )
    parser.add_argument("chapters", nargs="*", metavar="00")
    options = parser.parse_args()
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    names = options.chapters or [path.name.split("_")[0] for path in notebooks]
    chosen = [path for path in notebooks if path.name.split("_")[0] in names]
    python, failed = options.python or colab_python(), []
    for notebook in chosen:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            is_right = run(notebook, python, Path(folder))
        failed += [] if is_right else [notebook.name]
        print(
            f"{notebook.stem}: {'ran' if is_right else 'FAILED'}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
