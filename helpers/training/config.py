"""Every number that a training depends on, in one frozen object saved with the result (chapter 03)."""

import math
from dataclasses import dataclass

from helpers.errors import InputError
from helpers.safety.values import check_types
from helpers.tuning.freezing import STRATEGIES
from helpers.tuning.optimization import OPTIMIZERS, SCHEDULES

PRECISIONS = ("auto", "bf16", "fp16", "no")
COUNTS = ("epochs", "max_steps", "batch_size", "accumulation_steps", "evaluate_every", "patience")
LEAST = {"num_workers": 0, "checkpoint_every": 1, "seed": 0} | dict.fromkeys(COUNTS, 1)
RATES = ("learning_rate", "layer_decay", "max_grad_norm")  # above 0
SHARES = {"weight_decay": math.inf, "label_smoothing": 0.99, "warmup_share": 1, "layer_decay": 1}  # 0 to this
CHOICES = {"strategy": STRATEGIES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train; each number stands beside what it means.

    Example: `TrainingConfig(epochs=2, batch_size=16, learning_rate=2e-4)`
    """

    epochs: int = 3  # passes over the training rows
    max_steps: int | None = None  # optimizer steps in all, in place of epochs; a stream needs it
    batch_size: int = 32  # rows, all processes together
    accumulation_steps: int = 1  # batches per optimizer step, whose gradients are added up
    learning_rate: float = 1e-4  # of the head, at the end of the warm-up
    layer_decay: float = 1.0  # factor of the rate from one layer group to the one below
    weight_decay: float = 0.01  # decoupled, of weight matrices only
    label_smoothing: float = 0.0  # share of each target's probability that is spread over all classes
    optimizer: str = "adamw"  # or adam, sgd, adadelta, see tuning.optimization
    schedule: str = "linear"  # or cosine, constant, ...: the rate after the warm-up, see tuning.optimization
    warmup_share: float = 0.1  # share of all optimizer steps that is spent warming up
    max_grad_norm: float = 1.0  # gradients longer than this are shortened to it
    strategy: str = "full"  # or head, gradual, lora: which weights move, see tuning.freezing
    select: str = "macro_f1"  # the score that decides which weights are best; "-loss": less is better
    evaluate_every: int | None = None  # optimizer steps; None evaluates after each epoch
    patience: int = 3  # evaluations without a better score after which training stops
    checkpoint_every: int = 100  # optimizer steps between two checkpoints; each epoch ends with one, too
    num_workers: int | None = None  # processes that load batches; 0: the training's own; None: where they pay
    precision: str = "auto"  # chosen for the hardware, or bf16, fp16, no (float32)
    shard: bool = False  # several processes share the weights out (FSDP2), in place of a copy in each
    activation_checkpointing: bool = False  # compute layers once more in the backward pass: less memory
    seed: int = 0  # of the head's first weights, the order of rows, dropout and augmentation

    def __post_init__(self):
        check_types(self)
        for name, smallest in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise InputError(f"{name} must be at least {smallest}, found {value}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        for name in RATES:
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be above 0, found {getattr(self, name)}")
        for name, largest in SHARES.items():
            if not 0 <= getattr(self, name) <= largest:
                limits = "at least 0" if largest == math.inf else f"0 to {largest}"
                raise InputError(f"{name} must be {limits}, found {getattr(self, name)}")

    def asks_for_score(self, step: int, ends_epoch: bool) -> bool:
        """Whether the model is evaluated after this step."""
        return ends_epoch if self.evaluate_every is None else step % self.evaluate_every == 0
