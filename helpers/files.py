"""Files of the course: where its folder is, writing a whole file or none, one writer in a folder."""

import contextlib
import errno
import os
import re
import secrets
import socket
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ROOT = Path(__file__).resolve().parents[1]
LOCK = ".lock"
DISK_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
_held: set[int] = set()  # descriptors of the locks that this process holds


def write_atomically(target: Path, content: bytes, *, make_folder: bool = False) -> None:
    """Write a whole file or nothing: first a neighbour, then renamed, so that no reader sees half a file.

    Whoever may read a new file here may read this one: its permissions follow the umask.

    Args:
        make_folder: make the file's folder where it is missing. Without it a folder that was removed, or
            whose disk was unmounted, is an error.

    Raises OSError: it cannot be written; the old file is as it was.
    """
    if make_folder:
        target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(target)  # a full disk does not say where
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; without it the file is whole, but may be the old one."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: Path, names: Iterable[str]) -> bool:
    """Whether `path` is what a killed `write_atomically` left behind of a file called one of `names`."""
    return any(re.fullmatch(rf"\.{re.escape(name)}-[a-z0-9_]+", path.name) for name in names)


def remove_temporary(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed `write_atomically` left behind of files called one of `names`; nothing else."""
    names = tuple(names)
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temporary(path, names) and path.is_file():
            path.unlink(missing_ok=True)


def is_first_process() -> bool:
    """Whether this is the process of a distributed run that speaks and writes; `torchrun` numbers them."""
    return os.environ.get("RANK", "0") == "0"


def is_only_process() -> bool:
    """Whether there is no other process in this run."""
    return os.environ.get("WORLD_SIZE", "1") == "1"


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in a folder: tried, since permission bits do not tell (root, some disks)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def writing(folder: Path, advice: str) -> Iterator[None]:
    """Say in one sentence that a file in `folder` could not be written in here.

    Raises InputError: in place of an OSError that is about `folder`, or about a disk and no file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            is_ours = error.errno in DISK_ERRORS
        else:
            file = Path(os.path.abspath(os.fsdecode(error.filename)))
            is_ours = file.is_relative_to(os.path.abspath(folder))
        if not is_ours:
            raise
        reason = "it is gone" if not folder.exists() else error.strerror or str(error)
        raise InputError(f"{folder} cannot be written ({reason}); {advice}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings out of `folder` while in here; it is made, and goes again if it stays empty.

    The lock is the kernel's (flock), so that of a killed process is gone with it. A file system without
    locks, or Windows, keeps nobody out: a warning says so.

    Raises:
        InputError: another process is at work in it.
        OSError: the folder cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    handle = _lock(folder)
    _held.add(handle)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that is gone holds no lock to remove
            (folder / LOCK).unlink()
        _held.discard(handle)
        os.close(handle)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for path in made:
                path.rmdir()


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[bool]:
    """Wait until no other process is in here with this folder; it is made where it is missing.

    The lock is the kernel's and on the folder itself: no file shows it, and that of a killed process is gone.
    Yields whether nobody else is in here: on Windows and on disks without such locks nobody waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield False
        return
    handle, is_held = os.open(folder, os.O_RDONLY), False
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
            is_held = True
        yield is_held
    finally:
        os.close(handle)


def _lock(folder: Path) -> int:
    """An open descriptor of the folder's lock file, which this process holds."""
    file, mode = folder / LOCK, os.O_RDONLY  # open for writing it would keep its disk from being remounted
    while True:
        handle = os.open(file, mode | os.O_CREAT, 0o666)
        try:
            is_held = _hold(folder, handle)
            # Its last holder may have just removed it: then once more.
            if is_held and file.exists() and os.path.samestat(file.stat(), os.fstat(handle)):
                file.write_text(f"{os.getpid()} on {socket.gethostname()}", encoding="utf-8")
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        mode = mode if is_held else os.O_RDWR


def _hold(folder: Path, handle: int) -> bool:
    """Lock the file; False where its disk (NFS) locks only what is open for writing."""
    try:
        if fcntl is None:
            raise OSError("no flock on this system")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = os.read(handle, 200).decode(errors="replace") or "unknown"
        at_work = f"another training is at work in {folder} (process {who})"
        raise InputError(f"{at_work}; wait for its end, or choose another --output") from error
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        warnings.warn(f"{folder} cannot be locked ({error}); start no other training into it", stacklevel=4)
    return True


def _give_up_locks() -> None:
    """A forked child (a worker that loads batches) must not hold a lock longer than its parent."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up_locks)
