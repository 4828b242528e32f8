"""Measure what preferences teach a language model: chapter 11's DPO, GRPO, and rewards that a constant wins.

usage: python benchmarks/preference.py pack FILE
       python benchmarks/preference.py train --rows FILE --output DIR [--minutes M] [--model FOLDER]
       python benchmarks/preference.py finish FILE

`pack` writes the comments and pairs for a machine without the course's data. `train` runs there: some
processes side by side take one experiment after the other, the most important first; each result is a line
in DIR/runs.jsonl at once, nothing begins that cannot end in time, and a failure loses one experiment alone.
A second call with the same DIR makes what is missing. `finish`, back here, puts that file into
benchmarks/results/gpu_preference.jsonl.gz and writes the chapter's figures, results/preference.json.

Each seed has a start of its own: other rows, other order. A start is SmolLM2 that learnt the form of the
answer with 200 comments, by the recipe of chapter 10's ladder. All that follows learns from other comments.
Rates of DPO and of its control were chosen among a few on validation rows with seed 1; GRPO's was not
chosen. Of test rows the answers are kept and read once, by `finish`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import preference_rows

RATES = {"dpo": (5e-5, 2e-4, 5e-4), "sft": (3e-4, 1e-3)}
BETA, BETAS, SEEDS = 0.1, (0.03, 0.3, 1.0), (1, 2, 3)
QUICK = ("start/1", "dpo/1/rate-0.0002", "sft/1/rate-0.001", "dpo-own/1", "grpo-exact/1", "grpo-popular/1")
SHARED = 2.2  # times longer than alone, with seven processes on one card, until it is measured
EXAM = 9  # seconds alone behind the training of an experiment
LEAST = {"reinforced": 0.5}  # share of its time with which an experiment is worth beginning: it ends early
LONGEST = 120  # seconds of a training; what is longer ends early and says at which step


@dataclass(frozen=True)
class Job:
    """An experiment: a function of `preference_parts`, and how long it takes alone on an H100."""

    name: str
    part: str
    seconds: float
    options: dict = field(default_factory=dict)
    needs: tuple = ()


def plan(quick: bool = False) -> list[Job]:
    """All experiments, the most important first."""
    starts = {seed: Job(f"start/{seed}", "start", 15, {"seed": seed}) for seed in SEEDS}
    tried = {
        kind: [
            Job(f"{kind}/1/rate-{rate}", kind, 25, options(kind, 1) | {"rate": rate}, ("start/1",))
            for rate in rates
        ]
        for kind, rates in RATES.items()
    }

    def after(kind: str, seed: int, name: str, seconds: float = 25, **more) -> Job:
        needs = (f"start/{seed}", *(job.name for job in tried[kind]))
        return Job(f"{name}/{seed}", kind, seconds, options(kind, seed) | more, needs)

    def reinforced(reward: str, seed: int, seconds: float) -> Job:
        return Job(
            f"grpo-{reward}/{seed}",
            "reinforced",
            seconds,
            {"seed": seed, "reward": reward},
            (f"start/{seed}",),
        )

    jobs = [*starts.values(), *tried["dpo"], reinforced("exact", 1, 75), reinforced("popular", 1, 50)]
    jobs += [reinforced("exact", 2, 75), *tried["sft"], after("dpo", 1, "dpo-own", 35, pairs="own")]
    jobs += [after("dpo", seed, "dpo") for seed in (2, 3)]
    jobs += [after("dpo", 1, f"dpo-{beta}", beta=beta) for beta in BETAS]
    jobs += [reinforced("exact", 3, 75), reinforced("near_enough", 1, 50)]
    jobs += [after("sft", seed, "sft") for seed in (2, 3)]
    jobs += [after("dpo", seed, "dpo-own", 35, pairs="own") for seed in (2, 3)]
    jobs += [reinforced("popular", 2, 50), after("dpo", 1, "dpo-long", pairs="long")]
    jobs += [after("dpo", seed, f"dpo-{beta}", beta=beta) for beta in BETAS for seed in (2, 3)]
    jobs += [reinforced("popular", 3, 50)]
    return [without_time(job) for job in jobs if job.name in QUICK] if quick else jobs


def without_time(job: Job) -> Job:
    """For a dry run: it always fits, and needs what is tried there alone."""
    return replace(job, seconds=0, needs=tuple(need for need in job.needs if need in QUICK))


def options(kind: str, seed: int) -> dict:
    """What a training of this kind is called with, but for its rate."""
    return {"seed": seed, "beta": BETA} if kind == "dpo" else {"seed": seed}


def best_rate(kind: str, runs: dict[str, dict]) -> float:
    """The rate whose run with seed 1 is best on validation rows: macro-F1 plus accuracy on pairs."""
    value = lambda run: run["validation"]["macro_f1"] + run["validation"]["pair_accuracy"]
    scored = {rate: runs.get(f"{kind}/1/rate-{rate}", {}) for rate in RATES[kind]}
    found = {rate: value(run) for rate, run in scored.items() if "validation" in run}
    return max(found, key=found.get) if found else RATES[kind][1]


class Board:
    """The file of results, which several processes append to, and who does what."""

    def __init__(self, output: Path, work: Path, end: float):
        self.file, self.work, self.end = output / "runs.jsonl", work, end

    def append(self, line: dict) -> None:
        """One line, written at once; JSON without NaN."""
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        target = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(target, data)
        finally:
            os.close(target)

    def runs(self) -> dict[str, dict]:
        """The finished experiments by name."""
        return {line["run"]: line for line in read_lines(self.file) if "point" not in line}

    def claim(self, name: str) -> bool:
        """Whether this process is the one that does it."""
        try:
            (self.work / name.replace("/", "_")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def slowness(self, jobs: list[Job]) -> float:
        """How many times longer than alone experiments take here."""
        expected, runs = {job.name: job.seconds for job in jobs}, self.runs()
        found = [
            run["seconds"] / expected[name]
            for name, run in runs.items()
            if expected.get(name) and "error" not in run
        ]
        return median(found) if len(found) > 2 else SHARED

    def take(self, jobs: list[Job]) -> Job | None:
        """The next experiment that can begin and end in time; waits for what it needs; None at the end."""
        by_name = {job.name: job for job in jobs}
        while True:
            runs, waiting = self.runs(), False
            runs = {
                name: run
                for name, run in runs.items()
                if name in by_name and not self.is_lost(by_name[name], run)
            }
            left = self.end - time.time()
            for job in jobs:
                if job.name in runs:
                    continue
                least = job.seconds * LEAST.get(job.part, 1)
                if least * self.slowness(jobs) > left or left < 0:
                    continue
                if any(need not in runs for need in job.needs):
                    waiting = waiting or not (self.work / job.name.replace("/", "_")).exists()
                elif self.claim(job.name):
                    return job
            if not waiting or left < 0:
                return None
            time.sleep(0.3)

    def is_lost(self, job: Job, run: dict) -> bool:
        """Whether it was done by an earlier call, whose weights are gone."""
        has_none = job.part == "start" and not (self.work / f"start-{job.options['seed']}.pt").exists()
        return has_none and "error" not in run


def read_lines(file: Path) -> list[dict]:
    """The whole lines of a file that may have been cut off."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the last one, of a machine that was taken away
            continue
    return found


def work(board: Board, rows: Path, model: str, quick: bool) -> None:
    """Take experiments until none is left."""
    import torch
    import transformers

    import preference_parts
    import preference_policy

    lab, jobs = preference_policy.Lab(rows, model, board.work, quick), plan(quick)
    where = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"}
    where["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    while (job := board.take(jobs)) is not None:
        begun, chosen = time.time(), dict(job.options)
        if job.part in RATES and "rate" not in chosen:
            chosen["rate"] = best_rate(job.part, board.runs())
        line = {"run": job.name, "part": job.part, "options": chosen} | where
        note = lambda point, name=job.name: board.append({"run": name, "point": point})
        reserve = EXAM * board.slowness(jobs) if job.seconds else 0
        deadline = time.monotonic() + min(board.end - time.time() - reserve, LONGEST)
        try:
            line |= getattr(preference_parts, job.part)(lab, note, deadline, **chosen)
            line["seconds"] = round(time.time() - begun, 1)
            board.append(line)
        except Exception as error:  # one experiment is lost, not the others
            traceback.print_exc()
            said = f"{type(error).__name__}: {str(error)[:300]}"
            board.append({"run": job.name, "error": said, "seconds": round(time.time() - begun, 1)})
        print(
            f"{board.end - time.time():6.0f} s left, {line.get('seconds', 'failed')} s: {job.name}",
            flush=True,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def train(rows: Path, output: Path, model: str, minutes: float, workers: int, quick: bool) -> None:
    """Run the plan with some processes side by side; `workers` 0 is this one alone."""
    end = time.time() + 60 * minutes
    output.mkdir(parents=True, exist_ok=True)
    jobs = plan(quick)
    print("\n".join(f"{job.seconds:5.0f} s  {job.name}" for job in jobs))
    total = sum(job.seconds for job in jobs)
    print(f"{total:5.0f} s one after the other, {60 * minutes:.0f} s given, {workers} processes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        board = Board(output, Path(folder), end)
        if "rows" not in board.runs():
            board.append({"run": "rows"} | preference_rows.judged(rows))
        if workers == 0:
            work(board, rows, model, quick)
            return
        call = [sys.executable, __file__, "work", "--rows", str(rows), "--output", str(output)]
        call += ["--model", model, "--work", folder, "--end", str(end), *(["--quick"] if quick else [])]
        processes = [subprocess.Popen(call) for _ in range(workers)]
        for process in processes:
            try:
                process.wait(timeout=max(end + 5 - time.time(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    runs = Board(output, output, end).runs()
    failed = [name for name, run in runs.items() if "error" in run]
    missing = [job.name for job in jobs if job.name not in runs]
    done = len(jobs) - len(failed) - len(missing)
    print(f"{done} of {len(jobs)} done; failed: {failed}; missing: {missing}")


def main(arguments: list[str]) -> None:
    """Pack, train, or finish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("file", type=Path)
    finishing = commands.add_parser("finish")
    finishing.add_argument("file", type=Path, nargs="?")
    for name in ("train", "work"):
        training = commands.add_parser(name)
        training.add_argument("--rows", type=Path, required=True)
        training.add_argument("--output", type=Path, required=True)
        training.add_argument("--model", default="smollm2")
        training.add_argument("--minutes", type=float, default=4.5)
        training.add_argument("--workers", type=int, default=7)
        training.add_argument("--work", type=Path)
        training.add_argument("--end", type=float)
        training.add_argument("--quick", action="store_true")
    packing.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    if given.command == "pack":
        preference_rows.pack(given.file, given.quick)
    elif given.command == "train":
        train(given.rows, given.output, given.model, given.minutes, given.workers, given.quick)
    elif given.command == "work":
        work(Board(given.output, given.work, given.end), given.rows, given.model, given.quick)
    else:
        import preference_finish

        preference_finish.finish(given.file)


if __name__ == "__main__":
    main(sys.argv[1:])
