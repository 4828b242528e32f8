"""Every number a training run depends on, in one frozen object that is saved beside the result (chapter
03).
"""

from dataclasses import dataclass

from helpers.errors import InputError
from helpers.tuning.freezing import STRATEGIES
from helpers.tuning.optimization import OPTIMIZERS, SCHEDULES

PRECISIONS = ("auto", "bf16", "fp16", "no")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Example: `TrainingConfig(epochs=2, batch_size=16, learning_rate=2e-4)`

    Attributes:
        epochs: passes over the training rows.
        max_steps: optimizer steps in all, in place of `epochs`; a stream, which has no length, needs it.
        batch_size: rows per batch, all processes together.
        accumulation_steps: batches per optimizer step; their gradients add up to that of one large batch.
        learning_rate: learning rate of the head, at the end of the warm-up.
        layer_decay: factor of the learning rate from one layer group to the one below it; 1 is the same rate
            everywhere.
        weight_decay: decoupled decay, of weight matrices only.
        label_smoothing: share of each target's probability that is spread over all classes.
        optimizer: "adamw", "adam", "sgd" or "adadelta", see `tuning.optimization.make_optimizer`.
        schedule: "linear", "cosine", "constant", ... after the warm-up, see `tuning.optimization`.
        warmup_share: share of all optimizer steps that is spent warming up.
        max_grad_norm: gradients longer than this are shortened to it.
        strategy: "full", "head", "gradual" or "lora": which weights move, see `tuning.freezing`.
        select: the score that decides which weights are best; a "-" in front means that less is better
            ("-loss").
        evaluate_every: optimizer steps between two evaluations; None evaluates at the end of each epoch.
        patience: evaluations without a better score after which training stops.
        checkpoint_every: optimizer steps between two checkpoints; each epoch ends with one, too.
        num_workers: processes that load batches; 0 loads them in the training's own.
        precision: "auto" (chosen for the hardware), "bf16", "fp16" or "no" (float32).
        seed: seed of the head's first weights, the order of rows, dropout and augmentation.
    """

    epochs: int = 3
    max_steps: int | None = None
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
    select: str = "macro_f1"
    evaluate_every: int | None = None
    patience: int = 3
    checkpoint_every: int = 100
    num_workers: int = 0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        least = {"num_workers": 0} | dict.fromkeys(
            (
                "epochs",
                "max_steps",
                "batch_size",
                "accumulation_steps",
                "evaluate_every",
                "patience",
                "checkpoint_every",
            ),
            1,
        )
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise InputError(f"{name} must be at least {smallest}, found {value}")
        choices = {
            "strategy": STRATEGIES,
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate must be above 0, found {self.learning_rate}")

    def asks_for_score(self, step: int, ends_epoch: bool) -> bool:
        """Whether the model is evaluated after this step."""
        return ends_epoch if self.evaluate_every is None else step % self.evaluate_every == 0
