"""Every number a training run depends on, in one frozen object that is saved beside the result (chapter
03).
"""

from dataclasses import dataclass

from helpers.errors import InputError
from helpers.tuning.freezing import STRATEGIES
from helpers.tuning.optimization import OPTIMIZERS, SCHEDULES


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        epochs: passes over the training rows.
        batch_size: rows per batch, all processes together.
        accumulation_steps: batches per optimizer step; their gradients add up to that of one large batch.
        learning_rate: of the head, at the end of the warm-up.
        layer_decay: factor of the learning rate from one layer group to the one below it; 1 = the same rate
            everywhere.
        weight_decay: decoupled, on weight matrices only.
        label_smoothing: share of each target's probability spread over all classes.
        optimizer: "adamw", "adam", "sgd" or "adadelta", see `tuning.schedules.make_optimizer`.
        schedule: "linear", "cosine", "constant", ... after the warm-up, see `tuning.schedules`.
        warmup_share: share of all optimizer steps spent warming up.
        max_grad_norm: gradients longer than this are shortened to it.
        strategy: "full", "head", "gradual" or "lora": which weights move, see `tuning.freezing`.
        patience: epochs without a better validation macro-F1 after which training stops.
        checkpoint_every: optimizer steps between two checkpoints; each epoch ends with one, too.
        precision: "auto" (chosen for the hardware), "bf16", "fp16" or "no" (float32).
        seed: of the head's first weights, the order of rows, dropout and augmentation.
    """

    epochs: int = 3
    batch_size: int = 32
    accumulation_steps: int = 1
    learning_rate: float = 1e-4
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    optimizer: str = "adamw"
    schedule: str = "linear"
    warmup_share: float = 0.1
    max_grad_norm: float = 1.0
    strategy: str = "full"
    patience: int = 3
    checkpoint_every: int = 100
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size", "accumulation_steps", "patience", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, found {getattr(self, name)}")
        precisions = ("auto", "bf16", "fp16", "no")
        for name, choices in (
            ("strategy", STRATEGIES),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", precisions),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, found {getattr(self, name)!r}")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate must be above 0, found {self.learning_rate}")
