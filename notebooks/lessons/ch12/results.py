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
    """Speed and memory of a stream beside a local list of the same rows; or that there is nothing yet."""
    found = stored("streaming", folder)
    if found is None:
        return ["Not measured yet: benchmarks/streaming.py does."]
    lines = [f"{found['rows']:,} rows, batches of {found['batch_size']}:"]
    for name, part in found.items():
        if not isinstance(part, dict) or "list" not in part:
            continue
        lines += [
            f"{name:<18} {kind:<8} {entry['rows_per_second']:>8,} rows/s, {entry['mb']:>5,} MB"
            + (f", {entry['share_of_list']:.2f} of the list's speed" if kind != "list" else "")
            for kind, entry in part.items()
        ]
    return lines


def sharding_lines(folder: Path = FOLDER) -> list[str]:
    """Losses and bytes of the whole model on 1, 2 and 4 processes; or that there is nothing yet."""
    found = stored("sharding", folder)
    if found is None:
        return ["Not measured yet: benchmarks/sharding.py does."]
    settings = found["settings"]
    lines = [f"SmolLM2 with {settings['layers']} layers, {settings['steps']} steps:"]
    for name, run in found["runs"].items():
        most = max(sum(held.values()) for held in run["held"])
        lines.append(
            f"{name:<7} losses differ by at most {run['largest_difference']:.1e}, a process holds "
            f"{most / 1e6:5,.0f} MB and had {max(run['peak_bytes']) / 1e6:6,.0f} MB in all, "
            f"{run['seconds_per_step']:.1f} s per step"
        )
    difference = found["resumed"]["largest_difference"]
    return [*lines, f"4 processes, then 2, then 1: losses differ by at most {difference:.1e}"]


def efficiency_line(folder: Path = FOLDER) -> str:
    """What share of its peak a GPU has reached in training a language model; or that none has measured."""
    found = []
    for file in sorted(folder.glob("gpu_*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = [row for part in content["parts"].values() for row in part["rows"] if "efficiency" in row]
        half = [row for row in rows if row["precision"] == "bf16"]
        found += [(row["efficiency"], row, content["machine"]["card"]) for row in half]
    if not found:
        return "A GPU's efficiency is not measured yet: benchmarks/gpu.py does."
    best, row, card = max(found, key=lambda entry: entry[0])
    what = ", ".join(f"{name} {row[name]}" for name in ("model", "strategy", "precision", "batch", "tokens"))
    return f"On {card} the best of {len(found)} trainings reached {best:.0%} of the peak ({what})."
