"""Trains in forked children that are killed (SIGKILL) at chosen points; run by test_kill.py, with one thread.

Usage: kill_points.py MODEL FOLDER COUNT. Prints a JSON object: what was passed, and which ends differed.
"""

import copy
import json
import os
import random
import signal
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from helpers.data.loaders import make_loader
from helpers.training.checkpoints import BEST, CHECKPOINT, HISTORY, Keeper, load_checkpoint
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, fit, predict_logits
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime

CONFIG = TrainingConfig(epochs=2, evaluate_every=3, checkpoint_every=2, patience=99, learning_rate=3e-3)


class Points:
    """Counts the points that a training passes, and kills the process at the chosen one."""

    def __init__(self, chosen=None):
        self.chosen, self.passed = chosen, []

    def reach(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.chosen:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner, name: str) -> None:
        """Make `owner.name` a point before and a point after it."""
        function = getattr(owner, name)

        def watched(*arguments, **options):
            self.reach(f"before {name}")
            result = function(*arguments, **options)
            self.reach(f"after {name}")
            return result

        setattr(owner, name, watched)

    def install(self) -> None:
        for name in ("open", "fsync", "replace", "truncate"):
            self.around(os, name)
        fdopen = os.fdopen
        os.fdopen = lambda *arguments: HalfWritten(fdopen(*arguments), self)


class HalfWritten:
    """A file that is killed in the middle of a write."""

    def __init__(self, file, points):
        self.file, self.points = file, points

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        self.points.reach("half written")
        self.file.write(content[len(content) // 2 :])

    def __getattr__(self, name):
        return getattr(self.file, name)


class Rows(torch.utils.data.Dataset):
    """Random token ids of different lengths."""

    def __init__(self, count: int):
        rng = np.random.default_rng(0)
        self.ids = [torch.from_numpy(rng.integers(5, 20, size=12)) for _ in range(count)]
        self.labels = rng.integers(2, size=count)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": int(self.labels[index]), "indices": index}


def collate(samples):
    ids = torch.stack([sample["input_ids"] for sample in samples])
    numbers = {name: torch.tensor([s[name] for s in samples]) for name in ("labels", "indices")}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **numbers}


def train(model, folder: Path, points: Points, config=CONFIG) -> None:
    dataset, runtime = Rows(22), Runtime(precision="no")
    loader = make_loader(dataset, 4, collate, shuffle=True)
    rows = make_loader(dataset, 22, collate)
    keeper = Keeper(folder, resume=(folder / CHECKPOINT).is_file(), scores=("loss",))
    score = partial(evaluate, loader=rows, runtime=runtime)
    for _ in fit(model, loader, config, loss=Classification(), score=score, runtime=runtime, keeper=keeper):
        points.reach("step")
    if points.chosen is None:
        torch.save(torch.from_numpy(predict_logits(model, rows, runtime)), folder / "logits.pt")
        (folder / "passed.json").write_text(json.dumps(points.passed))


def in_child(model, folder: Path, chosen=None) -> bool:
    """Train in a forked child; whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            points = Points(chosen)
            points.install()
            train(model, folder, points)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, f"the training in {folder} failed"
    return False


def end_of(folder: Path) -> dict:
    """All that must be the same: weights, moments, schedule, history without its seconds, logits, names."""
    tensors, rest = load_checkpoint(folder / CHECKPOINT)
    best = load_checkpoint(folder / BEST)[0]
    for name in ("seconds", "history_bytes"):
        del rest["progress"][name]
    lines = [line.split(",") for line in (folder / HISTORY).read_text().splitlines()]
    logits = torch.load(folder / "logits.pt")
    named = tensors | {f"best {name}": tensor for name, tensor in best.items()} | {"logits": logits}
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    history = [line[:2] + line[3:] for line in lines]
    return {"tensors": named, "rest": rest, "history": history, "files": files}


def same(one: dict, other: dict) -> bool:
    tensors = [end.pop("tensors") for end in (one, other)]
    equal = set(tensors[0]) == set(tensors[1]) and all(
        torch.equal(tensors[1][n], t) for n, t in tensors[0].items()
    )
    return equal and one == other


def main() -> None:
    model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
    folder, count = Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    # What a first training loads takes seconds: the children find it done.
    train(copy.deepcopy(model), folder / "warm", Points(), replace(CONFIG, max_steps=1))
    assert not in_child(model, folder / "whole")
    passed = json.loads((folder / "whole" / "passed.json").read_text())
    draw = random.Random(0)
    chosen = sorted(draw.sample(range(1, len(passed) + 1), min(count, len(passed))))
    differ, killed = [], []
    for first in chosen:
        run = folder / str(first)
        assert in_child(model, run, first)
        killed.append(passed[first - 1])
        if draw.random() < 0.3:  # and again, at any point of what is left
            in_child(model, run, draw.randint(1, len(passed)))
        assert not in_child(model, run)
        if not same(end_of(folder / "whole"), end_of(run)):
            differ.append(f"{first} {passed[first - 1]}")
    print(json.dumps({"points": len(passed), "killed": killed, "differ": differ}))


if __name__ == "__main__":
    main()
