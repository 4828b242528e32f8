"""Keeps what a learner does with the exercises in the file that `helpers.progress` names; sent nowhere."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from helpers import progress
from helpers.errors import InputError
from helpers.files import one_at_a_time, remove_temporary, write_atomically
from helpers.progress import Work


def tried(work: Work, *, right: bool) -> None:
    """Count an attempt; those after the first right one change nothing."""
    if work.solved is None:
        work.tries += 1
        work.solved = _now() if right else None


def hinted(work: Work, *, number: int) -> None:
    """Note that a hint was read."""
    work.hints = sorted({*work.hints, number})


def shown(work: Work) -> None:
    """Note that the solution was shown."""
    work.solution = work.solution or _now()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def keep(chapter: str, exercise: str, change: Callable[[Work], None]) -> None:
    """Let `change(work)` note what was done; whatever fails is said once, and the lesson goes on."""
    file = progress.place()
    if file is None:
        return
    try:
        change_record(file, chapter, exercise, change)
    except Exception as error:  # a full disk, a folder that may only be read, a name that is a folder
        reason = getattr(error, "strerror", None) or error
        _say_once(f"(What you do cannot be kept in {file}: {reason}. The lesson goes on.)")


@functools.cache
def _say_once(sentence: str) -> None:
    print(sentence)


def change_record(file: Path, chapter: str, exercise: str, change: Callable[[Work], None]) -> None:
    """Read the record, let `change(work)` change one exercise, write it; other notebooks wait meanwhile.

    A file that is no record is set aside under another name, which is said. On Windows and on disks without
    locks nobody waits: of two changes in the same instant one may be lost.

    Raises OSError: the file cannot be read or written; it is as it was.
    """
    with one_at_a_time(file.parent) as alone:
        if alone:
            remove_temporary(file.parent, (file.name,))
        try:
            works = progress.read(file)
        except InputError as error:
            works, aside = {}, _free_name(file)
            file.rename(aside)
            print(f"({error}; it was set aside as {aside.name}, and a new record begins.)")
        change(works.setdefault((chapter, exercise), Work(chapter, exercise)))
        rows = [asdict(works[key]) for key in sorted(works)]
        content = json.dumps({"format": progress.FORMAT, "exercises": rows}, indent=1)
        write_atomically(file, f"{content}\n".encode())


def _free_name(file: Path) -> Path:
    number = 1
    while (file.parent / f"{file.stem}-set-aside-{number}{file.suffix}").exists():
        number += 1
    return file.parent / f"{file.stem}-set-aside-{number}{file.suffix}"
