"""What a GPU has measured for the chapters, where `benchmarks/gpu.py` has stored it."""

import json
from pathlib import Path

from helpers.files import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def stored_gpu_results(folder: Path = RESULTS) -> dict | None:
    """The newest stored measurement of a GPU, or None where there is none; dry runs do not count.

    Example: `stored = stored_gpu_results(); print("not measured" if stored is None else card(stored))`
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("gpu_*.json"))]
    real = [
        results for results in found if results["machine"]["device"] == "cuda" and results["scale"] == "full"
    ]
    return max(real, key=lambda results: results["machine"]["date"], default=None)


def card(results: dict) -> str:
    """One line that says where and when the figures come from."""
    machine = results["machine"]
    software = f"torch {machine['versions']['torch']}, CUDA {machine['versions']['cuda']}"
    return f"measured on {machine['card']}, {machine['date']}, {software}, driver {machine['driver']}"


def measured(results: dict, part: str, **names) -> list[dict]:
    """The entries of a part that have these values; those that failed or were skipped are left out.

    Example: `measured(stored, "text_speed", mode="training", batch=64)[0]["speed"]["median"]`
    """
    rows = results["parts"].get(part, {"rows": []})["rows"]
    whole = [row for row in rows if "error" not in row and "skipped" not in row]
    return [row for row in whole if all(row.get(name) == value for name, value in names.items())]
