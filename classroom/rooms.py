"""What each learner of a room has of her own: a folder with a copy of the course, a port, a token."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from helpers.files import write_atomically, writing

COPIED = (
    "README.md",
    "LICENSE",
    "pyproject.toml",
    "requirements.txt",
    "benchmarks",
    "data",
    "docs",
    "helpers",
)
COPIED += ("notebooks",)
LEFT_OUT = shutil.ignore_patterns("fetched", "__pycache__", ".ipynb_checkpoints", "*.egg-info")
START = "lab/tree/notebooks/00_start_here.ipynb"


@dataclass
class Learner:
    """One learner's server: where she works, how she is let in, and the process while it runs."""

    name: str
    folder: Path
    host: str
    port: int
    token: str
    proxy: str = ""  # "https://course.example", where a reverse proxy stands before all servers
    process: subprocess.Popen | None = None
    seen: dict[int, psutil.Process] = field(default_factory=dict)  # all processes of hers that were seen
    cpu_seconds: float = 0.0  # that those had used at the last look

    @property
    def address(self) -> str:
        """What she opens in her browser."""
        host = socket.gethostname() if self.host == "0.0.0.0" else self.host
        return f"{self.proxy or f'http://{host}:{self.port}'}/{self.name}/{START}?token={self.token}"

    @property
    def log(self) -> Path:
        """What her server wrote."""
        return self.folder / ".jupyter" / "server.log"


def room(folder: Path, learners: int, host: str, port: int, course: Path, proxy: str = "") -> list[Learner]:
    """The learners with their folders; those of an earlier day keep folder and token."""
    with writing(folder, "make room, or name another folder: make classroom FOLDER=..."):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds the tokens
        kept = folder / "tokens.json"
        tokens = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        names = [f"learner{number:02}" for number in range(1, learners + 1)]
        tokens = {name: secrets.token_hex(12) for name in names} | tokens
        write_atomically(kept, json.dumps(tokens, indent=1).encode())
        for name in names:
            copy_course(course, folder / name)
    return [
        Learner(name, folder / name, host, port + place, tokens[name], proxy)
        for place, name in enumerate(names)
    ]


def copy_course(course: Path, folder: Path) -> None:
    """A learner's own copy, whole or not at all; data and weights stay where they are."""
    if folder.exists():
        return
    part = folder.with_name(f".{folder.name}-part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir()
    for name in COPIED:
        source = course / name
        if source.is_dir():
            shutil.copytree(source, part / name, ignore=LEFT_OUT)
        elif source.exists():
            shutil.copy2(source, part / name)
    (part / ".jupyter").mkdir()
    (part / "data" / "fetched").symlink_to(course / "data" / "fetched")
    part.rename(folder)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Inside, no file of the folder can be written by accident; what is fetched again is renamed there."""
    files = {file: file.stat() for file in folder.rglob("*") if file.is_file()}
    ours = {file: found.st_mode for file, found in files.items() if found.st_uid == os.getuid()}
    for file, mode in ours.items():
        file.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for file, mode in ours.items():
            with contextlib.suppress(FileNotFoundError):
                file.chmod(mode)
