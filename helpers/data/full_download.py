"""The download behind `python -m helpers fetch --full`: verified, and it goes on where it was."""

import contextlib
import hashlib
import http.client
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

from helpers.data.full import ASSETS, GROUPS, Asset, command, is_here, place
from helpers.errors import InputError
from helpers.files import DISK_ERRORS, one_at_a_time


def fetch(groups: tuple[str, ...] = GROUPS, *, say: Callable[[str], None] = print) -> None:
    """Download and verify what is missing of these groups; `say` gets the sizes first, then each asset done.

    What is unfinished has another name than what is whole, and the next call goes on with it. A file with
    another hash than the pinned one is deleted.

    Raises InputError: no network, no such file any more, another file than the pinned one, or a full disk.
    """
    chosen = {name: asset for name, asset in ASSETS.items() if asset.group in groups}
    missing = {name: asset for name, asset in chosen.items() if not is_here(name)}
    for name, asset in chosen.items():
        state = _megabytes(asset.size) if name in missing else "is here"
        say(f"{name}: {state}; {asset.about}; licence: {asset.licence}")
    if missing:
        say(f"{_megabytes(sum(asset.size for asset in missing.values()))} to download in all")
    for name, asset in missing.items():
        try:
            _from_hub(asset) if asset.revision else _from_web(asset)
        except (OSError, http.client.HTTPException) as error:
            raise InputError(_failure(name, error)) from error
        say(f"{name}: fetched, verified")


def _failure(name: str, error: Exception) -> str:
    cause = error.__cause__ or error  # the hub's own sentence tells of a cache
    reason = (str(cause).splitlines() or [type(cause).__name__])[0]
    again = f"then run `{command(name)}` again: it goes on where it was"
    if isinstance(error, PermissionError) or getattr(error, "errno", None) in DISK_ERRORS:
        return f"{name} cannot be written ({reason}); make room, or get the right to write there, {again}"
    return f"{name} could not be downloaded ({reason}); connect to a network, {again}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.0f} MB" if number else "a few MB"


def _from_hub(asset: Asset) -> None:
    """Into the hub's cache, which keeps unfinished files apart itself."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # of httpx, since version 2 of httpx2
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # it would tell of each of its five tries
    kind = {"revision": asset.revision, "repo_type": "dataset" if asset.is_data else "model"}
    for file in asset.files:
        try:
            found = Path(hf_hub_download(asset.repository, file["name"], **kind))
        except HTTPError as error:
            raise ConnectionError(str(error)) from error
        _verify(found, file, asset.repository)


def _from_web(asset: Asset) -> None:
    """Into a neighbour of its place, which takes its name when everything is there, verified and unpacked."""
    target = place(asset)
    work = target.with_name(f".{target.name}-unfinished")
    with one_at_a_time(target.parent):
        if target.exists():  # another process was first
            return
        work.mkdir(exist_ok=True)
        for file in asset.files:
            _download(file, work / file["name"])
        whole = work / asset.files[0]["name"]
        if asset.folder:
            whole = work / "unpacked"
            shutil.rmtree(whole, ignore_errors=True)  # what a killed process left
            whole.mkdir()
            for file in asset.files:
                _unpack(work / file["name"], whole)
        whole.rename(target)
        shutil.rmtree(work)


def _unpack(file: Path, folder: Path) -> None:
    if file.suffix in (".gz", ".tgz"):
        shutil.unpack_archive(file, folder, "gztar", filter="data")
    else:
        shutil.copy(file, folder)


def _download(file: dict, target: Path) -> None:
    """A file of the web; what an earlier try has got of it is not downloaded again."""
    part = target.with_name(f"{target.name}.part")
    if target.exists():
        return
    done = part.stat().st_size if part.exists() else 0
    if done < file["size"]:
        request = urllib.request.Request(file["url"], headers={"Range": f"bytes={done}-"})
        with contextlib.ExitStack() as opened:
            answer = opened.enter_context(urllib.request.urlopen(request, timeout=60))
            mode = "ab" if answer.status == http.client.PARTIAL_CONTENT else "wb"
            shutil.copyfileobj(answer, opened.enter_context(part.open(mode)), 1 << 20)
        if part.stat().st_size < file["size"]:
            raise ConnectionError(f"the connection ended after {part.stat().st_size:,} bytes")
    _verify(part, file, file["url"])
    part.rename(target)


def _verify(found: Path, file: dict, source: str) -> None:
    """Raises InputError: the file is not the pinned one; it is deleted, so that nobody reads it."""
    for name in {"md5", "sha256"} & set(file):
        with found.open("rb") as content:
            digest = hashlib.file_digest(content, name).hexdigest()
        if digest != file[name]:
            found.resolve().unlink()  # the cache of the hub holds links
            found.unlink(missing_ok=True)
            wrong = f"{file['name']} of {source} must have {name} {file[name]}, found {digest}"
            raise InputError(f"{wrong}; it was deleted: do not use that source")
