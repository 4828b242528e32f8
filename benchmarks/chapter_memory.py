"""The most memory that each chapter takes, kernel and started processes: what the doctor compares with.

`python benchmarks/chapter_memory.py [NAME ...]` runs the notebooks named so (06, B; by default all, about 15
minutes on 2 cores) without changing them, and writes results/chapter_memory.json. Linux and macOS.
"""

import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from helpers import environment
from helpers.files import ROOT, write_atomically

RESULTS = Path(__file__).resolve().parent / "results" / "chapter_memory.json"
# The kernel's own peak, and that of its largest process; in KB but on macOS, which counts bytes.
PEAK = """
import resource, sys
unit = 1 if sys.platform == "darwin" else 1024
parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
print([resource.getrusage(part).ru_maxrss * unit / 1e9 for part in parts])
"""


def peak(file: Path) -> dict:
    """Run a notebook; the peaks of its kernel and of the largest process that it started, in GB."""
    notebook = nbformat.read(file, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(file.parent)}}).execute()
    own, child = json.loads(notebook.cells[-1].outputs[0].text)
    return {"kernel_gb": round(own, 2), "largest_process_gb": round(child, 2)}


def main(names: list[str]) -> None:
    """Measure the chapters one by one; the file grows with each."""
    chapters = json.loads(RESULTS.read_text(encoding="utf-8"))["chapters"] if RESULTS.exists() else {}
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        name = file.name.split("_")[0]
        if names and name not in names:
            continue
        chapters[name] = peak(file)
        print(name, chapters[name], flush=True)
        content = {"chapters": chapters, "versions": environment.versions()}
        write_atomically(RESULTS, json.dumps(content, indent=2).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
