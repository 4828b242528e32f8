"""The stored measurements of chapter 08: compressed models with their scores, sizes and times."""

import json

import pandas as pd

from helpers.files import ROOT
from lessons.intervals import interval

RESULTS = ROOT / "benchmarks" / "results"


def compression_runs() -> pd.DataFrame:
    """One row per seed and method of `benchmarks/compression.py`."""
    return pd.DataFrame(json.loads((RESULTS / "compression.json").read_text(encoding="utf-8"))["runs"])


def points(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean macro-F1 of each method with half the width of its 95% interval over the seeds, MB, and the least
    ms of a seed: other work on the machine can only add to it.
    """
    grouped = runs.groupby("method", sort=False)
    found = grouped.agg({"macro_f1": "mean", "megabytes": "mean", "ms_p50": "min"})
    found = found.rename(columns={"megabytes": "MB", "ms_p50": "ms"})
    half = grouped["macro_f1"].agg(lambda scores: interval(scores)[1])
    return found.assign(half_width=half, seeds=grouped["seed"].nunique())


def differences(runs: pd.DataFrame, one: str, other: str) -> pd.Series:
    """Macro-F1 of `one` minus that of `other`, seed by seed."""
    by_seed = runs.pivot(index="seed", columns="method", values="macro_f1")
    return by_seed[one] - by_seed[other]
