"""The files of a checkpoint: one, or a part for each process; whole or absent (chapters 03 and 12).

Why not `torch.save`? It writes a pickle, and a pickle is a program. Tensors go to safetensors, the rest
to JSON in its header.

Where the weights are shared out among processes, each writes its part into a new folder beside that file; the
file comes last and names them, with their hashes: until then the checkpoint before it is the last one.
"""

import errno
import json
import re
import secrets
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from helpers.assets import sha256
from helpers.errors import InputError
from helpers.files import sync_folder, write_atomically
from helpers.training import sharded
from helpers.training.runtime import Runtime

CHECKPOINT, BEST, HISTORY = "checkpoints/last.safetensors", "checkpoints/best.safetensors", "history.csv"
PARTS = re.compile(r"(last|best)-[0-9a-f]{8}")  # folders of a checkpoint in parts
START_AGAIN = "train again into a new run folder"


def save_checkpoint(file: Path, tensors: dict[str, torch.Tensor], rest: dict) -> None:
    """Write tensors and what is said beside them (JSON-ready), atomically."""
    write_atomically(file, save(tensors, {"rest": json.dumps(rest, allow_nan=False)}))


def load_checkpoint(file: Path, runtime: Runtime | None = None, room=sharded.empty_like):
    """Read what `save_checkpoint` or `save_parts` wrote: tensors {name: tensor} and what is said beside them.

    Args:
        runtime: several processes, all of which call this, look at a part of the files each.
        room: where tensors in parts go to, see `states.room`; by default they become whole, on the CPU.

    Raises InputError: the file is missing or damaged, or one of its parts.
    """
    tensors, rest = read_file(file)
    parts = rest.pop("parts", None)
    if parts is None:
        return tensors, rest
    folder, names = file.parent / parts["folder"], sorted(parts["files"])
    own = names if runtime is None else names[runtime.process_index :: runtime.num_processes]
    problem = next((name for name in own if not _is_whole(folder / name, parts["files"][name])), None)
    found = [path.name for path in folder.glob("*")]
    problem = problem or next((name for name in found if name not in names), None)
    problem = problem if runtime is None else runtime.agree(problem)
    if problem is not None:
        raise InputError(f"{folder / problem} is missing, damaged or not of this checkpoint; {START_AGAIN}")
    try:
        together = runtime is not None and runtime.shard
        return sharded.read_parts(folder, room, together=together), rest
    except (SafetensorError, RuntimeError, ValueError, KeyError, OSError) as error:
        reason = f"do not make a checkpoint ({first_line(error)})"
        raise InputError(f"the files in {folder} {reason}; {START_AGAIN}") from error


def save_parts(file: Path, tensors: dict[str, torch.Tensor], rest: dict, runtime: Runtime) -> None:
    """`save_checkpoint` of tensors that are shared out; all processes call this.

    Raises OSError: a process cannot write its part, or the first one does not see it.
    """
    name = runtime.agree(f"{file.stem}-{secrets.token_hex(4)}" if runtime.is_main else None)
    folder = file.parent / name
    own = sharded.write_parts(folder, tensors)
    written = {own: [(folder / own).stat().st_size, sha256(folder / own)]} if own else {}
    files = {name: said for each in runtime.gather_objects(written) for name, said in each.items()}
    lacking = runtime.agree(next((n for n in files if runtime.is_main and not (folder / n).is_file()), None))
    if lacking is not None:
        raise OSError(errno.ENOENT, "the machines of this run do not share this folder", str(folder))
    if runtime.is_main:
        sync_folder(folder)
        save_checkpoint(file, {}, rest | {"parts": {"folder": name, "files": files}})
        remove_parts(file, but=name)
    runtime.wait()


def last_step(folder: Path) -> int | None:
    """The step of the last whole checkpoint in a run folder; None without one."""
    try:
        return read_file(folder / CHECKPOINT)[1]["progress"]["step"]
    except (InputError, KeyError, TypeError):
        return None


def read_file(file: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The file alone: tensors that are not in parts, and what is said beside them.

    Raises InputError: it is missing or damaged.
    """
    if not file.is_file():
        raise InputError(f"there is no checkpoint {file} to go on from; {START_AGAIN}")
    try:
        with safe_open(file, framework="pt") as archive:
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118  (no dictionary)
            rest = json.loads((archive.metadata() or {}).get("rest", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        reason = f"is no whole safetensors file ({first_line(error)})"
        raise InputError(f"{file} {reason}; {START_AGAIN}") from error
    if not isinstance(rest, dict):
        raise InputError(f"{file} is no checkpoint (beside its tensors stands {rest!r:.50}); {START_AGAIN}")
    parts = rest.get("parts")
    if parts is not None and not (
        isinstance(parts, dict)
        and PARTS.fullmatch(str(parts.get("folder")))
        and isinstance(parts.get("files"), dict)
    ):
        raise InputError(f"{file} is no checkpoint (its parts are {parts!r:.50}); {START_AGAIN}")
    return tensors, rest


def _is_whole(file: Path, said: list) -> bool:
    return file.is_file() and [file.stat().st_size, sha256(file)] == said


def remove_parts(file: Path, *, but: str | None) -> None:
    """Remove folders of parts to which `file` does not point any more, or which a killed process left."""
    for folder in file.parent.glob(f"{file.stem}-*"):
        if PARTS.fullmatch(folder.name) and folder.name != but:
            shutil.rmtree(folder)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
