"""The exercise of chapter 05 that builds: a Dataset for a folder with a labels file, run in a DataLoader."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from lessons.ch05 import answers
from lessons.exercise import Exercise

CLASSES, SIDE = ("left", "right"), 16
# A white bar at the left or the right of a grey ground; the file's own name says nothing.
FORMS = ("png", "JPG", "jpeg", "grey", "cmyk", "transparent", "16 bit", "turned", "palette")


def write_pile(folder: Path) -> pd.DataFrame:
    """18 pictures in all forms, hidden files beside them, and labels.csv; returns its rows."""
    rng, rows = np.random.default_rng(3), []
    for number in range(2 * len(FORMS)):
        label = CLASSES[int(rng.integers(2))]
        name = f"pictures/{number}{_write(folder, number, FORMS[number % len(FORMS)], label)}"
        rows.append({"file": name, "label": label})
    (folder / "pictures" / ".DS_Store").write_bytes(b"\0" * 64)
    (folder / "pictures" / "notes.txt").write_text("not a picture", encoding="utf-8")
    table = pd.DataFrame(rows).sample(frac=1, random_state=5)
    table.to_csv(folder / "labels.csv", index=False)
    return table.reset_index(drop=True)


def _write(folder: Path, number: int, form: str, label: str) -> str:
    grey = np.full((SIDE, SIDE), 40, dtype=np.uint8)
    columns = slice(0, 4) if label == "left" else slice(-4, None)
    grey[:, columns] = 230
    image, suffix, options = Image.fromarray(grey).convert("RGB"), ".png", {}
    if form in ("JPG", "jpeg"):
        suffix, options = f".{form}", {"quality": 95}
    if form == "grey":
        image = image.convert("L")
    if form == "palette":
        image = image.quantize(4)
    if form == "cmyk":
        image, suffix, options = image.convert("CMYK"), ".jpg", {"quality": 95}
    if form == "transparent":  # the bar is white everywhere, the ground transparent
        mask = np.where(grey > 200, 255, 0).astype(np.uint8)
        white = Image.new("L", (SIDE, SIDE), 255)
        image = Image.merge("RGBA", (white, white, white, Image.fromarray(mask)))
    if form == "16 bit":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    if form == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image, suffix = image.transpose(Image.Transpose.ROTATE_90), ".jpg"
        options = {"exif": exif, "quality": 95}
    path = folder / "pictures" / f"{number}{suffix}"
    path.parent.mkdir(exist_ok=True)
    image.save(path, **options)
    return suffix


def _bar(image: torch.Tensor) -> str:
    """Which side of a picture (3, H, W) is the brightest: left, right, top, bottom, or none."""
    sides = {"left": image[..., :4], "right": image[..., -4:], "top": image[:, :4], "bottom": image[:, -4:]}
    means = {name: float(part.mean()) for name, part in sides.items()}
    best = max(means, key=means.get)
    return best if means[best] - float(image.mean()) > 0.2 else "none"


def _verify_pile(attempt):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_pile(folder)
        transform = v2.Compose([v2.Resize((12, 12)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        before = _open_files()
        dataset = attempt(folder / "labels.csv", CLASSES, transform)
        if len(dataset) != len(rows):
            raise AssertionError(
                f"the labels file names {len(rows)} pictures, your dataset has {len(dataset)}: every suffix "
                "counts, and only what the file names"
            )
        samples = [dataset[index] for index in range(len(dataset))]
        if _open_files() > before + 2:
            raise AssertionError(f"{_open_files() - before} files are still open; use `with Image.open(...)`")
        for sample, row in zip(samples, rows.itertuples()):
            _verify_sample(sample, row)
        for workers in (0, 2):
            _verify_batches(attempt, dataset, workers)


def _verify_sample(sample, row):
    if not isinstance(sample, dict) or not {"image", "label"} <= set(sample):
        raise AssertionError(f"a sample should be a dictionary with image and label, found {sample!r:.80}")
    image, label = sample["image"], sample["label"]
    if not torch.is_tensor(image) or image.shape != (3, 12, 12):
        raise AssertionError(
            f"{row.file}: the transform should give (3, 12, 12), found {tuple(getattr(image, 'shape', ()))}: "
            "convert to RGB first, then transform once"
        )
    if label != CLASSES.index(row.label):
        raise AssertionError(
            f"{row.file} is labelled {row.label!r}, so {CLASSES.index(row.label)}, not {label}"
        )
    if _bar(image) != row.label:
        raise AssertionError(
            f"the picture given for {row.file} shows its bar at: {_bar(image)}; expected {row.label}. Pair "
            "by name; mind the turned, transparent and 16-bit ones (section 5.5)"
        )


def _verify_batches(attempt, dataset, workers):
    context = "fork" if workers and hasattr(os, "fork") else None
    if workers and context is None:
        return  # a class of a notebook reaches worker processes only by fork
    loader = DataLoader(
        dataset,
        batch_size=5,
        collate_fn=attempt.collate,
        num_workers=workers,
        multiprocessing_context=context,
    )
    batches = list(loader)
    shapes = [tuple(batch["images"].shape) for batch in batches]
    if shapes != [(5, 3, 12, 12)] * 3 + [(3, 3, 12, 12)]:
        raise AssertionError(f"with {workers} workers the batches have the shapes {shapes}")
    found = torch.cat([batch["labels"] for batch in batches])
    if found.dtype != torch.int64 or found.tolist() != [dataset[i]["label"] for i in range(len(dataset))]:
        raise AssertionError(f"with {workers} workers the labels should be int64 in the order of the rows")


def _open_files() -> int:
    """How many files this process holds open; 0 where the system does not tell."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


pile = Exercise(
    verify=_verify_pile,
    hints=(
        "Keep paths and label numbers in `__init__`; open nothing there.",
        "The labels file decides which files there are: `[labels_file.parent / name for name in "
        'table["file"]]`.',
        "In `__getitem__`: `with Image.open(path) as image: picture = upright_rgb(image)`, then the "
        "transform; `collate` stacks the images and makes one tensor of the labels.",
    ),
    answer=answers.Pile,
    praise="Eighteen hidden files in nine forms, with and without workers, each with its own label.",
)
