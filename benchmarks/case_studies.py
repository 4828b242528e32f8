"""Measure the two jobs of the course as a user runs them, and write the README's results table.

usage: python benchmarks/case_studies.py [NAME ...]     (about 15 minutes on 2 CPU cores; NAME limits it to
some rows)

Each row is one command, timed from its start to its exit. Results go to benchmarks/results/case_studies.json;
the table between the two markers in README.md is made from that file, and a test fails when they differ.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import readme_tables

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "case_studies.json"
RUNS = {
    "comments, 2,000 training rows": "train sentiment",
    "comments, all training rows": "train sentiment --limit 0 --epochs 3",
    "animals, 2,000 training images": "train images",
    "animals, head only": "train images --strategy head",
}


def measure(command: str) -> dict:
    """Run one training command in a fresh process; its metrics and wall time in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "helpers", *command.split(), "--output", str(run)], cwd=ROOT, check=True
        )
        seconds = time.perf_counter() - start
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    kept = (
        "validation",
        "test",
        "one_person",
        "majority_baseline",
        "optimizer_steps",
        "device",
        "precision",
        "rows",
        "versions",
    )
    return {"command": command, "wall_seconds": round(seconds, 1)} | {
        name: metrics[name] for name in kept if name in metrics
    }


def table(results: dict) -> str:
    """The results as a Markdown table."""
    lines = [
        "| job | `python -m helpers ...` | test accuracy | test macro-F1 (95% interval) | time |",
        "|---|---|---|---|---|",
    ]
    for name, result in results.items():
        test = result["test"]
        low, high = test["macro_f1_interval"]
        scores = f"{test['accuracy']:.3f} | {test['macro_f1']:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"| {name} | `{result['command']}` | {scores} | {result['wall_seconds']:.0f} s |")
    one = next(
        result["one_person"] for result in results.values() if "one_person" in result
    )  # the same test rows in all runs
    person = "*one person against the mean of the others, the same test comments*"
    lines.append(f"| {person} | | {one['accuracy']:.3f} | {one['macro_f1']:.3f} | |")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Measure, and write the results file and the table."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names or RUNS:
        results[name] = measure(RUNS[name])
    results = {name: results[name] for name in RUNS if name in results}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    readme_tables.write("case_studies", table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
