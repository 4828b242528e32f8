"""What a change brings, from runs that share their seeds: paired differences with intervals (chapter 05)."""

import pandas as pd

from lessons.intervals import interval


def image_scores(results: dict) -> pd.DataFrame:
    """Accuracy of each run of `benchmarks/augmentation.py`: `variant`, `seed`, `view`, `score`."""
    rows = [
        (run["variant"], run["seed"], view, metrics["accuracy"])
        for run in results["images"]
        for view, metrics in run["reported"].items()
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "view", "score"])


def text_scores(results: dict) -> pd.DataFrame:
    """Macro-F1 of each change of the texts, as `image_scores`."""
    rows = [
        (variant, run["seed"], "plain", score)
        for run in results["texts"]
        for variant, score in run["macro_f1"].items()
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "view", "score"])


def paired(scores: pd.DataFrame, base: str = "none") -> pd.DataFrame:
    """Each variant against `base`, seed by seed, the largest effect first.

    Returns:
        `view`, `variant`, `seeds` (their number), `difference` (mean over the seeds), `half` (of its 95%
        t-interval, also the smallest effect that these runs can tell from nothing), `decided` (the interval
        leaves out 0).
    """
    table = []
    for view, rows in scores.groupby("view", sort=False):
        wide = rows.pivot(index="seed", columns="variant", values="score")
        for variant in wide.columns.drop(base):
            differences = (wide[variant] - wide[base]).dropna()
            mean, half = interval(differences)
            table.append((view, variant, len(differences), mean, half, abs(mean) > half))
    found = pd.DataFrame(table, columns=["view", "variant", "seeds", "difference", "half", "decided"])
    return found.sort_values("difference", ascending=False, ignore_index=True)


def lines(table: pd.DataFrame, unit: str) -> str:
    """The decided effects, one a line, and one sentence on those that were too small to see."""
    decided = table[table["decided"]]
    told = [
        f"{row.variant} on {row.view}: {row.difference:+.3f} ± {row.half:.3f} {unit}"
        for row in decided.itertuples()
    ]
    rest = table[~table["decided"]]
    if len(rest):
        names = ", ".join(f"{row.variant} on {row.view} ({row.half:.3f})" for row in rest.itertuples())
        told.append(f"Too small to see (smallest visible effect): {names}.")
    return "\n".join([f"{table['seeds'].min()} seeds, each variant against none:", *told])
