"""A model that writes: a causal language model and what it needs to be used (chapters 09 and 10).

It comes from the course's own weights ("smollm2"), a folder of transformers, a finished run, or the hub.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from helpers import assets
from helpers.assets import sha256
from helpers.data.full import hub_source
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.models.adapters import has_lora, load_adapter, save_adapter, tensors_hash
from helpers.models.classifier import quiet_transformers, shortened
from helpers.models.folders import GIVE_A_RUN, WRITE_AGAIN
from helpers.models.forward import max_positions
from helpers.models.low_bit import to_low_bit
from helpers.safety.whole import whole_folder

DESCRIPTION = "chat.json"
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
    base_bits: int = 16  # 4: frozen weights in blocks of 4 bits, see `low_bit`


def language_model(
    name: str = "smollm2", *, max_length: int = MAX_TOKENS, system: str | None = None
) -> LanguageModel:
    """Load a pretrained causal language model; it is on the CPU, in evaluation mode.

    Example: `lm = language_model("smollm2", system="Answer in one sentence.")`

    Args:
        name: "smollm2", a folder of transformers, or a model of the hub: one that `data/full_scale.toml`
            pins ("smollm2-360m"), or NAME@REVISION.

    Raises InputError: no such model, no language model, one without a chat template or a fast tokenizer.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name)
    loading = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    model, report = _loaded(name, AutoModelForCausalLM, **loading)
    missing = sorted(report["missing_keys"])  # transformers would draw them at random
    if missing:
        what = f"{len(missing)} weights of the language model {name!r} are missing (first: {missing[0]})"
        raise InputError(f"{what}; copy it again, or choose a causal language model")
    words = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > words:
        what = f"the tokenizer of {name!r} has {len(tokenizer):,} tokens, its model knows {words:,}"
        raise InputError(f"{what}; give it the tokenizer it was trained with")
    context = getattr(model.config, "max_position_embeddings", max_length)
    longest = min(max_length, context, max_positions(model))
    return LanguageModel(name, model.eval(), tokenizer, longest, system)


def load_tokenizer(name: str):
    """The tokenizer of a language model, without its weights.

    Raises InputError: as `language_model` does.
    """
    from transformers import AutoTokenizer

    tokenizer = _loaded(name, AutoTokenizer)
    check_tokenizer(name, tokenizer)
    return tokenizer


def _loaded(name: str, kind, **options):
    """What `kind` of transformers reads from the model called `name`."""
    source, revision = (assets.path("smollm2"), None) if name == "smollm2" else _source(name)
    try:
        with quiet_transformers():
            return kind.from_pretrained(source, revision=revision, trust_remote_code=False, **options)
    except Exception as error:  # a class of its own for each way in which a model can be bad
        advice = "give smollm2, a folder of transformers, or a causal language model of the hub"
        what = f"the language model {name!r} cannot be loaded ({shortened(error)})"
        raise InputError(f"{what}; {advice}") from error


def save_language_model(lm: LanguageModel, folder: str | Path) -> None:
    """Write the model as the folder `folder`, in which an earlier one is replaced as a whole.

    Of a model with LoRA only the adapter is written; it needs the model `lm.name` again.
    """
    with whole_folder(folder, (DESCRIPTION,)) as new:
        is_folder = lm.name != "smollm2" and Path(lm.name).is_dir()
        name = str(Path(lm.name).absolute()) if is_folder else lm.name  # found again from anywhere
        if has_lora(lm.model):
            save_adapter(lm.model, new, name)
        else:
            with quiet_transformers():
                lm.model.save_pretrained(new)
        lm.tokenizer.save_pretrained(new)
        said = {"name": name, "max_length": lm.max_length, "system": lm.system, "base_bits": lm.base_bits}
        files = {file.name: sha256(file) for file in sorted(new.iterdir())}
        base = weights_hash(lm.model) if has_lora(lm.model) else None
        content = {"task": "chat", **said, "base": base, "sha256": files}
        write_atomically(new / DESCRIPTION, json.dumps(content, indent=2).encode())


def load_language_model(folder: str | Path) -> LanguageModel:
    """Read what `save_language_model` wrote: whole weights, or an adapter on the model it was trained on.

    Raises InputError: no such folder, a file that is missing, damaged or changed, or the model below the
        adapter is not there any more, or another one.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION
    if not file.is_file():
        raise InputError(f"{folder} holds no trained language model ({DESCRIPTION} is missing); {GIVE_A_RUN}")
    try:
        said = json.loads(file.read_bytes())
        names = ("name", "max_length", "system", "base_bits")
        name, max_length, system, base_bits = (said[name] for name in names)
        expected, base = dict(said["sha256"]), said["base"]
        kinds = (type(name) is str, type(max_length) is int, isinstance(system, str | None))
        if not all(kinds) or base_bits not in (4, 16):
            raise ValueError(f"{name!r}, {max_length!r}, {system!r} or {base_bits!r} cannot be")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({shortened(error)}); {WRITE_AGAIN}") from error
    for known, digest in expected.items():
        if not (folder / known).is_file() or sha256(folder / known) != digest:
            raise InputError(f"{folder / known} is missing, damaged or changed; {WRITE_AGAIN}")
    lm = language_model(name if base else str(folder), max_length=max_length, system=system)
    if base:
        if base_bits == 4:
            to_low_bit(lm.model)
        if weights_hash(lm.model) != base:
            what = f"the adapter in {folder} was trained on other weights than {name!r} has now"
            raise InputError(f"{what}; bring them back, or train again")
        load_adapter(lm.model, folder)
    return replace(lm, name=name, model=lm.model.eval(), base_bits=base_bits)


def weights_hash(model: nn.Module) -> str:
    """A hash of all weights below the adapter, which it does not move, by which it knows its model again."""
    return tensors_hash(t for name, t in model.state_dict(keep_vars=True).items() if "lora_" not in name)


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
    """Folder or repository, and its revision."""
    if (Path(name) / "model" / DESCRIPTION).is_file():
        made = f"`python -m helpers export {name} --format safetensors`"
        raise InputError(f"{name} is a run, not a model; make one of it by {made} and give that folder")
    if Path(name).is_dir():
        return name, None
    if Path(name).is_absolute():
        raise InputError(f"the language model {name} does not exist; bring it back, or give another one")
    return hub_source(name)
