"""What a GPU has measured for the chapters, where `benchmarks/gpu.py` has stored it."""

import json
from pathlib import Path

from helpers.files import ROOT

RESULTS = ROOT / "benchmarks" / "results"
REASONS = ("error", "skipped")  # an entry with one of these has no figures


def stored_gpu_results(folder: Path = RESULTS) -> dict | None:
    """The newest stored measurement of a GPU, or None where there is none; dry runs do not count.

    Example: `stored = stored_gpu_results(); print(card(stored))`
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("gpu_*.json"))]
    real = [one for one in found if one["machine"]["device"] == "cuda" and one["scale"] == "full"]
    return max(real, key=lambda one: one["machine"]["date"], default=None)


def card(results: dict | None, *parts: str) -> str:
    """One sentence: where, when and how long a GPU measured, if it measured any of these parts, or where to
    look instead. Runs that keep what earlier ones have measured make one file: their minutes add up.

    Example: `print(card(stored, "memory"))`
    """
    if results is None or (parts and not any(measured(results, part) for part in parts)):
        return "README.md, Hardware, says what a GPU has measured."
    machine = results["machine"]
    software = f"torch {machine['versions']['torch']}, CUDA {machine['versions']['cuda']}"
    where = f"{machine['card']}, {software}, driver {machine['driver']}"
    return f"Measured on {where}, in at most {results['minutes']:g} minutes, the last on {machine['date']}:"


def measured(results: dict | None, part: str, **names) -> list[dict]:
    """The entries of a part that have these values, without those that failed or were skipped; of None, none.

    Example: `for row in measured(stored, "text_speed", mode="training"): print(row["speed"]["median"])`
    """
    if results is None or part not in results["parts"]:
        return []
    rows = [row for row in results["parts"][part]["rows"] if not any(reason in row for reason in REASONS)]
    return [row for row in rows if all(row.get(name) == value for name, value in names.items())]


def language_models(results: dict | None, part: str) -> str:
    """Sentence and lines of a part about language models, to be printed: "training", "sharing_out" (FSDP2 in
    one process), "planner" (planned beside measured memory) or "writing".

    Example: `print(language_models(stored, "training"))`
    """
    return "\n".join([card(results, part), *map(_language_line, measured(results, part))])


def _language_line(row: dict) -> str:
    speed = f"{row['speed']['median']:9,.0f} tokens/s"
    if "cache" in row:
        way = "with cache" if row["cache"] else "without"
        return f"{row['model']}: {row['batch']:>3} rows of {row['tokens']:>4} new tokens, {way:<10} {speed}"
    way = "4-bit LoRA" if row.get("bits") == 4 else {"full": "full", "lora": "LoRA"}[row["strategy"]]
    words = {"checkpointing": ", checkpointing", "shared_out": ", FSDP2", "padding": ", padding"}
    way += f", {row['precision']}" + "".join(text for name, text in words.items() if row.get(name))
    planned, peak = row["planned_bytes"] / 1e9, row["peak_bytes"] / 1e9
    memory = f"peak {peak:5.1f} GB, planned {planned:5.1f} GB ({planned / peak - 1:+.0%})"
    share = f", {row['efficiency']:.0%} of the card's peak" if "efficiency" in row else ""
    return f"{row['model']}, {way:<31} {row['batch']:>3} x {row['tokens']:<4} {speed}, {memory}{share}"
