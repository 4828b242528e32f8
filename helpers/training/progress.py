"""How far a training has come, and one step of it as the caller sees it (chapter 03)."""

import math
from dataclasses import dataclass, fields, replace

import torch

from helpers.errors import InputError
from helpers.safety.finite import check_scores
from helpers.safety.values import check_types
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
    micro_batch: int | None = None  # rows that the memory holds at once; None: whole batches, so far

    @classmethod
    def checked(cls, values: dict, loader, config: TrainingConfig) -> "Progress":
        """The progress that a checkpoint holds, if it can be one of this training.

        Raises ValueError: fields are missing, of another type, or beyond the training's end.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(f"its progress lacks or adds {', '.join(sorted(set(values) ^ names))}")
        progress = cls(**values)
        check_types(progress)
        batches, num_steps = num_batches(loader), planned_steps(loader, config)
        most = {"epoch": math.inf if config.max_steps else config.epochs, "step": num_steps}
        most["batch"] = math.inf if batches is None else batches - 1
        for name in (
            "epoch",
            "batch",
            "step",
            "evaluations_since_best",
            "trainable",
            "history_bytes",
            "seconds",
        ):
            value = getattr(progress, name)
            if not 0 <= value <= most.get(name, math.inf):
                raise ValueError(f"its {name} is {value}")
        if progress.micro_batch is not None and progress.micro_batch < 1:
            raise ValueError(f"its micro_batch is {progress.micro_batch}")
        return progress

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

        Raises InputError: `scores` has no entry of the name in `select`, or one that is not finite.
        """
        name = select.removeprefix("-")
        if name not in scores:
            names = ", ".join(scores)
            raise InputError(
                f"select must name one of {names}, found {select!r}; '-' in front means less is better"
            )
        check_scores(scores, step.step)
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
    batches = num_batches(loader)
    if batches is None:
        raise InputError(
            "a stream has no length, so nobody can say how many steps its epochs have; set max_steps"
        )
    return config.epochs * math.ceil(batches / config.accumulation_steps)


def num_batches(loader) -> int | None:
    """Batches of an epoch; None for a stream, which has no length."""
    try:
        return len(loader)
    except TypeError:
        return None


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
