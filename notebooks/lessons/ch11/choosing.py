"""Exercise of chapter 11 that chooses: beta and rate, by shown rows; scored on hidden ones."""

import functools
import json
from pathlib import Path

import numpy as np

from helpers.training import metrics
from lessons.ch11 import answers
from lessons.exercise import Exercise

FILE = Path(__file__).with_name("hidden_rows.json")
MOST_DRIFT, LEAST_SHARE = 1.0, 0.9


@functools.cache
def measured() -> dict:
    """Runs of the chapter's small job.

    `labels` (N,), `start` (N, 3), and `runs`, each with `beta`, `rate` and `log_p` (N, 3): log-probabilities
    of the three words to N comments. The first half of the comments is shown, the second half is hidden.
    """
    return json.loads(FILE.read_text(encoding="utf-8"))


def scored(run: dict, *, hidden: bool) -> dict[str, float]:
    """Macro-F1, accuracy on pairs, and drift (nats) of a run on one half of the comments."""
    labels = np.array(measured()["labels"])
    half = slice(len(labels) // 2, None) if hidden else slice(len(labels) // 2)
    labels = labels[half]
    log_p, start = np.array(run["log_p"])[half], np.array(measured()["start"])[half]
    right = log_p[np.arange(len(labels)), labels]
    others = np.array([np.delete(row, label) for row, label in zip(log_p, labels)])
    drift = np.exp(log_p) * (log_p - start)
    return {
        "macro_f1": metrics.macro_f1(labels, log_p.argmax(1), 3),
        "pairs": float((right[:, None] > others).mean()),
        "drift": float(drift.sum(1).mean()),
    }


def show_validation() -> None:
    """Print the runs with what the shown comments say of them."""
    print("beta   rate   macro-F1  pairs  drift in nats")
    for run in measured()["runs"]:
        found = scored(run, hidden=False)
        print(
            f"{run['beta']:<6} {run['rate']:<7g} {found['macro_f1']:.2f}     {found['pairs']:.2f}   "
            f"{found['drift']:.2f}"
        )


def _verify_setting(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"beta", "rate"}:
        raise AssertionError(f"expected a dictionary with the keys beta and rate, found {found!r}")
    runs = {(run["beta"], run["rate"]): run for run in measured()["runs"]}
    key = (found["beta"], found["rate"])
    if key not in runs:
        raise AssertionError(f"there is no run with beta {key[0]} and rate {key[1]}")
    hidden = {name: scored(run, hidden=True) for name, run in runs.items()}
    allowed = [one["macro_f1"] for one in hidden.values() if one["drift"] <= MOST_DRIFT]
    own = hidden[key]
    said = (
        f"on hidden comments macro-F1 is {own['macro_f1']:.2f} at a drift of {own['drift']:.2f} nats, and "
        f"{max(allowed):.2f} can be had below {MOST_DRIFT:g} nat"
    )
    if own["drift"] > MOST_DRIFT:
        raise AssertionError(f"{said}; this run went further than was allowed")
    if own["macro_f1"] < LEAST_SHARE * max(allowed):
        raise AssertionError(f"{said}; a run that hardly moved has hardly learnt")
    return f"{said[0].upper()}{said[1:]}."


setting = Exercise(
    verify=_verify_setting,
    hints=(
        "Strike out the runs whose drift is above the limit, and those close to it: hidden rows differ.",
        "Of those that are left take one of the best in macro-F1. A difference of one or two hundredths is "
        "noise.",
    ),
    answer=answers.setting,
    praise="Chosen on shown rows, kept on hidden ones, and not by the training loss.",
)
