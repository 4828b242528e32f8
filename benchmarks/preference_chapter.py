"""Repeat chapter 11's live training with other seeds, betas and rows: what its one run cannot tell.

usage: python benchmarks/preference_chapter.py [--seeds 3] [--quick]

The chapter's own cells are executed, as they stand, with another seed: other training rows, other first
weights, other order. They are judged on 120 clear test comments, of which the chapter knows nothing. No
number was chosen by them: rate, pairs and steps are those of the chapter.
Writes benchmarks/results/preference_chapter.json, which the chapter reads: about seven minutes on 2 cores.
"""

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
import time

import numpy as np
import torch

from helpers import environment
from helpers.files import ROOT, write_atomically
from helpers.training.metrics import macro_f1, mean_interval

NOTEBOOK = ROOT / "notebooks" / "11_preference_tuning.ipynb"
RESULTS = ROOT / "benchmarks" / "results" / "preference_chapter.json"
BETAS, TEST_ROWS = (0.03, 0.1, 0.3, 1.0), 120
# The cells that are executed are those that hold one of these, in the chapter's order.
PARTS = (
    "environment.set_up()", "import math", "cleaned, _ =", "LowerLayersOnce(base.model", "def clear_rows",
    "class PairDataset", "def pair_collate", "dataset = PairDataset(pairs, tokenizer)",
    "def pair_log_probabilities", "def dpo_loss", "def with_adapter", "first_pairs =", "def all_pairs",
    "def train_dpo", "def word_log_probabilities",
)  # fmt: skip
LEFT_OUT = ("pictures.pair_map(batch, tokenizer)",)
CHANGED = {
    "SEED, START_ROWS, PAIRS, HELD_OUT, FAULT_PAIRS = 0, 72, 192, 75, 64": "START_ROWS, PAIRS = {rows}",
    'rows.groupby("label")': 'rows.sample(frac=1, random_state=SEED).groupby("label")',
    'clear_rows(parts["validation"], HELD_OUT)': 'clear_rows(parts["test"], {held_out})',
}


def cells() -> list[str]:
    """The code of the chapter that trains, in its order."""
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    chosen = [source for source in code if any(part in source for part in PARTS)]
    for part in (*PARTS, *CHANGED):
        if not any(part in source for source in chosen):
            raise SystemExit(f"chapter 11 has no cell with {part!r} any more: look at benchmarks/{__name__}")
    return chosen


def chapter(seed: int, *, quick: bool) -> dict:
    """What the chapter's cells define and hold before its training, with another seed."""
    rows, held_out = ("6, 12", 6) if quick else ("72, 192", TEST_ROWS)
    names = {"__name__": "chapter", "SEED": seed, "log_p": torch.zeros(2, 2)}
    for source in cells():
        for old, new in CHANGED.items():
            source = source.replace(old, new.format(rows=rows, held_out=held_out))
        for line in LEFT_OUT:
            source = source.replace(line, "")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(source, names)
    return names


def judged(names: dict, log_p: torch.Tensor, words: torch.Tensor, before: torch.Tensor) -> dict:
    """Who wins the pairs, what is said of the test comments, and how far the words' probabilities moved."""
    moved, right = log_p - names["held_reference"], (log_p[:, 0] > log_p[:, 1]).double().numpy()
    said = words.argmax(1).numpy()
    return {
        "right": right,
        "said": said,
        "kl_answer": float((words.exp() * (words - before)).sum(1).mean()),
        "valid": float(words.exp().sum(1).mean()),
        "chosen": float(moved[:, 0].mean()),
        "rejected": float(moved[:, 1].mean()),
        "margin_above_zero": float((moved[:, 0] > moved[:, 1]).double().mean()),
    }


def main() -> None:
    """Train with every seed and beta, and store means, intervals and every seed's figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few rows, and nothing is stored")
    options = parser.parse_args()
    os.chdir(NOTEBOOK.parent)  # as a notebook's kernel
    start, runs, held = time.perf_counter(), {}, []
    for seed in range(1, options.seeds + 1):
        names = chapter(seed, quick=options.quick)
        held.append(names["held_out"])
        before = names["word_log_probabilities"](names["held_out"])
        runs.setdefault("start", {})[seed] = judged(names, names["held_reference"], before, before)
        for beta in BETAS:
            curve = names["train_dpo"](names["dataset"], beta=beta)
            words = names["word_log_probabilities"](names["held_out"])
            found = judged(names, names["all_pairs"](names["held_pairs"]), words, before)
            family = "dpo" if beta == 0.1 else f"dpo-{beta:g}"
            runs.setdefault(family, {})[seed] = found | {"steps": len(curve), "losses": curve[:, 0].round(4)}
            print(f"seed {seed}, beta {beta}: {time.perf_counter() - start:.0f} s", flush=True)
    found = summary(runs, held) | {"seconds": round(time.perf_counter() - start)}
    for family, scores in found["means"].items():
        shown = {name: f"{one['value']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"
                 for name, one in scores.items()}  # fmt: skip
        print(f"{family:<10}", shown)
    if not options.quick:
        write_atomically(RESULTS, (json.dumps(found, indent=1) + "\n").encode())


def summary(runs: dict, held: list) -> dict:
    """The stored file: means over the seeds and every run. Intervals of pairs are over groups of test
    comments, those of all other figures the range of the seeds.
    """
    labels = [np.array([("negative", "neutral", "positive").index(label) for label in rows["label"]])
              for rows in held]  # fmt: skip
    groups = np.concatenate([rows["group"].to_numpy() for rows in held])
    means, curves = {}, {}
    for family, own in runs.items():
        right = np.concatenate([run["right"] for run in own.values()])
        f1 = [macro_f1(target, run["said"], 3) for target, run in zip(labels, own.values())]
        means[family] = {
            "pair_accuracy": {
                "value": float(right.mean()),
                "interval": mean_interval(right, groups=groups),
                "seeds": [float(run["right"].mean()) for run in own.values()],
            },
            "macro_f1": {
                "value": float(np.mean(f1)),
                "interval": [min(f1), max(f1)],  # of the seeds
                "seeds": f1,
            },
        }
        for name in ("kl_answer", "valid", "chosen", "rejected", "margin_above_zero"):
            seeds = [run[name] for run in own.values()]
            means[family][name] = {
                "value": float(np.mean(seeds)), "interval": [min(seeds), max(seeds)], "seeds": seeds,
            }  # fmt: skip
        if family == "start":
            continue
        gained = right - np.concatenate([run["right"] for run in runs["start"].values()])
        means[family]["pair_accuracy_gain"] = {
            "value": float(gained.mean()), "interval": mean_interval(gained, groups=groups),
            "seeds": [float(a["right"].mean() - b["right"].mean()) for a, b in
                      zip(own.values(), runs["start"].values())],
        }  # fmt: skip
        curves[family] = {
            seed: {"curve": [
                {"step": 0, "pair_accuracy": float(runs["start"][seed]["right"].mean()), "kl_answer": 0.0},
                {"step": run["steps"], "pair_accuracy": float(run["right"].mean()),
                 "kl_answer": run["kl_answer"]},
            ], "losses": run["losses"].tolist()}
            for seed, run in own.items()
        }  # fmt: skip
    seeds = list(next(iter(runs.values())))
    machine = {"device": platform.machine(), "date": datetime.date.today().isoformat()}
    return {
        "machine": machine | {"versions": environment.versions(), "threads": torch.get_num_threads()},
        "settings": {family: {"seeds": seeds} for family in runs},
        "rows": [len(rows) for rows in held],
        "means": means,
        "curves": curves,
    }


if __name__ == "__main__":
    main()
