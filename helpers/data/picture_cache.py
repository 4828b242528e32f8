"""Small copies of large photographs on disk: an epoch then decodes none of them again (chapter 02).

A copy holds the very pixels that decoding gives: with, without and with half a cache, a training is the same.
"""

import hashlib
import os
import struct
import sys
import tempfile
import time
import zlib
from contextlib import suppress
from pathlib import Path

import PIL
from PIL import Image

from helpers.data.pictures import open_image, opened
from helpers.files import is_writable

LIMIT_BYTES = 2 * 10**9
ORPHAN_SECONDS = 3600  # no copy takes as long to write: its writer was killed
HEADER = struct.Struct("<III")  # before the pixels: CRC-32 of all behind it, width, height
# What files hold that were read before, by all that tells an unchanged file; workers inherit it.
_DIGESTS: dict[tuple, str] = {}


class PictureCache:
    """Opens files of pictures for a model that needs `side` pixels, and keeps small copies of large ones.

    A picture whose shorter side has at least twice `side` pixels is shrunk to it (`pictures.shrunk`) and
    kept, in RGB and uncompressed: 83 kB for a photograph at side 144, read in 0.1 ms, where a 12-megapixel
    JPEG takes 30 ms or more. Smaller ones are opened as they are. Copies are found by the file's content and
    written whole or not at all; several processes may share a folder; a damaged copy is made again.

    Example: `PictureCache(usual_folder(), side=144).open("photo.jpg")`

    Args:
        folder: made if missing; None, or one that cannot be written, keeps nothing: the pixels are the same.
        limit_bytes: of all copies in the folder together; those not used for longest are removed.
        side: shorter side of a copy in pixels, see `transforms.copy_side`.
    """

    def __init__(self, folder: Path | None, limit_bytes: int = LIMIT_BYTES, *, side: int):
        self.side, self.limit_bytes = side, limit_bytes
        self.folder = folder if folder is not None and _is_usable(folder) else None
        self._written = limit_bytes  # since this process last looked at the folder: it begins with a look

    def open(self, path: str | Path) -> Image.Image:
        """The picture as `open_image(path, shorter_side=side)` gives it; its errors, too."""
        digest = self._digest(path) if self.folder else ""
        if not digest:
            return open_image(path, shorter_side=self.side)
        copy = self.folder / f"{digest}-{self.side}-{PIL.__version__}.rgb"
        image = _read(copy)
        if image is None:
            image = open_image(path, shorter_side=self.side)
            with suppress(OSError):  # a full disk costs time, not the training
                self._write(copy, image)
        return image

    def _digest(self, path: str | Path) -> str:
        """The hash of a file's content, or "" for a picture that is too small to be kept."""
        state = os.stat(path)
        key = (str(path), state.st_ino, state.st_size, state.st_mtime_ns, self.side)
        if key not in _DIGESTS:
            with opened(path) as header:
                is_large = min(header.size) >= 2 * self.side
            _DIGESTS[key] = ""
            if is_large:
                with open(path, "rb") as file:
                    _DIGESTS[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _DIGESTS[key]

    def _write(self, copy: Path, image: Image.Image) -> None:
        content = HEADER.pack(0, *image.size)[4:] + image.tobytes()
        if self._written + len(content) > self.limit_bytes / 20:
            self._tidy()
        self._written += len(content)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(struct.pack("<I", zlib.crc32(content)) + content)
            os.replace(temporary, copy)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Remove what killed processes left behind, and the copies not used for longest, down to 80 per cent.

        Every process does so after each twentieth of the limit that it writes, so that four together stay
        within it.
        """
        self._written, copies = 0, []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process was faster
                    state = entry.stat()
                    if entry.name.endswith(".rgb"):
                        copies.append((state.st_mtime, state.st_size, entry.path))
                    elif entry.name.startswith(".new-") and state.st_mtime < time.time() - ORPHAN_SECONDS:
                        os.unlink(entry.path)
        surplus = sum(size for _, size, _ in copies) - 0.8 * self.limit_bytes
        for _, size, path in sorted(copies):
            if surplus <= 0:
                return
            surplus -= size
            with suppress(OSError):
                os.unlink(path)


def usual_folder() -> Path | None:
    """Where copies lie by default: below COURSE_CACHE, or in the cache folder of the system.

    Returns:
        The folder, which need not exist; None on a system without a home.
    """
    chosen = os.environ.get("COURSE_CACHE")
    if chosen:
        return Path(chosen).absolute() / "pictures"
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    base = Path(os.environ.get(name, ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "fine-tuning-course" / "pictures"


def _is_usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # copies of private pictures are private
    except OSError:
        return False
    return is_writable(folder)


def _read(copy: Path) -> Image.Image | None:
    """The picture of a copy, which counts as used now; None where there is no whole one."""
    try:
        content = copy.read_bytes()
    except OSError:
        return None
    with suppress(OSError):
        os.utime(copy)
    if len(content) <= HEADER.size:
        return None
    checksum, width, height = HEADER.unpack_from(content)
    if zlib.crc32(memoryview(content)[4:]) != checksum:
        return None
    return Image.frombytes("RGB", (width, height), content[HEADER.size :])
