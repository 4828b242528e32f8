"""LoRA adapters as files of their own, in PEFT's format, which other tools read (chapter 10).

An adapter is small and useless without the model it was trained on, so its file names that model.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.errors import InputError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # in front of each name, as peft's own wrapper writes it


def has_lora(model: nn.Module) -> bool:
    """Whether the model carries adapters."""
    return any("lora_" in name for name, _ in model.named_parameters())


def save_adapter(model: nn.Module, folder: str | Path, base: str) -> None:
    """Write the adapter of a model with LoRA; `peft.PeftModel.from_pretrained(base_model, folder)` reads it.

    Args:
        folder: an existing folder.
        base: name of the model below, which stands in the adapter's configuration.
    """
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model)
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, Path(folder) / WEIGHTS, {"format": "pt"})
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.task_type, config.inference_mode = base, "CAUSAL_LM", True
    config.save_pretrained(folder)


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """Put the adapter in `folder`, our own or another tool's, on the model it was trained on, in place.

    Raises InputError: no adapter, one for another model, a damaged one.
    """
    from peft import LoraConfig, PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} holds no adapter; it needs {CONFIG} and {WEIGHTS}")
    try:
        config, tensors = PeftConfig.from_pretrained(str(folder)), load_file(folder / WEIGHTS)
    except (SafetensorError, ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(f"the adapter in {folder} is damaged ({error}); copy it again") from error
    if not isinstance(config, LoraConfig):
        raise InputError(f"the adapter in {folder} is {config.peft_type}, expected LoRA")
    try:
        config.inference_mode = False
        inject_adapter_in_model(config, model)
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
        result = set_peft_model_state_dict(model, tensors)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _other(folder, str(error).splitlines()[0]) from error
    lacking = [name for name in result.missing_keys if "lora_" in name]
    if lacking or result.unexpected_keys:
        raise _other(
            folder, f"{len(lacking)} of its weights are missing, {len(result.unexpected_keys)} unknown"
        )


def tensors_hash(tensors: Iterable[torch.Tensor], whole: Callable = torch.detach) -> str:
    """A hash of the values of tensors in their order; tied ones count once. `whole`: a shared-out one as it
    is together.
    """
    digest = hashlib.sha256()
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        digest.update(whole(tensor).detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _other(folder: Path, why: str) -> InputError:
    return InputError(f"the adapter in {folder} does not fit this model ({why}); give the model it names")
