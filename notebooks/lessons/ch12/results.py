"""What `benchmarks/streaming.py` and `benchmarks/sharding.py` have stored for chapter 12."""

import json
from pathlib import Path

from helpers.files import ROOT

FOLDER = ROOT / "benchmarks" / "results"


def stored(name: str, folder: Path = FOLDER) -> dict | None:
    """A stored measurement, or None where there is none yet.

    Example: `found = stored("sharding")`
    """
    file = folder / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def streaming_lines(folder: Path = FOLDER) -> list[str]:
    """Rows, memory and speed of the stored stream, one sentence each; or that there is nothing yet."""
    found = stored("streaming", folder)
    if found is None:
        return ["Not measured yet: benchmarks/streaming.py does."]
    return [str(found)]


def sharding_lines(folder: Path = FOLDER) -> list[str]:
    """Losses and bytes of the whole model on 1, 2 and 4 processes; or that there is nothing yet."""
    found = stored("sharding", folder)
    if found is None:
        return ["Not measured yet: benchmarks/sharding.py does."]
    return [str(found)]


def efficiency_line(folder: Path = FOLDER) -> str:
    """What share of its peak a GPU has reached when it trained a language model; or that none has measured."""
    found = []
    for file in sorted(folder.glob("gpu_*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = [row for part in content["parts"].values() for row in part["rows"] if "efficiency" in row]
        found += [(row["efficiency"]["median"], row, content["machine"]["card"]) for row in rows]
    if not found:
        return "A GPU's efficiency is not measured yet: benchmarks/gpu.py does."
    best, row, card = max(found, key=lambda entry: entry[0])
    what = ", ".join(f"{name} {row[name]}" for name in ("model", "strategy", "precision", "batch", "tokens"))
    return f"On {card} the best of {len(found)} trainings reached {best:.0%} of the peak ({what})."
