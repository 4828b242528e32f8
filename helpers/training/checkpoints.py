"""Everything a run needs to go on as if it had never stopped (chapter 03); its files: `archives`."""

import contextlib
import csv
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from helpers.errors import InputError
from helpers.files import remove_temporary, writing
from helpers.models.adapters import tensors_hash
from helpers.safety.finite import NotFinite, check_tensors
from helpers.safety.values import MOST
from helpers.training import sharded, states
from helpers.training.archives import (
    BEST,
    CHECKPOINT,
    HISTORY,
    START_AGAIN,
    first_line,
    load_checkpoint,
    read_file,
    remove_parts,
    save_checkpoint,
    save_parts,
)
from helpers.training.config import TrainingConfig
from helpers.training.progress import Progress, Step, as_row
from helpers.training.runtime import Runtime

KEPT = (CHECKPOINT, BEST, HISTORY)
GO_ON = "when there is room, and the folder is where it was, --resume goes on from the last checkpoint"


class Keeper:
    """Keeps what a training must not lose: checkpoints, history and the best weights.

    Only the beginning makes folders: one that is removed later, or whose disk is unmounted, ends the
    training. Where a file cannot be written, `begin` and `keep` raise an InputError; the last checkpoint is
    whole.

    Args:
        folder: folder of one run; None keeps the best weights in memory.
        resume: go on from the checkpoint in `folder`, bit for bit like a run that never stopped.
        scores: names of what the run's `score` returns: columns of the history.
    """

    def __init__(self, folder: Path | None = None, *, resume: bool = False, scores: tuple[str, ...] = ()):
        self.folder, self.resume, self.scores = folder, resume, scores
        self.best: dict[str, torch.Tensor] = {}
        self.unwritten: list[tuple[Step, float]] = []

    def begin(
        self, model: nn.Module, optimizer, schedule, runtime: Runtime, *, loader=None, config=None
    ) -> Progress:
        """Remember what is to be kept; returns where to begin.

        Args:
            loader, config: those of the training, beyond whose end no checkpoint can be.

        Raises InputError: nothing to resume, a damaged checkpoint, or that of another training.
        """
        self.model, self.optimizer, self.schedule, self.runtime = model, optimizer, schedule, runtime
        if self.folder is not None and runtime.is_main:
            with writing(self.folder, GO_ON):
                self._tidy()
        self.progress = Progress()
        # By it a checkpoint of adapters knows the weights below them; in memory nobody asks.
        self.below = tensors_hash(states.frozen(model), sharded.whole) if self.folder is not None else ""
        if self.resume:
            self.progress = self._load(loader, config or TrainingConfig(max_steps=MOST))
        self.started = time.perf_counter() - self.progress.seconds
        return self.progress

    def keep(self, step: Step, *, is_due: bool) -> None:
        """Note the step, keep the best weights, write a checkpoint when due. All processes call this.

        Raises NotFinite: a weight or a moment is not, and nothing was written.
        """
        self.progress.seconds = time.perf_counter() - self.started
        if self.folder is None:
            if step.is_best:
                state = self.runtime.state(self.model, in_parts=self.runtime.shard)
                self._check_numbers(state, step.step)
                self.best = {name: tensor.clone() for name, tensor in state.items()}
            return
        self.unwritten.append((step, self.progress.seconds))
        if not (is_due or step.is_best):
            return
        tensors = self.runtime.state(self.model, self.optimizer, in_parts=self.runtime.shard)
        self._check_numbers(tensors, step.step)
        with writing(self.folder, GO_ON):
            self._write(tensors, is_best=step.is_best, is_due=is_due)
        if is_due:
            self.unwritten.clear()

    def restore_best(self) -> None:
        """Give the model its best weights."""
        if self.folder is not None:
            self.runtime.wait()
            room = states.room(self.model)
            states.load(load_checkpoint(self.folder / BEST, self.runtime, room)[0], self.model)
        elif self.best:
            states.load(self.best, self.model)

    def _tidy(self) -> None:
        """Make the folders of a new training and remove an earlier one's files, or what a killed one left."""
        if not self.resume:
            (self.folder / CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
            for name in KEPT:  # the checkpoint first: without it nobody goes on with the others
                (self.folder / name).unlink(missing_ok=True)
            (self.folder / HISTORY).touch()
        for file in map(self.folder.joinpath, KEPT):
            remove_temporary(file.parent, [file.name])
        for file in (self.folder / CHECKPOINT, self.folder / BEST):
            with contextlib.suppress(InputError):  # a damaged one is said when it is loaded
                parts = read_file(file)[1].get("parts", {}) if file.is_file() else {}
                remove_parts(file, but=parts.get("folder"))

    def _write(self, tensors: dict[str, torch.Tensor], *, is_best: bool, is_due: bool) -> None:
        # The best weights first: killed between the two writes, a resumed run only finds the same best again.
        if is_best:
            weights = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
            self._save(BEST, weights, {})
        if is_due:
            if self.runtime.is_main:
                self.progress.history_bytes = self._append_history()
            self._save(CHECKPOINT, tensors, self._rest(tensors))

    def _save(self, name: str, tensors: dict[str, torch.Tensor], rest: dict) -> None:
        if self.runtime.shard:
            save_parts(self.folder / name, tensors, rest, self.runtime)
        elif self.runtime.is_main:
            save_checkpoint(self.folder / name, tensors, rest)

    def _check_numbers(self, tensors: dict[str, torch.Tensor], step: int) -> None:
        """`check_tensors` of tensors of which each process may see a part: all raise where one does."""
        problem = None
        try:
            check_tensors({name: sharded.own_part(each) for name, each in tensors.items()}, self.model, step)
        except NotFinite as error:
            problem = (error.what, error.when)
        if self.runtime.shard:
            problem = self.runtime.agree(problem)
        if problem is not None:
            raise NotFinite(*problem)

    def _rest(self, tensors: dict[str, torch.Tensor]) -> dict:
        schedule = self.schedule.state_dict()
        schedule.pop("lr_lambdas", None)  # functions: the schedule that is resumed has its own
        return {
            "tensors": sorted(tensors),
            "below": self.below,
            "param_groups": self.optimizer.state_dict()["param_groups"],
            "schedule": schedule,
            "scaler": self.runtime.scaler.state_dict(),
            "progress": asdict(self.progress),
        }

    def _load(self, loader, config: TrainingConfig) -> Progress:
        if self.folder is None:
            raise InputError("resume needs the folder of the run to go on with, found none")
        file = self.folder / CHECKPOINT
        tensors, rest = load_checkpoint(file, self.runtime, states.room(self.model, self.optimizer))
        with _of_this_training(file):
            progress = Progress.checked(rest["progress"], loader, config)
        place = self.runtime.own_place(progress.place)
        with _of_this_training(file):
            if place is not None:
                loader.load_state_dict(place)  # a first try; the loop does it again
            self._check(tensors, rest, progress.step)
            states.load(tensors, self.model, self.optimizer, rest["param_groups"])
            self.schedule.load_state_dict(self.schedule.state_dict() | rest["schedule"])
            self.runtime.scaler.load_state_dict(rest["scaler"])
        if progress.best_score is not None:
            self._check_best()
        if self.runtime.is_main:
            with writing(self.folder, GO_ON):
                self._cut_history(progress.history_bytes)
        return progress

    def _check(self, tensors: dict[str, torch.Tensor], rest: dict, step: int) -> None:
        """Raise a ValueError where a checkpoint differs from one of this training."""
        now = self._rest(tensors)  # what would be written here and now
        if set(rest) != set(now):
            raise ValueError(f"it lacks or adds {', '.join(sorted(set(rest) ^ set(now)))}")
        if rest["tensors"] != now["tensors"]:
            raise ValueError("tensors are missing or were added")
        if rest["below"] != now["below"]:
            raise ValueError("the adapters were trained on other weights than are below them now")
        self._check_numbers(tensors, step)
        rates = [_without_rate(groups) for groups in (rest["param_groups"], now["param_groups"])]
        if not (is_like(rest["param_groups"], now["param_groups"]) and rates[0] == rates[1]):
            raise ValueError("its groups of parameters are others")
        schedule = rest["schedule"]
        if not is_like(schedule, now["schedule"]) or not 0 <= schedule.get("last_epoch", step) <= step:
            raise ValueError("its schedule is another one")
        if self.runtime.scaler.is_enabled() and not is_like(rest["scaler"], now["scaler"]):
            raise ValueError("its loss scale is no number")

    def _check_best(self) -> None:
        """Refuse to go on for hours towards best weights that cannot be loaded at the end."""
        file = self.folder / BEST
        if not file.is_file():
            raise InputError(f"{file} is missing, but the checkpoint beside it needs it; {START_AGAIN}")
        own, found = states.state(self.model), load_checkpoint(file, self.runtime, states.room(self.model))[0]
        if {name: tensor.shape for name, tensor in own.items()} != {n: t.shape for n, t in found.items()}:
            raise InputError(f"{file} holds the weights of another model; {START_AGAIN}")
        self._check_numbers(found, 0)

    def _append_history(self) -> int:
        """Add the steps since the last checkpoint to the history; returns the file's length."""
        rows = [as_row(step, seconds, self.scores) for step, seconds in self.unwritten]
        handle = os.open(
            self.folder / HISTORY, os.O_WRONLY | os.O_APPEND
        )  # there since the beginning, or gone
        with open(handle, "a", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, rows[0].keys(), lineterminator="\n")
            if self.progress.history_bytes == 0:
                writer.writeheader()
            writer.writerows(rows)
            lines.flush()
            os.fsync(handle)
            return os.fstat(handle).st_size

    def _cut_history(self, length: int) -> None:
        """Take back the steps that were written after the checkpoint: they are made again."""
        file = self.folder / HISTORY
        found = file.stat().st_size if file.is_file() else 0
        if found < length:
            known = f"has {found} bytes, the checkpoint knows of {length}"
            raise InputError(f"{file} {known}; the run folder was changed: start a new one")
        os.truncate(file, length)


@contextlib.contextmanager
def _of_this_training(file: Path):
    """Say of what does not fit in here that the checkpoint is of another training, or damaged."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"is of another model or course version, or damaged ({first_line(error)})"
        raise InputError(f"{file} {reason}; {START_AGAIN}") from error


def is_like(found, own) -> bool:
    """Whether what JSON gave back has the structure and types of `own`, with finite numbers."""
    if isinstance(own, dict):
        return (
            isinstance(found, dict) and set(found) == set(own) and all(is_like(found[k], own[k]) for k in own)
        )
    if isinstance(own, list | tuple):
        return isinstance(found, list) and len(found) == len(own) and all(map(is_like, found, own))
    if isinstance(own, int | float) and not isinstance(own, bool):
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return is_number and math.isfinite(found)
    return own is None or type(found) is type(own)


def _without_rate(groups: list[dict]) -> list[dict]:
    """Groups of parameters as JSON gives them back, without the rate, which moves."""
    return json.loads(json.dumps([{k: v for k, v in group.items() if k != "lr"} for group in groups]))
