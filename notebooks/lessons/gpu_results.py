"""What a GPU has measured for the chapters, where `benchmarks/gpu.py` has stored it."""

import json
from pathlib import Path

from helpers.files import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def stored_gpu_results(folder: Path = RESULTS) -> dict | None:
    """The newest stored measurement of a GPU, or None where there is none; dry runs do not count.

    Example: `stored = stored_gpu_results(); print(card(stored))`
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("gpu_*.json"))]
    real = [one for one in found if one["machine"]["device"] == "cuda" and one["scale"] == "full"]
    return max(real, key=lambda one: one["machine"]["date"], default=None)


def card(results: dict | None) -> str:
    """One line that says where and when the figures come from, or that there are none."""
    if results is None:
        return "No GPU has measured this yet; benchmarks/gpu.py does, in eight minutes."
    machine = results["machine"]
    software = f"torch {machine['versions']['torch']}, CUDA {machine['versions']['cuda']}"
    return f"Measured on {machine['card']}, {machine['date']}, {software}, driver {machine['driver']}:"


def measured(results: dict | None, part: str, **names) -> list[dict]:
    """The entries of a part that have these values, without those that failed or were skipped; of None, none.

    Example: `for row in measured(stored, "text_speed", mode="training"): print(row["speed"]["median"])`
    """
    if results is None or part not in results["parts"]:
        return []
    rows = [row for row in results["parts"][part]["rows"] if "error" not in row and "skipped" not in row]
    return [row for row in rows if all(row.get(name) == value for name, value in names.items())]
