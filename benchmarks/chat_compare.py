"""What `chat.py` makes of its runs: one file of a GPU's runs, scores with intervals, and paired differences.

Pairs are two methods on the same drawn training rows with the same seeds. Their difference is the mean over
the seeds; its interval comes from drawing the validation rows again, whole groups at a time, the same draws
for both and for all seeds. So it says how the difference would move with other comments, and not with other
seeds: those are few, and stand one by one in the ladder.
"""

import base64
import gzip
import json
from pathlib import Path

import numpy as np

from chat_models import KEPT, SEEDS, SIZES, Bench, name_of, scored, targets_of
from helpers.files import ROOT, write_atomically
from helpers.training.metrics import macro_f1

GPU = ROOT / "benchmarks" / "results" / "gpu_chat.jsonl.gz"  # a run a line: answers, and the teacher's logits
RESAMPLES = 2000


def gpu_runs() -> list[dict]:
    """The language model's runs, which a GPU has measured."""
    return [json.loads(line) for line in gzip.decompress(GPU.read_bytes()).decode("utf-8").splitlines()]


def gather(folder: Path) -> None:
    """Put the runs in `folder`/*.json and their logits, in runs/chat_benchmark, into one file."""
    runs = [
        run for file in sorted(folder.glob("*.json")) for run in json.loads(file.read_text("utf-8"))["runs"]
    ]
    for size in SIZES:  # runs that left logits and no figures
        for seed in SEEDS:
            key = {"part": "ladder", "rung": "lora", "rows": size, "seed": seed}
            if not any(run["key"] == key for run in runs) and kept(key) is not None:
                note = "stopped before its answers were written; scored by the logits that it had left"
                runs.append({"key": key, "device": runs[0]["device"], "versions": runs[0]["versions"]})
                runs[-1]["note"] = note
    for run in runs:
        logits, test = kept(run["key"]), kept(run["key"] | {"rows_of": "test"})
        train = kept(run["key"] | {"rows_of": "train"})
        if logits is not None:
            run["answers"] = digits(logits)
        if test is not None:
            run["answers_test"] = digits(test)
        if train is not None and run["key"]["seed"] == SEEDS[0]:
            run["of_train"] = base64.b64encode(train.astype(np.float16).tobytes()).decode()
    lines = "".join(json.dumps(run) + "\n" for run in runs)
    write_atomically(GPU, gzip.compress(lines.encode(), mtime=0))


def kept(key: dict) -> np.ndarray | None:
    """Logits (N, 3) that a run has left, or None."""
    file = KEPT / f"{name_of(key)}.npy"
    return np.load(file) if file.is_file() else None


def digits(logits: np.ndarray) -> str:
    """The class of each row, one digit a row."""
    return "".join(map(str, logits.argmax(1)))


class Judge:
    """Runs by their keys, and scores of their answers to the validation rows."""

    def __init__(self, bench: Bench, own: list[dict]):
        self.rows = bench.parts["validation"]
        self.targets, self.groups = targets_of(self.rows), self.rows["group"].to_numpy()
        answered = [run for run in own if kept(run["key"]) is not None]
        self.runs = gpu_runs() + [run | {"answers": digits(kept(run["key"]))} for run in answered]
        self.own = own
        self.draws, self.tables = draws(self.groups), {}

    def find(self, **wanted) -> list[dict]:
        """The runs whose key has these values, by seed."""
        found = [run for run in self.runs if wanted.items() <= run["key"].items()]
        return sorted(found, key=lambda run: run["key"].get("seed", 0))

    def answers(self, run: dict) -> np.ndarray:
        """Class numbers (N,)."""
        return np.frombuffer(run["answers"].encode(), np.uint8) - ord("0")

    def entry(self, run: dict, **names) -> dict:
        """A run as a line of the results."""
        copied = ("valid_json", "exact", "accuracy_stated", "strength_error", "note")
        copied += ("seconds_training", "trainable", "peak_bytes", "trained_rows", "epochs")
        shared = {"shared_card": True} if "seconds_training" in run and "NVIDIA" in run["device"] else {}
        return (
            names
            | scored(self.answers(run), self.targets)
            | {name: run[name] for name in copied if name in run}
            | {"device": run["device"]}
            | shared
        )

    def means(self, *settings: list[dict]) -> list[np.ndarray]:
        """Accuracy and macro-F1 (2, 1 + draws) of each setting, means over its runs: first of all rows, then
        of each draw.
        """
        return [np.mean([self.table(run) for run in runs], axis=0) for runs in settings]

    def table(self, run: dict) -> np.ndarray:
        """Accuracy and macro-F1 (2, 1 + draws) of one run."""
        name = name_of(run["key"])
        if name not in self.tables:
            self.tables[name] = table(self.answers(run), self.targets, self.draws)
        return self.tables[name]

    def mean(self, runs: list[dict]) -> dict:
        """Mean scores over the runs with their intervals."""
        return as_scores(self.means(runs)[0])

    def difference(self, first: list[dict], second: list[dict]) -> dict:
        """The mean of `first` minus that of `second`, of the seeds that both have."""
        seeds = sorted({run["key"]["seed"] for run in first} & {run["key"]["seed"] for run in second})
        if not seeds:
            return {"seeds": 0}
        pair = [[run for run in runs if run["key"]["seed"] in seeds] for runs in (first, second)]
        one, other = self.means(*pair)
        found = as_scores(one - other)
        return {
            "difference": found["macro_f1"], "interval": found["interval"],
            "accuracy_difference": found["accuracy"], "accuracy_interval": found["accuracy_interval"],
            "seeds": len(seeds), "of_seeds": seeds,
        }  # fmt: skip


def table(answers: np.ndarray, targets: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Accuracy and macro-F1 (2, 1 + draws) of class numbers (N,): of all rows, then of each draw."""
    right, counts = answers == targets, [np.ones(len(targets)), *drawn]
    accuracies = [count[right].sum() / count.sum() for count in counts]
    return np.array([accuracies, [macro_f1(targets, answers, 3, count) for count in counts]])


def as_scores(table: np.ndarray) -> dict:
    """Scores (2, 1 + draws) as a value and an interval each."""
    low, high = np.percentile(table[:, 1:], [2.5, 97.5], axis=1)
    return {
        "macro_f1": float(table[1, 0]), "interval": [float(low[1]), float(high[1])],
        "accuracy": float(table[0, 0]), "accuracy_interval": [float(low[0]), float(high[0])],
    }  # fmt: skip


def draws(groups: np.ndarray) -> np.ndarray:
    """How often each row is in each draw of whole groups, (draws, N)."""
    codes = np.unique(groups, return_inverse=True)[1]
    count, rng = codes.max() + 1, np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[codes] for _ in range(RESAMPLES)]
    return np.array(drawn, dtype=np.uint8)
