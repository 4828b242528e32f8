"""Files of the course: where its folder is, and writing that leaves a whole file or none."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write_atomically(target: Path, content: bytes) -> None:
    """Write a whole file or nothing: first a neighbour, then renamed, so that no reader sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder: tried, since permission bits do not tell (root, some disks)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
