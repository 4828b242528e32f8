"""Everything a run needs to go on as if it had never stopped, in one file that is whole or absent (chapter
03).

Why not `torch.save`? It writes a pickle, and a pickle is a program. Tensors go to safetensors, the rest to
JSON in its header.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from helpers.errors import InputError
from helpers.files import write_atomically


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: the epoch to go on with, from 0.
        batch: the batch of that epoch to go on with, from 0.
        step: optimizer steps done.
        best_score: best validation macro-F1 so far.
        epochs_since_best: epochs without a better one.
        seconds: time spent so far.
        history: one row per optimizer step.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float = -1.0
    epochs_since_best: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)


def save_checkpoint(
    file: Path, model: nn.Module, optimizer, scheduler, progress: Progress, scaler=None
) -> None:
    """Write model, optimizer moments, schedule, loss scale and progress, atomically.

    No random state is stored: the loop derives the random numbers of every step from the seed and the step.
    """
    optimizer_state = optimizer.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimizer_state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    rest = {
        "param_groups": optimizer_state["param_groups"],
        "scheduler": {key: value for key, value in scheduler.state_dict().items() if key != "lr_lambdas"},
        "scaler": scaler.state_dict() if scaler is not None else None,
        "progress": asdict(progress),
    }
    write_atomically(
        file,
        save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {"rest": json.dumps(rest)},
        ),
    )


def load_checkpoint(file: Path, model: nn.Module, optimizer, scheduler, scaler=None) -> Progress:
    """Restore what `save_checkpoint` wrote into these objects.

    Raises:
        InputError: the file is missing or no checkpoint of this model.
    """
    tensors, rest = _read(file)
    try:
        model.load_state_dict(_below(tensors, "model"))
    except RuntimeError as error:
        raise InputError(
            f"{file} belongs to another model ({str(error).splitlines()[0]}); start a new run folder"
        ) from error
    moments = {}
    for name, tensor in _below(tensors, "optimizer").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": rest["param_groups"]})
    scheduler.load_state_dict(rest["scheduler"] | {"lr_lambdas": scheduler.state_dict()["lr_lambdas"]})
    if scaler is not None:
        scaler.load_state_dict(rest["scaler"])
    return Progress(**rest["progress"])


def read_progress(file: Path) -> Progress:
    """How far the run of a checkpoint has come, without loading its tensors into a model."""
    return Progress(**_read(file)[1]["progress"])


def save_weights(file: Path, model: nn.Module) -> None:
    """Write the weights alone, atomically."""
    write_atomically(
        file, save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    )


def load_weights(file: Path, model: nn.Module) -> None:
    """Restore what `save_weights` wrote."""
    model.load_state_dict(_read(file)[0])


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    if not file.is_file():
        raise InputError(f"there is no checkpoint {file} to go on from; start the run without --resume")
    try:
        with safe_open(file, framework="pt") as archive:
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118  (no dictionary)
            return tensors, json.loads((archive.metadata() or {}).get("rest", "{}"))
    except SafetensorError as error:
        raise InputError(
            f"{file} is no whole safetensors file ({error}); delete the run folder and start again"
        ) from error


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
