"""What a GPU has measured for the chapters, where `benchmarks/gpu.py` has stored it."""

import json
from pathlib import Path

from helpers.files import ROOT

RESULTS = ROOT / "benchmarks" / "results"
WHOLE_RUN = 8  # minutes that benchmarks/gpu.py takes
REASONS = ("error", "skipped")  # an entry with one of these has no figures


def stored_gpu_results(folder: Path = RESULTS) -> dict | None:
    """The newest stored measurement of a GPU, or None where there is none; dry runs do not count.

    Example: `stored = stored_gpu_results(); print(card(stored))`
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("gpu_*.json"))]
    real = [one for one in found if one["machine"]["device"] == "cuda" and one["scale"] == "full"]
    return max(real, key=lambda one: one["machine"]["date"], default=None)


def card(results: dict | None, *parts: str) -> str:
    """One sentence: where, when and how long a GPU measured, and what of these parts it did not measure.

    Example: `print(card(stored, "memory"))`
    """
    if results is None:
        return "No GPU has measured this yet; benchmarks/gpu.py does, in eight minutes."
    machine, minutes = results["machine"], results["minutes"]
    software = f"torch {machine['versions']['torch']}, CUDA {machine['versions']['cuda']}"
    length = "a short run" if minutes < WHOLE_RUN else "a run"
    where = f"{machine['card']}, {machine['date']}, {software}, driver {machine['driver']}"
    where += f", in {length} of at most {minutes:g} minutes"
    gaps = "; ".join(gap(results, part) for part in parts if gap(results, part))
    if not gaps:
        return f"Measured on {where}:"
    if not any(measured(results, part) for part in parts):
        return f"Not measured yet on {where}: {gaps}."
    return f"Measured on {where}, and not measured yet: {gaps}."


def gap(results: dict, part: str) -> str:
    """What of a part was not measured, and the error where it failed; "" where nothing is missing.

    Example: `gap(stored, "compile")` is "4 of 4 entries of compile" where the run ended before that part.
    """
    rows, found = results["parts"].get(part, {"rows": []})["rows"], measured(results, part)
    if not rows:
        return f"all of {part}"
    missing = [row for row in rows if row not in found]
    if not missing:
        return ""
    reasons = [row["error"] for row in missing if "error" in row]
    failed = f", {len(reasons)} of them failed ({reasons[0]})" if reasons else ""
    values = [(name, value) for row in missing for name, value in row.items() if name not in REASONS]
    absent = [
        f"{name} {value}"
        for name, value in dict.fromkeys(values)
        if not measured(results, part, **{name: value})
    ]
    none = f", so none with {', '.join(absent)}" if found and absent else ""
    return f"{len(missing)} of {len(rows)} entries of {part}{failed}{none}"


def measured(results: dict | None, part: str, **names) -> list[dict]:
    """The entries of a part that have these values, without those that failed or were skipped; of None, none.

    Example: `for row in measured(stored, "text_speed", mode="training"): print(row["speed"]["median"])`
    """
    if results is None or part not in results["parts"]:
        return []
    rows = [row for row in results["parts"][part]["rows"] if not any(reason in row for reason in REASONS)]
    return [row for row in rows if all(row.get(name) == value for name, value in names.items())]
