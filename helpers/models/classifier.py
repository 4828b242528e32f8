"""What a classifier is: a model, the names of its outputs, and what turns an input into its numbers."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from helpers.data.datasets import MAX_TOKENS
from helpers.errors import InputError
from helpers.models.forward import forward

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of a pair, ends of lines
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they let a line read otherwise


@dataclass(frozen=True)
class Classifier:
    """A model together with all that is needed to use it."""

    task: str  # "text" or "images", see `tasks`
    name: str  # the pretrained model it started from
    model: nn.Module | None  # (input_ids, attention_mask) (B, L), or images (B, 3, H, W), to logits (B, C)
    classes: tuple[str, ...]  # names of its C outputs, in order
    preprocessor: object  # a tokenizer for texts, `ImagePreprocessing` for images
    max_length: int = MAX_TOKENS  # tokens of a text, the special ones included: a longer text is cut there

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits (B, C) of a batch, computed where the model is."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        return forward(self.model, {name: tensor.to(device) for name, tensor in batch.items()})


def check_classes(classes: Sequence[str], where: str = "the classes") -> None:
    """Raises InputError: fewer than two names, two that are the same, or one that is not `is_printable`."""
    is_list = isinstance(classes, list | tuple) and all(map(is_printable, classes))
    if not is_list or len(classes) < 2 or len(set(classes)) < len(classes):
        needed = "must be at least two different names without control characters"
        raise InputError(f"{where} {needed}, found {shortened(repr(classes))}; rename them")


def is_printable(name: object) -> bool:
    """Whether it is a word that any terminal shows as it is; joined emoji and all scripts are."""
    if not isinstance(name, str) or not name.strip():
        return False
    kinds = {
        kind for letter in name for kind in (unicodedata.category(letter), unicodedata.bidirectional(letter))
    }
    return kinds.isdisjoint(UNPRINTABLE | TURNING)


def shortened(message: object) -> str:
    """The first line of a message, at most 200 characters, for use inside a sentence."""
    lines = str(message).strip().splitlines() or [type(message).__name__]
    return lines[0] if len(lines[0]) <= 200 else f"{lines[0][:200]} ..."


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide the load report and progress bars of transformers: a missing head is what we ask for."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.ERROR)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
