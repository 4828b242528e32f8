"""What idle threads cost: a training alone and two at once, with nothing set, by default, and in a classroom.

`python benchmarks/threads.py` writes results/threads.json; about five minutes on 2 idle cores. The work is
steps of fine-tuning MiniLM by the course's loop. Each process is made ready once (its model loaded, some
steps run); then the settings take turns. Of two at once the slower one counts. `--quick` tries the script.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from by_turns import Worker, median, own_environment, serve

RESULTS = Path(__file__).resolve().parent / "results" / "threads.json"
SETTINGS = {"nothing": {}, "default": {}, "classroom": {"COURSE_CLASSROOM": "1"}}
REPEATS, ROWS, BATCHES = 5, 16, 8
ROUNDS = {"alone": 3, "two at once": 1}  # over the same batches; two at once with nothing set are slow


def trainer(setting: str) -> Callable[..., dict]:
    """What trains when it is told to; with nothing set torch is imported first, as in any program."""
    if setting == "nothing":
        import torch  # noqa: F401
    from helpers import environment
    from helpers.data import cleaning, sources
    from helpers.models.pretrained import text_classifier
    from helpers.runs import recipes
    from helpers.training.config import TrainingConfig
    from helpers.training.loop import fit
    from helpers.training.losses import Classification
    from helpers.training.runtime import Runtime

    environment.seed_everything(0)
    classifier = text_classifier()
    rows = ROWS * BATCHES
    frame = cleaning.clean_comments(sources.comments().head(2 * rows))[0].head(rows)
    batches = list(recipes.training_loader(classifier, frame, TrainingConfig(batch_size=ROWS)))
    runtime = Runtime(classifier.model)

    def train(rounds: int) -> dict:
        config = TrainingConfig(max_steps=rounds * BATCHES, learning_rate=1e-5, schedule="constant")
        options = {"loss": Classification(), "score": lambda _: {"macro_f1": 0.0}, "runtime": runtime}
        start = time.perf_counter()
        for _ in fit(classifier.model, rounds * batches, config, **options):
            pass
        return {"seconds": time.perf_counter() - start}

    train(1)
    return train


def measure(repeats: int) -> dict:
    """Seconds per step of each setting, alone and two at once, and the ratios of their medians."""
    started = {
        name: [Worker(Path(__file__), name, environment=own_environment() | setting) for _ in range(2)]
        for name, setting in SETTINGS.items()
    }
    for worker in [worker for pair in started.values() for worker in pair]:
        worker.receive()
    seconds = {name: {number: [] for number in ROUNDS} for name in SETTINGS}
    for _ in range(repeats):
        for number, rounds in ROUNDS.items():
            for name, pair in started.items():
                active = pair if number == "two at once" else pair[:1]
                for worker in active:
                    worker.send(rounds=rounds)
                slowest = max(worker.receive()["seconds"] for worker in active)
                seconds[name][number].append(round(slowest / rounds / BATCHES, 4))
    for worker in [worker for pair in started.values() for worker in pair]:
        worker.close()
    medians = {
        name: {number: median(times, 4) for number, times in row.items()} for name, row in seconds.items()
    }
    lone, ratios = medians["nothing"]["alone"], {}
    for name, row in medians.items():
        ratios[name] = {
            "two_at_once_to_alone": round(row["two at once"] / row["alone"], 3),
            "two_at_once_to_alone_with_nothing_set": round(row["two at once"] / lone, 3),
            "alone_to_alone_with_nothing_set": round(row["alone"] / lone, 3),
        }
    return {"seconds_per_step": seconds, "medians": medians, "ratios": ratios}


def main(arguments: list[str]) -> None:
    """Measure and write the results, or only print them with `--quick`."""
    from helpers import environment
    from helpers.files import write_atomically
    from helpers.threads import SPINS

    quick = "--quick" in arguments
    settings = {"cores": os.cpu_count(), "rows": ROWS, "batches": BATCHES, "rounds": ROUNDS, "spins": SPINS}
    results = settings | measure(1 if quick else REPEATS) | {"versions": environment.versions()}
    text = json.dumps(results, indent=2) + "\n"
    if quick:
        print(text)
        return
    write_atomically(RESULTS, text.encode())
    for name, row in results["medians"].items():
        print(f"{name:<10} {row} {results['ratios'][name]}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in SETTINGS:
        serve(partial(trainer, sys.argv[1]))
    else:
        main(sys.argv[1:])
