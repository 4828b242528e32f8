"""What `benchmarks/preference.py` has measured for chapter 11: trainings with three seeds, stored in one file."""

import json
from pathlib import Path

import numpy as np
from scipy import stats

from helpers.files import ROOT

FILE = ROOT / "benchmarks" / "results" / "preference.json"
MISSING = "Not measured yet: benchmarks/preference.py stores this."


def stored(file: Path = FILE) -> dict:
    """The stored measurement; without a file `runs` is an empty list.

    Example: `for run in stored()["runs"]: print(run["kind"], run["beta"])`
    """
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {"machine": {}, "runs": []} | found


def machine_line(found: dict) -> str:
    """Where and when the figures come from, or that there are none."""
    if not found["machine"]:
        return MISSING
    told = ", ".join(
        f"{name} {value}" for name, value in found["machine"].items() if isinstance(value, str | int | float)
    )
    return f"Measured on {told}"


def runs(found: dict, kind: str, **values) -> list[dict]:
    """The runs of a kind that have these values.

    Example: `runs(found, "dpo", beta=0.1)`
    """
    return [
        run
        for run in found["runs"]
        if run["kind"] == kind and all(run.get(name) == value for name, value in values.items())
    ]


def interval(values: list[float]) -> tuple[float, float] | None:
    """95% interval of the mean over seeds (Student's t), or None for a single seed."""
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values) - half), float(np.mean(values) + half)
