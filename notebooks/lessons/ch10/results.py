"""What `benchmarks/chat.py` has measured for chapter 10: many trainings with seeds, stored in one file."""

import json
from pathlib import Path

import numpy as np

from helpers.files import ROOT
from lessons.intervals import interval

FILE = ROOT / "benchmarks" / "results" / "chat.json"
PARTS = ("ladder", "paired", "rank", "ways", "generated", "distilled")
MISSING = "benchmarks/chat.py has not stored this yet."


def stored(file: Path = FILE) -> dict:
    """The stored measurement; every part that is not there is an empty list, `all_rows` and `machine` a dict.

    Example: `for row in stored()["ladder"]: print(row["rung"], row["macro_f1"])`
    """
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {"machine": {}, "all_rows": {}} | {part: [] for part in PARTS} | found


def by_setting(rows: list[dict], *names: str, score: str = "macro_f1") -> list[dict]:
    """One entry per setting: mean over the seeds and its 95% interval (Student's t), the lowest mean first.

    Args:
        rows: entries of one part; those without the score are left out.
        names: what makes a setting, e.g. "rung", "rows"; an entry without one of them has None there.

    Returns:
        {*names, "mean", "values" (one per seed), "interval" (low, high) or None for a single seed}.
    """
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if row.get(score) is not None:
            groups.setdefault(tuple(row.get(name) for name in names), []).append(row[score])
    entries = [
        dict(zip(names, key))
        | {"mean": float(np.mean(values)), "values": values, "interval": _interval(values)}
        for key, values in groups.items()
    ]
    return sorted(entries, key=lambda entry: entry["mean"])


def _interval(values: list[float]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    mean, half = interval(values)
    return mean - half, mean + half


def machine_line(results: dict) -> str:
    """Where and when the figures come from, or that there are none."""
    if not results["machine"]:
        return MISSING
    return "Measured on " + ", ".join(
        f"{name} {value}"
        for name, value in results["machine"].items()
        if isinstance(value, str | int | float)
    )


def all_rows_line(results: dict) -> str:
    """The one score on the test rows, with all training rows, and its interval; or that there is none."""
    scored = results["all_rows"]
    if not scored:
        return f"all training rows, scored on the test rows: {MISSING}"
    low, high = scored["interval"]
    return f"all training rows: macro-F1 {scored['macro_f1']:.3f} on the test rows ({low:.3f} to {high:.3f})"
