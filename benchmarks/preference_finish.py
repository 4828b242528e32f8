"""The figures of chapter 11 from the runs of `preference.py`: benchmarks/results/preference.json.

Intervals: 95%, 2,000 draws of whole groups of test rows, the same draws for all runs and seeds; so they say
how a figure would move with other comments. Seeds stand one by one beside their mean.
"""

import gzip
import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from chat_compare import draws
from helpers.data.sources import SENTIMENTS
from helpers.files import ROOT, write_atomically
from preference import RATES, best_rate, read_lines
from preference_rows import REWARDS, constants

STORED = ROOT / "benchmarks" / "results" / "gpu_preference.jsonl.gz"
RESULTS = ROOT / "benchmarks" / "results" / "preference.json"
NOTES = [
    "Each seed has a start of its own: 200 comments, chapter 10's recipe. What follows learns from others.",
    "Rates of DPO and of SFT were chosen on validation rows with seed 1 (macro-F1 plus accuracy on pairs); "
    "betas, GRPO's rate and all numbers of steps were not.",
    "A pair is right if the chosen answer is the likelier one; it 'moved' if it gained more.",
    "made pairs are those of sources.preference_pairs; own pairs are two drawn answers of the start, of "
    "which the raters make one the better: the start is not sure there, so these are the hard ones.",
    "kl_token: mean over the tokens of drawn answers of log-probability minus that of the start, in nats.",
    "Answers are drawn by a copy in half precision; log-probabilities are those of bf16 autocast.",
    "seconds are of a card that several processes share.",
]
CPU_RATE = 290  # tokens a second that LoRA trains on two cores, measured in chapter 10


def finish(file: Path | None) -> None:
    """Keep the runs in one file beside the results, and write what the chapter draws."""
    if file is not None:
        lines = "".join(json.dumps(line) + "\n" for line in read_lines(file) if "point" not in line)
        write_atomically(STORED, gzip.compress(lines.encode(), mtime=0))
    found = figures(stored())
    write_atomically(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
    print("\n".join(table_lines(found)))


def stored() -> dict[str, dict]:
    """The runs by name."""
    lines = gzip.decompress(STORED.read_bytes()).decode("utf-8").splitlines()
    return {run["run"]: run for run in map(json.loads, lines)}


def families(runs: dict[str, dict]) -> dict[str, dict[int, dict]]:
    """Runs of one setting by seed; of those with several rates the chosen one."""
    found = {}
    for name, run in runs.items():
        if name == "rows" or "error" in run:
            continue
        family, seed, *rate = name.split("/")
        if rate and rate[0] != f"rate-{best_rate(family, runs)}":
            continue
        found.setdefault(family, {})[int(seed)] = run
    return {name: dict(sorted(found[name].items())) for name in sorted(found, key=place)}


def place(family: str) -> int:
    """Order of the table."""
    order = ("start", "sft", "dpo", "dpo-0.03", "dpo-0.3", "dpo-1.0", "dpo-own", "dpo-long")
    order += ("grpo-exact", "grpo-popular", "grpo-near_enough")
    return order.index(family) if family in order else len(order)


class Judge:
    """Scores of runs on the test rows, of all rows first and then of each draw: (1 + draws,)."""

    def __init__(self, rows: pd.DataFrame):
        self.rows, self.targets = rows, rows["label"].map(SENTIMENTS.index).to_numpy()
        self.counts = np.vstack([np.ones(len(rows)), draws(rows["group"].to_numpy())])  # (1 + draws, N)
        self.kinds = {kind: np.flatnonzero(rows["kind"] == kind) for kind in sorted(rows["kind"].unique())}

    def scores(self, run: dict) -> dict[str, np.ndarray]:
        """By name of the score."""
        test = run["test"]
        answers = np.array(["012-".index(digit) for digit in test["answers"]])
        found = self.task(answers) | {"valid_json": self.share(answers < 3)}
        said = np.array([np.nan if one is None else one for one in test["strengths"]], dtype=float)
        off = np.abs(said - self.rows["rating"].to_numpy())
        has = ~np.isnan(off)
        if has.any():
            found["strength_error"] = self.share(off[has], np.flatnonzero(has))
        for name, pairs in test["pairs"].items():
            places = np.arange(len(self.rows)) if pairs["places"] is None else np.array(pairs["places"])
            for key, value in (("right", "accuracy"), ("moved_right", "moved")):
                right = np.array([digit == "1" for digit in pairs[key]])
                found[f"{name}_{value}"] = self.share(right, places)
                if name == "made":
                    for kind, own in self.kinds.items():
                        found[f"{kind}_{value}"] = self.share(right[own], own)
        return found

    def share(self, values: np.ndarray, places=None) -> np.ndarray:
        """Mean of values (M,) that belong to the rows `places`."""
        counts = self.counts if places is None else self.counts[:, places]
        sums = counts.sum(1)  # a draw may have none of few rows: no number
        return np.divide(
            counts @ np.asarray(values, dtype=float), sums, out=np.full(len(sums), np.nan), where=sums > 0
        )

    def task(self, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Accuracy and macro-F1 of answers (N,), of which 3 is none."""
        f1_scores = []
        for label in range(3):
            said, meant = answers == label, self.targets == label
            sums = self.counts @ (said.astype(float) + meant)
            hits = self.counts @ (said & meant).astype(float)
            f1_scores.append(np.divide(2 * hits, sums, out=np.zeros_like(hits), where=sums > 0))
        return {"macro_f1": np.mean(f1_scores, axis=0), "accuracy": self.share(answers == self.targets)}


def interval(values: np.ndarray) -> dict:
    """The value of all rows with its interval."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {"value": float(values[0]), "interval": [float(low), float(high)]}


def mean(scored: list[dict], other: list[dict] | None = None) -> dict:
    """Mean over seeds of each score, or of its difference to that of `other` with the same seed."""
    names = set.intersection(*(set(scores) for scores in scored + (other or [])))
    found = {}
    for name in sorted(names):
        values = np.mean([scores[name] for scores in scored], axis=0)
        if other is not None:
            values = values - np.mean([scores[name] for scores in other], axis=0)
        found[name] = interval(values) | {"seeds": [float(scores[name][0]) for scores in scored]}
        if other is not None:
            found[name]["seeds"] = [float(one[name][0] - two[name][0]) for one, two in zip(scored, other)]
    return found


def figures(runs: dict[str, dict]) -> dict:
    """All that the chapter draws."""
    validation = pd.DataFrame(runs["rows"]["validation"])
    by_family, judge = families(runs), Judge(pd.DataFrame(runs["rows"]["test"]))
    scored = {name: {seed: judge.scores(run) for seed, run in own.items()} for name, own in by_family.items()}
    any_run = next(run for own in by_family.values() for run in own.values())
    where = {"device": any_run["device"], "versions": any_run["versions"]}
    behind = {name: own for name, own in scored.items() if name != "start"}
    control = scored.get("sft", {})
    return {
        "machine": where | {"date": date.today().isoformat()},
        "notes": NOTES,
        "settings": {name: setting(own) for name, own in by_family.items()},
        "means": {name: mean(list(own.values())) for name, own in scored.items()},
        "minus_start": {name: against(own, scored["start"]) for name, own in behind.items()},
        "minus_sft": {name: against(own, control) for name, own in behind.items() if name != "sft"},
        "rates": rates(runs),
        "curves": kept(by_family, ("dpo", "sft"), ("curve", "losses")),
        "rewards": kept(by_family, ("grpo",), ("curve", "held_out", "after")),
        "before_training": {
            "constants": constants(validation),
            "start": start_rewards(by_family, judge),
        },
        "samples": {name: next(iter(own.values()))["samples"] for name, own in by_family.items()},
        "failed": {name: run["error"] for name, run in runs.items() if "error" in run},
        "on_a_cpu": on_a_cpu(by_family),
    }


def kept(by_family: dict, begins: tuple, names: tuple) -> dict:
    """What was noted on the way, by family and seed."""
    return {
        family: {seed: {name: run[name] for name in names} for seed, run in own.items()}
        for family, own in by_family.items()
        if family.startswith(begins)
    }


def against(own: dict, other: dict) -> dict:
    """Mean difference over the seeds that both have."""
    seeds = [seed for seed in own if seed in other]
    return mean([own[seed] for seed in seeds], [other[seed] for seed in seeds]) if seeds else {}


def setting(own: dict[int, dict]) -> dict:
    """What a family is: its options, steps, pairs and seconds by seed."""
    names = ("options", "recipe", "pairs", "rows", "own", "steps", "of_steps", "seconds", "seconds_training")
    found = {name: {seed: run[name] for seed, run in own.items() if name in run} for name in names}
    lengths = {seed: run["test"]["length"] for seed, run in own.items()}
    found = {name: values for name, values in found.items() if values}
    return {"seeds": list(own), "test_length": lengths} | found


def rates(runs: dict[str, dict]) -> dict:
    """What the rates were chosen by."""
    found = {}
    for kind, tried in RATES.items():
        scores = {str(rate): runs.get(f"{kind}/1/rate-{rate}", {}).get("validation") for rate in tried}
        found[kind] = {"chosen": best_rate(kind, runs), "validation": scores}
    return found


def start_rewards(by_family: dict, judge: Judge) -> dict:
    """What the start's likeliest answers to test rows earn by each reward, mean over seeds."""
    records, found = judge.rows.to_dict("records"), {name: [] for name in REWARDS}
    for run in by_family["start"].values():
        stated = zip(run["test"]["answers"], run["test"]["strengths"])
        answers = [
            json.dumps({"sentiment": SENTIMENTS[int(digit)], "strength": strength}) if digit != "-" else ""
            for digit, strength in stated
        ]
        for name, reward in REWARDS.items():
            found[name].append(float(np.mean(reward(answers, records))))
    return {name: float(np.mean(values)) for name, values in found.items()}


def on_a_cpu(by_family: dict) -> dict:
    """How long the same would take on two cores: an estimate from the rate of chapter 10's training."""
    pairs = [run["pairs"] for run in by_family.get("dpo", {}).values()]
    tokens = 2 * 62  # of a pair: both answers with their prompt
    if not pairs:
        return {}
    seconds = (
        (1 + 1 / 3) * pairs[0] * tokens / CPU_RATE
    )  # a third more for the reference, which learns nothing
    said = {"tokens_a_pair": tokens, "tokens_a_second": CPU_RATE, "seconds_of_dpo": round(seconds)}
    return {"estimate": True, "pairs": pairs[0]} | said


def table_lines(found: dict) -> list[str]:
    """The table as text."""
    columns = ("macro_f1", "accuracy", "valid_json", "strength_error")
    columns += ("made_accuracy", "made_moved", "own_accuracy", "own_moved")
    lines = [f"{'':18}{'seeds':>6}" + "".join(f"{name:>25}" for name in columns)]
    for name, scores in found["means"].items():
        cells = "".join(f"{cell(scores.get(column)):>25}" for column in columns)
        lines.append(f"{name:18}{len(found['settings'][name]['seeds']):>6}{cells}")
    return lines


def cell(score: dict | None) -> str:
    """A value with its interval."""
    if score is None:
        return "-"
    low, high = score["interval"]
    return f"{score['value']:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    finish(None)
