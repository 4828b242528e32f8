"""What is in a pile of files, which labels deserve a second look, and how far raters agree (chapter 05)."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from helpers.errors import InputError

SUFFIXES = {
    "JPEG": {".jpg", ".jpeg"}, "PNG": {".png"}, "GIF": {".gif"}, "BMP": {".bmp"}, "WEBP": {".webp"}, "TIFF": {".tif", ".tiff"},
}  # fmt: skip
_ORIENTATION = 0x0112  # of the EXIF tags: 1 is upright


def inspect_images(folder: Path) -> pd.DataFrame:
    """One row for EVERY file below `folder`, hidden ones too, each decoded once; sorted by name.

    Returns:
        `file` (relative to `folder`), `hidden`, `bytes`, `sha256`, `format` (by content, not by name; None where it is no image),
        `mode`, `width`, `height` (pixels), `turned` (EXIF says: not upright), `misnamed` (the suffix belongs to another format),
        `problem` (None, or why it cannot be used).
    """
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; give a folder of images")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return pd.DataFrame([_inspect(path, folder) for path in files])


def _inspect(path: Path, folder: Path) -> dict:
    content = path.read_bytes()
    name = path.relative_to(folder)
    row = {
        "file": name.as_posix(), "hidden": any(part.startswith(".") for part in name.parts), "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "format": None, "mode": None, "width": None, "height": None,
        "turned": False, "misnamed": False, "problem": None,
    }  # fmt: skip
    if not content:
        return row | {"problem": "empty"}
    try:
        with Image.open(path) as image:
            row |= {"format": image.format, "mode": image.mode, "width": image.width, "height": image.height}
            row["turned"] = image.getexif().get(_ORIENTATION, 1) != 1
            row["misnamed"] = path.suffix.lower() not in SUFFIXES.get(image.format, {path.suffix.lower()})
            image.load()  # open() reads the header alone
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        row["problem"] = "no image" if row["format"] is None else f"cannot be decoded ({type(error).__name__})"
    return row


def to_rgb(image: Image.Image, *, background: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Any picture as upright RGB with 8 bits a channel.

    Args:
        image: in any mode; 16 bits are divided by 257 (65,535 becomes 255), where `convert("RGB")` would cut at 255.
        background: what shows through transparent pixels; `convert("RGB")` shows the hidden colour below them.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # "I;16", and "I" as some versions of Pillow read the same file
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return image.convert("RGB")


def convert_images(frame: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Write each picture of `frame` (`id`, `path`) as an RGB PNG into `folder`, under its place; originals stay as they are.

    Returns:
        The rows with the new `path`, and the counts `rows_in`, `changed` (pictures that were not RGB and upright before), `rows_out`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, changed = [], 0
    for number, path in enumerate(frame["path"]):
        with Image.open(path) as image:
            changed += image.mode != "RGB" or image.getexif().get(_ORIENTATION, 1) != 1
            picture = to_rgb(image)
        paths.append(str(folder / f"{number:05d}.png"))
        picture.save(paths[-1])
    return frame.assign(path=paths), {"rows_in": len(frame), "changed": changed, "rows_out": len(paths)}


def label_suspects(probabilities: np.ndarray, labels: Sequence[str], classes: Sequence[str], *, most: float = 0.05) -> pd.DataFrame:
    """Rows whose label a model finds improbable: it is confident, and it disagrees.

    The probabilities must come from models that never saw the row's label (scikit-learn's `cross_val_predict`): a model that
    was trained on a wrong label repeats it.

    Args:
        probabilities: (N, C), out of fold.
        labels: (N,), as given.
        classes: names of the C columns.
        most: highest probability of the given label, 0..1; a smaller one finds fewer rows and is more often right.

    Returns:
        `row`, `label`, `suggestion`, `probability` (of the label as given), the most improbable first. To look at, not to overwrite.

    Source: the idea of Northcutt et al., "Confident Learning" (2021), in its simplest form.
    """
    place = {name: column for column, name in enumerate(classes)}
    given = probabilities[np.arange(len(labels)), [place[label] for label in labels]]  # (N,)
    best = probabilities.argmax(1)
    rows = np.flatnonzero((given <= most) & (given < probabilities.max(1)))
    rows = rows[given[rows].argsort(kind="stable")]
    return pd.DataFrame({
        "row": rows, "label": [labels[row] for row in rows], "suggestion": [classes[best[row]] for row in rows], "probability": given[rows],
    })  # fmt: skip


def precision_recall(found: Iterable, planted: Iterable) -> dict[str, float]:
    """Of what was `found`: the share that was planted (precision). Of what was `planted`: the share that was found (recall)."""
    found, planted = set(found), set(planted)
    right = len(found & planted)
    return {
        "found": len(found), "planted": len(planted),
        "precision": right / len(found) if found else 1.0, "recall": right / len(planted) if planted else 1.0,
    }  # fmt: skip


def krippendorff_alpha(ratings: Iterable[Sequence[float]], *, nominal: bool = False) -> float:
    """How far raters agree beyond chance: 1 = always, 0 = as chance would, below 0 = less.

    Args:
        ratings: for each item the values its raters gave, in any order; items with fewer than two say nothing and are left out.
        nominal: True counts two different values as different, however near; False weighs a pair by its squared distance.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    pairs_within, everyone = 0.0, Counter()
    for item in ratings:
        if len(item) < 2:
            continue
        counts = Counter(item)
        pairs_within += _disagreement(counts, nominal) / (len(item) - 1)
        everyone.update(counts)
    total = sum(everyone.values())
    if len(everyone) < 2:
        raise InputError("alpha needs items with at least two ratings and at least two different values; all ratings are equal or alone")
    return 1 - (total - 1) * pairs_within / _disagreement(everyone, nominal)


def _disagreement(counts: Counter, nominal: bool) -> float:
    """Summed over all ordered pairs of ratings: 1 for a different value, or the squared distance."""
    values, sizes = np.array(list(counts), dtype=float), np.array(list(counts.values()), dtype=float)
    distance = (values[:, None] - values[None]) ** 2
    return float(sizes @ ((distance > 0) if nominal else distance) @ sizes)
