"""What a language model's run is made of, complete: see `recipes.RunConfig` for the other tasks."""

import math
from dataclasses import dataclass, field, replace

from helpers.errors import InputError
from helpers.models.language import MAX_TOKENS
from helpers.runs.recipes import TRACKERS
from helpers.training.config import TrainingConfig

QUICK_LIMIT = 400  # training rows at quick scale: about two minutes on two cores
STRATEGIES = ("lora", "full")
# Chosen on validation rows of the comments; benchmarks/chat.py measures what they reach.
DEFAULTS = {
    "lora": TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3),
    "full": TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-4),
}
# Pairs move a model by the difference of two answers: small steps, or it forgets how to write. In
# benchmarks/results/preference.json 5e-5 leaves every answer valid JSON, 2e-4 four in ten.
PREFERENCE_DEFAULTS = {
    "lora": TrainingConfig(epochs=1, batch_size=16, learning_rate=5e-5),
    "full": TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-5),
}


@dataclass(frozen=True)
class ChatConfig:
    """One training run of a language model on conversations."""

    task: str = "chat"
    data: str | None = None  # your own conversations, see own.messages; None: the course's comments
    prompt_column: str | None = None  # the columns of your table
    answer_column: str | None = None
    on_bad: str = "stop"  # or "skip": bad rows
    model: str = "smollm2"  # a name or folder, see models.language
    system: str | None = None  # system message of conversations that bring none
    max_length: int = MAX_TOKENS  # tokens of a conversation; a longer one is a bad row, none is cut
    rank: int = 32  # of LoRA's corrections, which count twice (alpha is 2 * rank)
    base_bits: int = 16  # 4: the frozen weights below LoRA in blocks of 4 bits
    packing: bool = False  # a batch's conversations in one row, without padding
    limit: int = QUICK_LIMIT  # most training rows; a quarter of it for validation, half for test; 0 is all
    log_with: str | None = None  # tensorboard, mlflow or wandb, beside history.csv
    stream: bool = False  # `data` is a folder of shards whose rows no memory need hold
    training: TrainingConfig = field(default_factory=lambda: default_training("lora"))

    def __post_init__(self):
        if self.training.strategy not in STRATEGIES:
            found = f"found {self.training.strategy!r}"
            raise InputError(f"the strategy of a language model must be lora or full, {found}")
        if self.base_bits not in (4, 16):
            raise InputError(f"base_bits must be 16 or 4, found {self.base_bits}")
        if self.base_bits == 4 and self.training.strategy == "full":
            raise InputError("weights in 4 bits cannot be trained; use strategy lora, or 16 bits")
        if self.limit < 0 or self.rank < 1 or self.max_length < 8:
            raise InputError("limit must be 0 (all rows) or more, rank at least 1, max_length at least 8")
        if self.log_with not in (None, *TRACKERS):
            raise InputError(f"log_with must be one of {', '.join(TRACKERS)}, found {self.log_with!r}")


@dataclass(frozen=True)
class PreferenceConfig(ChatConfig):
    """One training run of a language model on pairs of answers, see own.pairs."""

    task: str = "preference"
    chosen_column: str | None = None
    rejected_column: str | None = None
    beta: float = 0.1  # how near the model is kept to what it was, see losses.Preference
    training: TrainingConfig = field(default_factory=lambda: default_training("lora", PREFERENCE_DEFAULTS))

    def __post_init__(self):
        super().__post_init__()
        if self.packing or self.answer_column or self.stream:
            raise InputError("pairs have no answer_column, are not packed and no stream: leave these out")
        if not 0 < self.beta < math.inf:
            raise InputError(f"beta must be above 0, found {self.beta}")


LANGUAGE_TASKS = {"chat": ChatConfig, "preference": PreferenceConfig}


def default_training(strategy: str = "lora", recipes: dict = DEFAULTS, **changes) -> TrainingConfig:
    """The numbers of one of `recipes` for a strategy, but for those `changes` that are not None.

    Raises InputError: another strategy than lora or full.
    """
    if strategy not in recipes:
        raise InputError(f"the strategy of a language model must be lora or full, found {strategy!r}")
    given = {name: value for name, value in changes.items() if value is not None}
    fixed = {"strategy": strategy, "schedule": "one-cycle", "weight_decay": 0.0, "select": "-loss"}
    return replace(recipes[strategy], **fixed, **given)
