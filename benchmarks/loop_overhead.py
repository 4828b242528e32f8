"""What `fit` costs beside a bare loop: the same steps of MiniLM on the same batches, by turns, in CPU time.

`python benchmarks/loop_overhead.py` writes results/loop_overhead.json; about three minutes on 2 cores.
"""

import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from helpers import environment
from helpers.data import cleaning, sources
from helpers.files import write_atomically
from helpers.models.pretrained import text_classifier
from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import make_optimizer, parameter_groups

RESULTS = Path(__file__).resolve().parent / "results" / "loop_overhead.json"
STEPS, ROWS, REPEATS = 40, 16, 7


def bare(model: nn.Module, batches: list[dict]) -> None:
    """Nine lines that every tutorial has: no groups of batches, no seeds, no schedule, no checkpoints."""
    optimizer = make_optimizer("adamw", parameter_groups(model, 1e-5))
    model.train()
    for batch in batches:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = F.cross_entropy(logits, batch["labels"])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def with_fit(model: nn.Module, batches: list[dict]) -> None:
    """The same steps by `fit`; the one evaluation at the end costs nothing."""
    config = TrainingConfig(max_steps=len(batches), learning_rate=1e-5, schedule="constant", precision="no")
    options = {
        "loss": Classification(),
        "score": lambda _: {"macro_f1": 0.0},
        "runtime": Runtime(precision="no"),
    }
    for _ in fit(model, batches, config, **options):
        pass


def main() -> None:
    """Measure by turns, and write medians and the ratio."""
    torch.set_num_threads(1)
    environment.seed_everything(0)
    classifier = text_classifier()
    frame = cleaning.clean_comments(sources.comments().head(2 * STEPS * ROWS))[0].head(STEPS * ROWS)
    config = TrainingConfig(batch_size=ROWS)
    batches = list(recipes.training_loader(classifier, frame, config))
    seconds = {"bare": [], "fit": []}
    for turn in range(REPEATS + 1):
        for name, run in (("bare", bare), ("fit", with_fit)):
            start = time.process_time()
            run(classifier.model, batches)
            if turn:  # the first turn warms up
                seconds[name].append(round(time.process_time() - start, 3))
    ratios = [fit / plain for fit, plain in zip(seconds["fit"], seconds["bare"])]
    result = {"steps": STEPS, "rows": ROWS, "seconds": seconds, "ratio": round(statistics.median(ratios), 4)}
    write_atomically(RESULTS, json.dumps(result, indent=2).encode())
    print(f"fit / bare: {result['ratio']:.4f} (median of {REPEATS})")


if __name__ == "__main__":
    main()
