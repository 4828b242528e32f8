"""Full scale: the real-world data and models of the case studies, pinned in `data/full_scale.toml`.

Nothing is downloaded by surprise: `python -m helpers fetch --full` gets it, and a chapter that misses it at
full scale goes on with the embedded stand-in and says so.
"""

import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path

from helpers import assets
from helpers.environment import scale
from helpers.errors import InputError
from helpers.files import ROOT

TABLE = ROOT / "data" / "full_scale.toml"
GROUPS = ("images", "text", "language")


@dataclass(frozen=True)
class Asset:
    """One model or data set: where it comes from, and what its files must be."""

    group: str  # of GROUPS
    about: str
    repository: str  # on the Hugging Face hub, or what reads it in torchvision
    licence: str
    checked: bool  # whether the pin was verified in public sources
    files: tuple[dict, ...]  # name, and size (bytes), sha256 or md5, url where they are known
    revision: str = ""  # commit on the hub
    folder: str = ""  # below data/fetched/full, as torchvision calls it
    is_data: bool = False  # a data set of the hub

    @property
    def size(self) -> int:
        """Bytes of the download, as far as the table tells them."""
        return sum(file.get("size", 0) for file in self.files)


_READ = tomllib.loads(TABLE.read_text(encoding="utf-8"))
ASSETS = {name: Asset(**entry | {"files": tuple(entry["files"])}) for name, entry in _READ.items()}


def choose(embedded: str | None, wanted: str) -> str | None:
    """`wanted` at full scale where it lies on this machine, else `embedded`; a warning says what is missing.

    Example: `model = choose("minilm", "bert-base-uncased")`
    """
    if scale() != "full":
        return embedded
    if is_here(wanted):
        return wanted
    missing = f"{wanted} is not on this machine, and {embedded or 'what is embedded'} takes its place"
    warnings.warn(f"{missing}; `{command(wanted)}` gets it", stacklevel=2)
    return embedded


def is_here(name: str) -> bool:
    """Whether all files of an asset lie where `fetch` puts them; what is in them was verified when it did."""
    return all(path is not None and path.exists() for path in _found(ASSETS[name]))


def is_data_set(name: str | None) -> bool:
    """Whether `name` is a data set of the table, and not a file or folder here."""
    return name in ASSETS and bool(ASSETS[name].folder or ASSETS[name].is_data) and not Path(name).exists()


def hub_source(name: str) -> tuple[str, str]:
    """What `from_pretrained` takes for a model of the table, for NAME@REVISION or for NAME, and the revision.

    A model of the table that was fetched is read from its folder, and no network is asked.
    """
    asset = ASSETS.get(name)
    if asset is None or not asset.revision or asset.is_data:
        repository, _, revision = name.partition("@")
        return repository, revision or "main"
    if is_here(name):
        return str(paths(name)[0].parent), asset.revision
    return asset.repository, asset.revision


def paths(name: str) -> list[Path]:
    """The files of a model or data set of the hub; of another the folder or file, alone in a list.

    Raises InputError: it is not on this machine; the message says how to get it.
    """
    if not is_here(name):
        raise InputError(f"{name} is not on this machine; `{command(name)}` gets it")
    return _found(ASSETS[name])


def command(name: str) -> str:
    """The command that gets an asset, with the others of its group."""
    return f"python -m helpers fetch --full {ASSETS[name].group}"


def place(asset: Asset) -> Path:
    """Where a download that is not of the hub belongs: a folder for torchvision, or a file of weights."""
    if asset.folder:
        return assets.FOLDER / "full" / asset.folder
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / asset.files[0]["name"]


def _found(asset: Asset) -> list[Path | None]:
    if not asset.revision:
        return [place(asset)]
    from huggingface_hub import try_to_load_from_cache

    kind = {"revision": asset.revision, "repo_type": "dataset" if asset.is_data else "model"}
    found = [try_to_load_from_cache(asset.repository, file["name"], **kind) for file in asset.files]
    return [Path(file) if isinstance(file, str) else None for file in found]
