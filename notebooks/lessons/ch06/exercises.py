"""The exercises of chapter 06: diagnose three logs, build a fine-tuning, choose a plan within a budget."""

import json

from helpers.files import ROOT
from lessons.ch06 import answers
from lessons.ch06.building import small_fine_tuning
from lessons.ch06.choosing import plan
from lessons.exercise import Exercise, check_diagnosis

__all__ = ["diagnosis", "logs", "plan", "small_fine_tuning"]

RESULTS = ROOT / "benchmarks" / "results" / "images.json"
TEST_ROWS = {"test is validation": "selection_rows"}  # of the others: the rows that are reported


def logs() -> dict[str, list[str]]:
    """Lines of the three stored trainings, by their letter."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    by_fault = {run["fault"]: run for run in results["logs"]}
    return {
        letter: _lines(by_fault[fault], results["settings"]) for letter, fault in answers.diagnosis().items()
    }


def _lines(run: dict, settings: dict) -> list[str]:
    epochs = [
        f"epoch {number}: training loss {row['loss']:.3f}, validation accuracy {row['validation']:.3f}"
        for number, row in enumerate(run["epochs"], 1)
    ]
    again = " and ".join(f"{accuracy:.3f}" for accuracy in run["again"])
    rows = settings[TEST_ROWS.get(run["fault"], "reported_rows")]
    return [*epochs, f"validated again: {again}", f"test ({rows} rows): accuracy {run['test']:.3f}"]


def _verify_diagnosis(attempt):
    advice = "what must be equal, and what must not?"
    check_diagnosis(attempt(), answers.diagnosis(), advice, what="mistakes")


diagnosis = Exercise(
    verify=_verify_diagnosis,
    hints=(
        "The same weights on the same rows give the same figure. Where do they not?",
        "Other rows hardly ever give the same figure to all digits; and how many test rows are there?",
        "Compare the training losses of the first epochs: ten classes begin at ln 10, about 2.3.",
    ),
    answer=answers.diagnosis,
    praise="Three mistakes that raise no error, known by what must be equal and what must not.",
)
