"""A model that writes: a causal language model and what it needs to be used (chapters 09 and 10).

It comes from the course's own weights ("smollm2"), a folder of transformers, a finished run, or the hub.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from helpers import assets
from helpers.errors import InputError
from helpers.models.classifier import quiet_transformers, shortened
from helpers.models.forward import max_positions

MAX_TOKENS = 1024  # of a conversation by default: longer ones cost memory that a laptop does not have


@dataclass(frozen=True)
class LanguageModel:
    """A model together with all that is needed to let it write.

    Attributes:
        name: "smollm2", a folder, or a name of the hub, "NAME@REVISION".
        model: of transformers: token ids (B, L) to logits (B, L, V), float32 on the CPU.
        tokenizer: with a chat template, and ids for padding and for the end of an answer.
        max_length: tokens of a conversation, prompt and answer together; a longer one is refused.
        system: system message of conversations that bring none; None leaves it to the chat template.
    """

    name: str
    model: nn.Module
    tokenizer: object
    max_length: int = MAX_TOKENS
    system: str | None = None


def language_model(
    name: str = "smollm2", *, max_length: int = MAX_TOKENS, system: str | None = None
) -> LanguageModel:
    """Load a pretrained causal language model; it is on the CPU, in evaluation mode.

    Example: `lm = language_model("smollm2", system="Answer in one sentence.")`

    Args:
        name: "smollm2", a folder of transformers, or a name of the hub, best with its revision:
            "HuggingFaceTB/SmolLM2-360M-Instruct@a10cc1512eabd3dde888204e902eca88bddb4951".

    Raises InputError: no such model, no language model, one without a chat template or a fast tokenizer.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, revision = (assets.path("smollm2"), None) if name == "smollm2" else _source(name)
    options = {"revision": revision, "trust_remote_code": False}
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, use_safetensors=True, **options
            )
    except (OSError, ValueError, KeyError) as error:
        advice = "give smollm2, a folder of transformers, a finished run, or a causal model of the hub"
        raise InputError(
            f"the language model {name!r} cannot be loaded ({shortened(error)}); {advice}"
        ) from error
    check_tokenizer(name, tokenizer)
    longest = min(
        max_length, getattr(model.config, "max_position_embeddings", max_length), max_positions(model)
    )
    return LanguageModel(name, model.eval(), tokenizer, longest, system)


def check_tokenizer(name: str, tokenizer) -> None:
    """Raises InputError: a tokenizer without an end sign, a chat template, or what makes it fast."""
    missing = [
        what
        for what, is_there in (
            ("chat template", tokenizer.chat_template is not None),
            ("sign for the end of an answer", tokenizer.eos_token_id is not None),
            ("tokenizer.json", tokenizer.is_fast),
        )
        if not is_there
    ]
    if missing:
        problem = f"the tokenizer of {name!r} has no {' and no '.join(missing)}"
        raise InputError(f"{problem}; choose an instruct model, which was trained on conversations")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # harmless: what is padding is told by its place


def _source(name: str) -> tuple[str, str | None]:
    if Path(name).is_dir():
        return name, None
    repository, _, revision = name.partition("@")
    return repository, revision or None
