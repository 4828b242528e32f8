"""A folder that is there whole or not at all, whatever stops the program that writes it (chapter 03)."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from helpers.errors import InputError


@contextmanager
def whole_folder(folder: str | Path, known: Collection[str]) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its name when the block has written all without an error.

    Killed at any moment, there is the old folder, the new one, or in the instant between two renames none. A
    link in its place is replaced, not what it points to. Files get the modes that the umask wants.

    Example: `with whole_folder("model", ["labels.json"]) as new: (new / "labels.json").write_text("{}")`

    Raises InputError: the folder cannot be written, or holds files of which none is called as in `known`.
    """
    folder = Path(os.path.abspath(folder))
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not any((folder / name).is_file() for name in known):
        raise InputError(f"{folder} is neither empty nor an earlier model; choose another folder")
    work = folder.with_name(f".{folder.name}-unfinished")
    new, old = work / "new", work / "old"
    try:
        _clear(work, folder)  # what a killed process left
        folder.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                with file.open("rb+") as content:
                    os.fsync(content.fileno())
                file.chmod(new.stat().st_mode & 0o666)  # as the umask has it: safetensors asks nobody
        if os.path.lexists(folder):  # it steps aside for the instant in which the new one takes its name
            os.replace(folder, old)
        os.replace(new, folder)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder} cannot be written ({error}); choose another folder") from error
    finally:
        _clear(work, folder)


def _clear(work: Path, folder: Path) -> None:
    """Remove what is not finished; a model that stepped aside for one that never came gets its name back."""
    if work.is_symlink():
        work.unlink()
    elif work.exists():
        if os.path.lexists(work / "old") and not os.path.lexists(folder):
            os.replace(work / "old", folder)
        shutil.rmtree(work, ignore_errors=True)
