"""How far a training has come, and one step of it as the caller sees it (chapter 03)."""

import math
from dataclasses import dataclass, replace

import torch

from helpers.errors import InputError
from helpers.training.config import TrainingConfig


@dataclass(frozen=True)
class Step:
    """What happened in one optimizer step."""

    step: int  # counted from 1, as is the epoch
    epoch: int
    learning_rate: float  # of the head
    loss: torch.Tensor  # () on the training's device: mean over the items of this step, before it
    validation: dict[str, float] | None = None  # what `score` returned, if it was called after this step
    is_best: bool = False  # whether that score is the best so far

    @property
    def train_loss(self) -> float:
        """`loss` as a number; reading it makes Python wait for a GPU, so read it when it is shown."""
        return self.loss.item()


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # the epoch to go on with, from 0
    batch: int = 0  # the batch of that epoch to go on with, from 0
    step: int = 0  # optimizer steps done
    best_score: float | None = None  # see `TrainingConfig.select`; None before the first one
    evaluations_since_best: int = 0
    seconds: float = 0.0  # spent so far
    trainable: int = 0  # weights that may move
    place: dict | None = None  # the loader's own `state_dict`, where it has one and the epoch has begun
    history_bytes: int = 0  # length of the history file when this was noted

    def is_over(self, config: TrainingConfig) -> bool:
        """Whether all steps are done, or nothing has got better for too long."""
        done = self.epoch >= config.epochs if config.max_steps is None else self.step >= config.max_steps
        return done or self.evaluations_since_best >= config.patience

    def move(self, batches: int, place: dict | None, *, ends_epoch: bool) -> None:
        """Note that so many more batches of the epoch are done."""
        self.batch, self.place = self.batch + batches, place
        if ends_epoch:
            self.epoch, self.batch, self.place = self.epoch + 1, 0, None

    def judged(self, step: Step, scores: dict[str, float], select: str) -> Step:
        """Note what an evaluation found; returns the step with it.

        Raises InputError: `scores` has no entry of the name in `select`.
        """
        name = select.removeprefix("-")
        if name not in scores:
            names = ", ".join(scores)
            raise InputError(
                f"select must name one of {names}, found {select!r}; '-' in front means less is better"
            )
        score = -scores[name] if select.startswith("-") else scores[name]
        is_best = self.best_score is None or score > self.best_score
        self.best_score = score if is_best else self.best_score
        self.evaluations_since_best = 0 if is_best else self.evaluations_since_best + 1
        return replace(step, validation=scores, is_best=is_best)


def planned_steps(loader, config: TrainingConfig) -> int:
    """Optimizer steps of the whole training; the schedule is stretched over them.

    Raises InputError: a stream, which has no length, without `max_steps`.
    """
    if config.max_steps is not None:
        return config.max_steps
    try:
        return config.epochs * math.ceil(len(loader) / config.accumulation_steps)
    except TypeError as error:
        raise InputError(
            "a stream has no length, so nobody can say how many steps its epochs have; set max_steps"
        ) from error


def as_row(step: Step, seconds: float, scores: tuple[str, ...]) -> dict:
    """A step as a flat row of the history; `scores` are None where the model was not evaluated."""
    validation = step.validation or {}
    return {
        "step": step.step,
        "epoch": step.epoch,
        "seconds": round(seconds, 3),
        "learning_rate": step.learning_rate,
        "train_loss": step.train_loss,
        **{f"validation_{name}": validation.get(name) for name in scores},
    }
