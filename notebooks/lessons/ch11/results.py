"""What was measured for chapter 11 with several seeds: trainings on the JSON job of chapter 10 on a GPU by
`benchmarks/preference.py`, and the chapter's own training by `benchmarks/preference_chapter.py`.
"""

import json
from pathlib import Path

import numpy as np

from helpers.files import ROOT

FILE = ROOT / "benchmarks" / "results" / "preference.json"
CHAPTER = FILE.with_name("preference_chapter.json")  # the live training with other seeds, betas and rows
MISSING = "README.md, section Hardware, says what is stored; this was not measured."
NAMES = {
    "start": "the start",
    "sft": "imitation of the chosen answers",
    "dpo": "DPO (beta 0.1)",
    "dpo-own": "DPO (the start's own answers)",
    "dpo-long": "DPO (chosen answers longer)",
    "grpo-exact": "GRPO (exact label)",
}
PARTS = ("settings", "means", "minus_start", "minus_sft", "rates", "curves", "rewards", "before_training")


def stored(file: Path = FILE) -> dict:
    """The stored measurement; every part that is not there is empty.

    Example: `for name, scores in stored()["means"].items(): print(name, scores["macro_f1"]["value"])`
    """
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {"machine": {}} | {part: {} for part in PARTS} | found


def machine_line(found: dict) -> str:
    """Where and when the figures come from, or that there are none."""
    machine = found["machine"]
    if not machine:
        return MISSING
    seeds = max((len(setting["seeds"]) for setting in found["settings"].values()), default=0)
    return (
        f"Measured on {machine['device']}, {machine['date']}; up to {seeds} seeds, each with its own start."
    )


def named(family: str) -> str:
    """What a family of runs is called in a figure."""
    if family in NAMES:
        return NAMES[family]
    kind, _, rest = family.partition("-")
    return f"DPO (beta {rest})" if kind == "dpo" else f"GRPO ({rest.replace('_', ' ')})"


def by_beta(found: dict) -> dict[float, str]:
    """The families of DPO that differ in beta alone, the smallest beta first."""
    families = {0.1: "dpo"} if "dpo" in found["means"] else {}
    for family in found["means"]:
        rest = family.removeprefix("dpo-")
        if rest != family and rest[0].isdigit():
            families[float(rest)] = family
    return dict(sorted(families.items()))


def over_seeds(found: dict, part: str, family: str, curve: str, *names: str) -> dict[str, np.ndarray]:
    """Means over the seeds of what was noted on the way, (points,), with `step`; only points that all have.

    Example: `over_seeds(found, "curves", "dpo", "curve", "chosen", "rejected")`
    """
    runs = [run[curve] for run in found[part].get(family, {}).values()]
    points = min(map(len, runs), default=0)
    return {
        name: np.array([np.mean([run[place][name] for run in runs]) for place in range(points)])
        for name in ("step", *names)
    }
