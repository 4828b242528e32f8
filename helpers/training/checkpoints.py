"""Everything a run needs to go on as if it had never stopped, in a file that is whole or absent (chapter 03).

Why not `torch.save`? It writes a pickle, and a pickle is a program. Tensors go to safetensors, the rest
to JSON in its header.
"""

import csv
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.training.progress import Progress, Step, as_row
from helpers.training.runtime import Runtime

CHECKPOINT, BEST, HISTORY = "checkpoints/last.safetensors", "checkpoints/best.safetensors", "history.csv"


def save_checkpoint(file: Path, tensors: dict[str, torch.Tensor], rest: dict) -> None:
    """Write tensors and what is said beside them (JSON-ready), atomically."""
    write_atomically(file, save(tensors, {"rest": json.dumps(rest)}))


def load_checkpoint(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read what `save_checkpoint` wrote.

    Raises InputError: the file is missing or damaged.
    """
    if not file.is_file():
        raise InputError(f"there is no checkpoint {file} to go on from; start the run without --resume")
    try:
        with safe_open(file, framework="pt") as archive:
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118  (no dictionary)
            return tensors, json.loads((archive.metadata() or {}).get("rest", "{}"))
    except SafetensorError as error:
        reason = f"is no whole safetensors file ({error})"
        raise InputError(f"{file} {reason}; delete the run folder and start again") from error


class Keeper:
    """Keeps what a training must not lose: checkpoints, history and the best weights.

    Args:
        folder: folder of one run; None keeps the best weights in memory.
        resume: go on from the checkpoint in `folder`, bit for bit like a run that never stopped.
        scores: names of what the run's `score` returns: columns of the history.
    """

    def __init__(self, folder: Path | None = None, *, resume: bool = False, scores: tuple[str, ...] = ()):
        self.folder, self.resume, self.scores = folder, resume, scores
        self.best: dict[str, torch.Tensor] = {}
        self.unwritten: list[tuple[Step, float]] = []

    def begin(self, model: nn.Module, optimizer, schedule, runtime: Runtime) -> Progress:
        """Remember what is to be kept; returns where to begin.

        Raises InputError: nothing to resume, or the checkpoint of another model.
        """
        self.model, self.optimizer, self.schedule, self.runtime = model, optimizer, schedule, runtime
        if self.folder is not None and not self.resume and runtime.is_main:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / HISTORY).unlink(missing_ok=True)  # of an earlier training into the same folder
        self.progress = self._load() if self.resume else Progress()
        self.started = time.perf_counter() - self.progress.seconds
        return self.progress

    def keep(self, step: Step, *, is_due: bool) -> None:
        """Note the step, keep the best weights, write a checkpoint when due. All processes call this."""
        self.progress.seconds = time.perf_counter() - self.started
        if self.folder is None:
            if step.is_best:
                self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            return
        self.unwritten.append((step, self.progress.seconds))
        # The best weights first: killed between the two writes, a resumed run only finds the same best again.
        if step.is_best:
            weights = self.runtime.state(self.model)
            if self.runtime.is_main:
                save_checkpoint(self.folder / BEST, weights, {})
        if is_due:
            tensors = self.runtime.state(self.model, self.optimizer)
            if self.runtime.is_main:
                self.progress.history_bytes = self._append_history()
                save_checkpoint(self.folder / CHECKPOINT, tensors, self._rest())
            self.unwritten.clear()

    def restore_best(self) -> None:
        """Give the model its best weights."""
        if self.folder is not None:
            self.runtime.wait()
            self.runtime.load(load_checkpoint(self.folder / BEST)[0], self.model)
        elif self.best:
            self.model.load_state_dict(self.best)

    def _rest(self) -> dict:
        schedule = self.schedule.state_dict()
        schedule.pop("lr_lambdas", None)  # functions: the schedule that is resumed has its own
        return {
            "param_groups": self.optimizer.state_dict()["param_groups"],
            "schedule": schedule,
            "scaler": self.runtime.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def _load(self) -> Progress:
        if self.folder is None:
            raise InputError("resume needs the folder of the run to go on with, found none")
        file = self.folder / CHECKPOINT
        tensors, rest = load_checkpoint(file)
        try:
            progress = Progress(**rest["progress"])
            self.runtime.load(tensors, self.model, self.optimizer, rest["param_groups"])
            self.schedule.load_state_dict(self.schedule.state_dict() | rest["schedule"])
            self.runtime.scaler.load_state_dict(rest["scaler"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = f"is of another model or course version ({str(error).splitlines()[0]})"
            raise InputError(f"{file} {reason}; start a new run folder") from error
        if self.runtime.is_main:
            self._cut_history(progress.history_bytes)
        return progress

    def _append_history(self) -> int:
        """Add the steps since the last checkpoint to the history; returns the file's length."""
        rows = [as_row(step, seconds, self.scores) for step, seconds in self.unwritten]
        with (self.folder / HISTORY).open("a", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, rows[0].keys(), lineterminator="\n")
            if lines.tell() == 0:
                writer.writeheader()
            writer.writerows(rows)
            lines.flush()
            os.fsync(lines.fileno())
            return lines.tell()

    def _cut_history(self, length: int) -> None:
        """Take back the steps that were written after the checkpoint: they are made again."""
        file = self.folder / HISTORY
        found = file.stat().st_size if file.is_file() else 0
        if found < length:
            known = f"has {found} bytes, the checkpoint knows of {length}"
            raise InputError(f"{file} {known}; the run folder was changed: start a new one")
        os.truncate(file, length)
