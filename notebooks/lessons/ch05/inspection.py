"""What is in a pile of image files (chapter 05)."""

import hashlib
from pathlib import Path

import pandas as pd
from PIL import Image

from helpers.errors import InputError
from helpers.own.listing import IMAGE_SUFFIXES

KNOWN = Image.registered_extensions()  # Pillow alone does not know .heic
FORMATS = {suffix: KNOWN[suffix] for suffix in IMAGE_SUFFIXES if suffix in KNOWN}  # ".jpg": "JPEG", ...
_ORIENTATION = 0x0112  # of the EXIF tags: 1 is upright


def inspect_images(folder: Path) -> pd.DataFrame:
    """One row for EVERY file below `folder`, hidden ones too, each decoded once; sorted by name.

    Returns:
        `file` (relative to `folder`), `hidden`, `bytes`, `sha256`, `format` (by content, not by name; None
        where it is no image), `mode`, `width`, `height` (pixels), `turned` (EXIF says: not upright),
        `misnamed` (the suffix belongs to another format), `problem` (None, or why it cannot be used).
    """
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; give a folder of images")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return pd.DataFrame([_inspect(path, folder) for path in files])


def _inspect(path: Path, folder: Path) -> dict:
    content = path.read_bytes()
    name = path.relative_to(folder)
    row = {
        "file": name.as_posix(),
        "hidden": any(part.startswith(".") for part in name.parts),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "format": None,
        "mode": None,
        "width": None,
        "height": None,
        "turned": False,
        "misnamed": False,
        "problem": None,
    }
    if not content:
        return row | {"problem": "empty"}
    try:
        with Image.open(path) as image:
            row |= {"format": image.format, "mode": image.mode, "width": image.width, "height": image.height}
            row["turned"] = image.getexif().get(_ORIENTATION, 1) != 1
            known = image.format in FORMATS.values()
            row["misnamed"] = known and FORMATS.get(path.suffix.lower()) != image.format
            image.load()  # open() reads the header alone
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        row["problem"] = (
            "no image" if row["format"] is None else f"cannot be decoded ({type(error).__name__})"
        )
    return row
