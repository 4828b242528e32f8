"""What the measuring scripts share: a results file that grows run by run, and validation rows in two
parts.
"""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path


def opened(file: Path, settings: dict, parts: tuple[str, ...] = ("runs",)) -> dict:
    """The content of a results file; a fresh one with empty `parts` where there is none or where the settings
    were others.
    """
    from helpers import environment

    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if results.get("settings") != settings:
        results = {"settings": settings, "versions": environment.versions()} | {part: [] for part in parts}
    return results


def complete(
    file: Path,
    results: dict,
    part: str,
    wanted: list[dict],
    measure: Callable[[dict], dict],
    *,
    processes: int | None = None,
) -> None:
    """Measure what is wanted and not yet in `results[part]`, each run in a process of its own; the file grows
    with every run.

    Args:
        file: the results file.
        results: its content, changed in place.
        part: the list of runs in it.
        wanted: what makes a run: the same keys for all, in the order in which they are kept.
        measure: called in another process, with one of `wanted`; gives it back with its figures.
        processes: side by side; by default one per core, each on one thread.
    """
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # for the processes of the pool: threads of several runs on few cores stall each other
    )
    key = lambda run: {name: run[name] for name in wanted[0]}
    results[part] = [run for run in results[part] if key(run) in wanted]
    missing = [job for job in wanted if job not in [key(run) for run in results[part]]]
    with multiprocessing.get_context("spawn").Pool(processes or os.cpu_count(), maxtasksperchild=1) as pool:
        for number, run in enumerate(pool.imap_unordered(measure, missing), 1):
            results[part] = sorted(
                [*results[part], run], key=lambda run: wanted.index(key(run))
            )  # whichever run ended first
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(f"{part} {number}/{len(missing)}: {json.dumps(run)[:300]}", flush=True)


def three_parts(parts: dict, size: int, seed: int, selection_rows: int, reported_rows: int) -> tuple:
    """Training rows, rows that choose the epoch, and rows that are reported; the last two share no group, and
    no test row is among them.
    """
    from helpers.data import splits

    validation = parts["validation"]
    first = validation["group"].map(
        {group: place % 3 == 0 for place, group in enumerate(validation["group"].unique())}
    )
    selection, reported = validation[first].reset_index(drop=True), validation[~first].reset_index(drop=True)
    return (
        splits.subsample(parts["train"], size, seed=seed),
        splits.subsample(selection, selection_rows),
        splits.subsample(reported, reported_rows),
    )
