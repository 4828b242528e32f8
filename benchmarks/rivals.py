"""The course against what people would use instead: speed, score and time to a score, side by side.

`python benchmarks/rivals.py` writes results/rivals.json; at most twenty minutes on 2 idle cores without bf16.
`--quick` tries the script on one thread and prints the results. Lightning is measured where it is installed
(`pip install lightning`); the course does not depend on it.

Measured, by turns in processes of their own, five times each, after a warm-up:
* `texts`: MiniLM, 40 updates on 640 comments (textbook loop: 10 on 160; its batches are all of one shape).
* `photographs`: an epoch over photographs of 12 megapixels against ImageFolder and a plain loop.

Measured once each, one after the other:
* `to_score`: a whole run of the recipe. How long did the rival need to its best validation score, and how
  long did the course need to a score at least as good? Both in seconds of training, evaluations left out; a
  rival is scored after each epoch, the course five times an epoch.

Computed: ratios, and the share of the machine's peak: 6 operations per parameter that computes (embeddings
look up) and real token (padding does no work), by the best product of two matrices, measured in the same run.
Lightning makes the same updates as `Trainer`, so only its speed is measured.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from by_turns import Worker, median, own_environment, serve

RESULTS = Path(__file__).resolve().parent / "results" / "rivals.json"
TEXTS = ("ours", "textbook", "trainer", "trainer_grouped", "lightning")
SCORED = ("ours", "textbook", "trainer", "trainer_grouped")
PHOTOGRAPHS = ("ours", "imagefolder")
SPEED_ROWS = {"textbook": 160}  # of one shape, so fewer tell as much
FULL_SIZE = {"rows": 640, "limit": 2000, "photographs": 24, "pixels": (4000, 3000), "repeats": 5}
QUICK_SIZE = {"rows": 64, "limit": 64, "photographs": 24, "pixels": (400, 300), "repeats": 1}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def bench(kind: str, name: str, place: str) -> Callable[..., dict]:
    """What measures one trainer when it is asked; a rival's has not heard what `helpers` says of threads."""
    if name != "ours":
        import torch  # noqa: F401
    if kind == "texts":
        from rival_texts import Bench

        texts = Bench(name, int(place))
        calls = {"run": texts.run, "describe": texts.describe, "peak": texts.matrix_peak}
        texts.run(rows=64, epochs=1)
        return lambda call, **options: calls[call](**options)
    from rival_photographs import Bench

    photographs = Bench(name, Path(place))
    photographs.run(seed=0)
    preparation = {"preparation_seconds": photographs.preparation_seconds}
    return lambda seed: photographs.run(seed=seed) | preparation


def started(kind: str, names: list[str], place: str, size: dict) -> dict[str, Worker]:
    """A process for each name, all of them ready."""
    workers, environment = {}, own_environment() | (ONE_THREAD if size == QUICK_SIZE else {})
    for name in names:
        workers[name] = Worker(Path(__file__), kind, name, place, environment=environment)
    for worker in workers.values():
        worker.receive()
    return workers


def measure_texts(size: dict) -> dict:
    """Speed by turns, then the whole runs."""
    from rival_texts import available

    names = [name for name in TEXTS if available(name)]
    workers = started("texts", names, str(size["limit"]), size)
    described = {name: worker.ask(call="describe") for name, worker in workers.items()}
    if len({json.dumps(found) for found in described.values()}) > 1:
        raise SystemExit(f"the trainers do not begin alike: {described}")
    speed, peaks = {name: [] for name in names}, []
    for repeat in range(size["repeats"]):
        peaks.append(workers["ours"].ask(call="peak")["flops"])
        for name, worker in workers.items():
            rows = min(size["rows"], SPEED_ROWS.get(name, size["rows"]))
            speed[name].append(worker.ask(call="run", rows=rows, epochs=1, seed=repeat))
    full = {name: workers[name].ask(call="run", scored=True) for name in SCORED}
    for worker in workers.values():
        worker.close()
    same = described["ours"]
    return {
        "same_for_all": same,
        "not_installed": [name for name in TEXTS if name not in names],
        "peak_gigaflops": round(max(peaks) / 1e9, 1),
        "speed": speeds(speed, same["computing_parameters"], max(peaks)),
        "full": full,
        "to_score": to_score(full),
    }


def speeds(runs: dict[str, list[dict]], parameters: int, peak: float) -> dict:
    """Rows per second (all, and their median), the course's ratio to each, padding, and share of the peak."""
    ours = median([run["rows"] / run["seconds"] for run in runs["ours"]])
    result = {}
    for name, repeats in runs.items():
        rates = [run["rows"] / run["seconds"] for run in repeats]
        operations = [6 * parameters * run["real_tokens"] / run["seconds"] for run in repeats]
        result[name] = {
            "rows_per_second": [round(rate, 2) for rate in rates],
            "median": median(rates, 2),
            "ours_to_it": round(ours / median(rates), 3),
            "tokens_that_are_padding": round(1 - repeats[0]["real_tokens"] / repeats[0]["tokens"], 3),
            "share_of_peak": median([flops / peak for flops in operations]),
            "steps": repeats[0]["steps"],
        }
    return result


def to_score(full: dict[str, dict]) -> dict:
    """Each rival's best score, the seconds to it, and the course's seconds to a score at least as good."""
    result = {}
    for name, run in full.items():
        if name == "ours":
            continue
        best = max(run["curve"], key=lambda point: point["macro_f1"])  # the first of equals
        curve = full["ours"]["curve"]
        reached = [point["seconds"] for point in curve if point["macro_f1"] >= best["macro_f1"]]
        ours = reached[0] if reached else None
        result[name] = {
            "best_macro_f1": best["macro_f1"],
            "its_seconds": best["seconds"],
            "our_seconds": ours,  # None: the course did not reach it
            "times_as_fast": round(best["seconds"] / ours, 2) if ours else None,
        }
    return result


def measure_photographs(size: dict) -> dict:
    """Epochs over the same photographs, by turns."""
    from rival_photographs import make_photographs

    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder), size["photographs"], size["pixels"])
        workers = started("photographs", PHOTOGRAPHS, folder, size)
        runs = {name: [] for name in PHOTOGRAPHS}
        for repeat in range(size["repeats"]):
            for name, worker in workers.items():
                runs[name].append(worker.ask(seed=repeat))
        for worker in workers.values():
            worker.close()
    medians = {
        name: median([run["rows"] / run["seconds"] for run in repeats], 2) for name, repeats in runs.items()
    }
    return {
        "epochs": runs,
        "photographs_per_second": medians,
        "ours_to_imagefolder": round(medians["ours"] / medians["imagefolder"], 3),
        "our_preparation_seconds": runs["ours"][0]["preparation_seconds"],
    }


def main(arguments: list[str]) -> None:
    """Measure all, and write the results, or only print them with `--quick`."""
    from helpers import environment
    from helpers.files import write_atomically

    quick = "--quick" in arguments
    size = QUICK_SIZE if quick else FULL_SIZE
    results = {"size": size, "cores": os.cpu_count(), "device": environment.device()}
    results["texts"] = measure_texts(size)
    results["photographs"] = measure_photographs(size)
    results["versions"] = environment.versions()
    text = json.dumps(results, indent=2) + "\n"
    if quick:
        print(text)
        return
    write_atomically(RESULTS, text.encode())
    for name, row in results["texts"]["speed"].items():
        print(f"{name:<16} {row['median']:7.1f} rows/s, ours {row['ours_to_it']:.2f} times as fast", end="")
        print(f"; {row['share_of_peak']:.1%} of the peak; {results['texts']['to_score'].get(name, '')}")
    print(f"photographs: {results['photographs']['photographs_per_second']}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("texts", "photographs"):
        serve(partial(bench, *sys.argv[1:]))
    else:
        main(sys.argv[1:])
