"""Measure again, from nothing, every figure that the README and the notebooks read from benchmarks/results.

usage: python benchmarks/all_results.py     (or `make results`)

The parts run one after the other, each prints its time, and all times are kept in results/times.json. What
was stopped goes on where it was: finished parts are not run again, and most parts keep their finished runs.
What was measured on a GPU, or by `make durations`, is kept. On two cores without a GPU it takes some hours;
the last line says how many.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
STATE = FOLDER.parent / "runs" / "all_results.json"  # parts that are done: seconds
# Those that time each run on one core first, then what is timed on the idle machine.
PARTS = (
    "optimizers.py",
    "strategies.py pooler",  # before the other: its network from scratch stands in both tables
    "strategies.py",
    "fine_tuning.py",
    "sentiment.py full",
    "augmentation.py",
    "images.py",
    "compression.py",
    "cleaning.py",
    "export.py",
    "case_studies.py",
    "service_load.py",
    "loop_overhead.py",
    "scale.py",
    "streaming.py",
    "sharding.py",
    "preference.py finish",
    "preference_chapter.py",
    "photographs.py",
    "threads.py",
    "classroom.py",
    "rivals.py",
    "rival_chat.py",
    "chat.py",
)
# What it holds would not be measured again.
KEPT_RUNS = FOLDER.parent / "runs" / "chat_benchmark" / "runs.json"


def begin() -> dict[str, float]:
    """Seconds of the parts that an earlier call finished; without one, the old results are removed."""
    if STATE.is_file():
        return json.loads(STATE.read_text(encoding="utf-8"))
    for file in RESULTS.glob("*.json"):
        if not file.name.startswith(("gpu_", "durations")):
            file.unlink()
    KEPT_RUNS.unlink(missing_ok=True)
    keep(STATE, {})
    return {}


def keep(file: Path, times: dict[str, float]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Run what is missing; the exit status of the first part that fails."""
    times = begin()
    for part in PARTS:
        if part in times:
            print(f"{part}: done before, {times[part]:.0f} s", flush=True)
            continue
        start = time.monotonic()
        script, *options = part.split()
        status = subprocess.run([sys.executable, FOLDER / script, *options]).returncode
        seconds = time.monotonic() - start
        if status:
            print(f"{part}: stopped with status {status} after {seconds:.0f} s; `make results` goes on here")
            return status
        times[part] = round(seconds, 1)
        keep(STATE, times)
        print(f"{part}: {seconds:.0f} s", flush=True)
    STATE.replace(RESULTS / "times.json")
    print(f"all parts: {sum(times.values()) / 3600:.1f} hours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
