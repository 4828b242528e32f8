"""A messy pile made from real data, with a list of everything that is wrong in it (chapter 05).

Whoever cleans real data never learns what was missed. Here each fault was planted by a script with a seed, so
each detector can be asked how many of them it found (recall) and how many of its findings were right
(precision).
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from helpers.data import sources
from helpers.data.cleaning import clean_text, letters_key

SIDE = 112  # pixels of an undamaged picture: 4 times the silhouettes' own 28
FORMS = ("png", "jpg", "JPG", "jpeg", "misnamed", "transparent", "palette", "cmyk", "16 bit", "turned")
FORM_SHARES = (0.46, 0.18, 0.05, 0.05, 0.04, 0.05, 0.04, 0.04, 0.05, 0.04)
CHANGES = ("resized", "compressed", "brighter", "cropped")


@dataclass(frozen=True)
class Amounts:
    """How much of each fault is planted.

    Attributes:
        pictures, comments: undamaged ones to begin with.
        exact, near, normalised, conflicting: further copies (of pictures; twice as many of comments).
            "conflicting" copies have another label, "normalised" ones, of comments alone, other case,
            punctuation and white space.
        unreadable: files that no program can decode; rows without a text or with broken bytes.
        label_errors: share of the rows that get another label.
        ratings_missing: share of the comments.
    """

    pictures: int = 760
    comments: int = 2000
    exact: int = 40
    near: int = 80
    normalised: int = 40
    conflicting: int = 10
    unreadable: int = 24
    label_errors: float = 0.06
    ratings_missing: float = 0.1


def messy_pictures(folder: Path, *, seed: int = 0, amounts: Amounts | None = None) -> pd.DataFrame:
    """Write `pictures/` and `labels.csv` into `folder`; the file names say nothing about what is wrong.

    Args:
        folder: exists; gets about 900 small files.
        seed: another seed takes other pictures and plants other faults.
        amounts: how much of each fault is planted.

    Returns:
        The truth, one row per file: `file` (relative to `folder`), `source` (files of one source show the
            same picture), `kind` ("original", "exact", "near", "conflicting", "unreadable", "hidden"),
            `form`, `label` as in labels.csv, `true_label`.
    """
    amounts = amounts or Amounts()
    rng = np.random.default_rng(seed)
    animals = (
        sources.animals()
        .sample(amounts.pictures + amounts.unreadable, random_state=seed)
        .reset_index(drop=True)
    )
    labels = _with_errors(animals["label"], amounts.label_errors, sources.ANIMALS, rng)
    first = {}  # pictures that are equal by nature are one source: finding them is right
    source = [first.setdefault(image.tobytes(), number) for number, image in enumerate(animals["image"])]
    files = [_original(image, str(rng.choice(FORMS, p=FORM_SHARES))) for image in animals["image"]]
    rows = [
        (files[number], source[number], "original", labels[number], animals["label"][number])
        for number in range(amounts.pictures)
    ]
    for number in range(amounts.pictures, len(animals)):
        content, suffix, form = _broken(files[number], number % 3)
        rows.append(
            ((content, suffix, form), source[number], "unreadable", labels[number], animals["label"][number])
        )
    copied = rng.choice(amounts.pictures, amounts.exact + amounts.near + amounts.conflicting, replace=False)
    for place, number in enumerate(copied):
        original, label = rows[number], labels[number]
        if place < amounts.exact:
            rows.append((files[number], original[1], "exact", label, original[4]))
        elif place < amounts.exact + amounts.near:
            change = CHANGES[place % len(CHANGES)]
            rows.append(
                (near_copy(animals["image"][number], change, rng), original[1], "near", label, original[4])
            )
        else:
            rows.append(
                (files[number], original[1], "conflicting", _other(label, sources.ANIMALS, rng), original[4])
            )
    return _write_pictures(folder, rows, rng)


def copied_bytes(truth: pd.DataFrame) -> list:
    """One key for each file of `messy_pictures`: files with equal keys hold the same bytes."""
    # Some forms differ in the name alone.
    stored = truth["form"].replace({"misnamed": "png", "JPG": "jpg", "jpeg": "jpg"})
    is_near = truth["kind"] == "near"
    return [
        file if near else (source, form)
        for file, source, form, near in zip(truth["file"], truth["source"], stored, is_near)
    ]


def near_copy(image: np.ndarray, change: str, rng: np.random.Generator) -> tuple[bytes, str, str]:
    """The bytes, the suffix and the form of a slightly changed picture; `change` is one of `CHANGES`."""
    picture = _enlarged(image)
    if change == "resized":
        side = int(rng.integers(64, 200))
        if side == SIDE:
            side += 1  # the picture's own size would make an exact copy of it
        return _saved(picture.resize((side, side), Image.Resampling.BICUBIC), "PNG"), ".png", change
    if change == "compressed":
        return _saved(picture, "JPEG", quality=int(rng.integers(15, 50))), ".jpg", change
    if change == "brighter":
        values = np.asarray(picture, dtype=float) * rng.uniform(0.7, 1.1) + rng.uniform(5, 40)
        lighter = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        return _saved(lighter, "JPEG", quality=80), ".jpg", change
    left, top, right, bottom = rng.integers(0, 4, size=4)  # at most 3 of 112 pixels at each edge
    cut = picture.crop((left, top, SIDE - right, SIDE - max(bottom, 1)))
    return _saved(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC), "JPEG", quality=80), ".jpg", change


def messy_comments(folder: Path, *, seed: int = 0, amounts: Amounts | None = None) -> pd.DataFrame:
    """Write three exports of one set of comments, each in another encoding and with another separator.

    The columns are `id`, `text`, `label`, `rating` (-4..4, sometimes missing) and `thread` (rows of one
    review or article).

    Args, Returns: as in `messy_pictures`; one row per comment with `id`, `source`, `kind` ("original",
        "exact", "normalised", "near", "conflicting", "unreadable"), `damage` ("", "mojibake", "curly",
        "html"), `clean` (the text as it was), `label`, `true_label`, `true_rating`.
    """
    amounts = amounts or Amounts()
    rng = np.random.default_rng(seed)
    frame = sources.comments()
    frame["clean"] = frame["text"].map(clean_text)
    usable = (
        (frame["clean"].str.len() > 25)
        & frame["clean"].map(str.isascii)
        & ~frame["clean"].str.contains("url_removed")
    )
    frame = frame[usable].sample(amounts.comments, random_state=seed).reset_index(drop=True)
    frame["true_label"], frame["true_rating"], frame["kind"] = frame["label"], frame["rating"], "original"
    frame["label"] = _with_errors(frame["true_label"], amounts.label_errors, sources.SENTIMENTS, rng)
    frame["source"] = frame["clean"].map(letters_key)
    plan = {
        "exact": 2 * amounts.exact,
        "normalised": 2 * amounts.normalised,
        "near": 2 * amounts.near,
        "conflicting": 2 * amounts.conflicting,
    }
    picked = frame.iloc[rng.choice(len(frame), sum(plan.values()), replace=False)].copy()
    picked["kind"] = np.repeat(list(plan), list(plan.values()))
    change = {
        "exact": lambda text, _: text,
        "conflicting": lambda text, _: text,
        "normalised": _other_spelling,
        "near": _some_words_changed,
    }
    picked["clean"] = [change[kind](text, rng) for kind, text in zip(picked["kind"], picked["clean"])]
    in_conflict = picked["kind"] == "conflicting"
    picked.loc[in_conflict, "label"] = [
        _other(label, sources.SENTIMENTS, rng) for label in picked.loc[in_conflict, "label"]
    ]
    frame = pd.concat([frame, picked]).sample(frac=1, random_state=seed).reset_index(drop=True)
    frame["id"] = [f"c{number:04d}" for number in range(len(frame))]
    return _write_comments(folder, frame, amounts, rng)


def _write_comments(
    folder: Path, frame: pd.DataFrame, amounts: Amounts, rng: np.random.Generator
) -> pd.DataFrame:
    exports = (
        ("forum.csv", "utf-8-sig", ",", "mojibake"),
        ("office.csv", "cp1252", ";", "curly"),
        ("survey.csv", "utf-16", "\t", "html"),
    )
    parts = np.array_split(np.arange(len(frame)), len(exports))
    usual = np.concatenate([[damage] * len(part) for (*_, damage), part in zip(exports, parts)])
    frame["damage"] = np.where(rng.random(len(frame)) < 0.3, usual, "")
    frame["text"] = [_DAMAGES[damage](text) for damage, text in zip(frame["damage"], frame["clean"])]
    frame["damage"] = frame["damage"].where(frame["text"] != frame["clean"], "")  # no apostrophe, no damage
    empty = rng.choice(np.flatnonzero(frame["kind"] == "original"), amounts.unreadable, replace=False)
    frame.loc[empty, ["text", "kind", "damage"]] = ["", "unreadable", ""]
    frame.loc[rng.random(len(frame)) < amounts.ratings_missing, "rating"] = np.nan
    table = frame[["id", "text", "label", "rating"]].assign(thread=frame["group"])
    for (name, encoding, separator, _), part in zip(exports, parts):
        table.iloc[part].to_csv(folder / name, sep=separator, encoding=encoding, index=False)
    return frame[["id", "source", "kind", "damage", "clean", "label", "true_label", "true_rating"]]


def _mojibake(text: str) -> str:
    """What remains when UTF-8 is read as Windows-1252: a curly apostrophe turns into three characters."""
    return text.replace("'", "’").encode("utf-8").decode("cp1252")


_DAMAGES = {
    "": lambda text: text,
    "mojibake": _mojibake,
    "curly": lambda text: text.replace("'", "’"),  # one byte in Windows-1252, three in UTF-8
    "html": lambda text: f'<p class="comment">{text.replace("&", "&amp;").replace("<", "&lt;")}<br/></p>',
}


def _other_spelling(text: str, rng: np.random.Generator) -> str:
    changes = (
        str.upper,
        str.lower,
        lambda t: t + " !!",
        lambda t: "  " + t.replace(" ", "  ", 2),
        lambda t: t.replace(",", " ,") + "...",
    )
    return changes[rng.integers(len(changes))](text)


def _some_words_changed(text: str, rng: np.random.Generator) -> str:
    """One to three typing errors or added words."""
    words = text.split()
    for place in rng.choice(len(words), min(int(rng.integers(1, 4)), len(words)), replace=False):
        if rng.random() < 0.5:
            words[place] = words[place][:-1] + str(rng.choice(list("aeiou")))
        else:
            words[place] += " really"
    return " ".join(words)


def _with_errors(labels: pd.Series, share: float, classes, rng: np.random.Generator) -> list[str]:
    wrong = set(rng.choice(len(labels), round(share * len(labels)), replace=False).tolist())
    return [_other(label, classes, rng) if place in wrong else label for place, label in enumerate(labels)]


def _other(label: str, classes, rng: np.random.Generator) -> str:
    return str(rng.choice([name for name in classes if name != label]))


def _enlarged(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _saved(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _original(image: np.ndarray, form: str) -> tuple[bytes, str, str]:
    """Bytes, suffix and form of an undamaged picture, as cameras, scanners and web sites would store it."""
    picture = _enlarged(image)
    if form in ("png", "misnamed"):
        return _saved(picture, "PNG"), ".png" if form == "png" else ".jpg", form
    if form == "transparent":  # the animal is white everywhere, and the background is transparent
        white = Image.new("L", picture.size, 255)
        return _saved(Image.merge("RGBA", (white, white, white, picture)), "PNG"), ".png", form
    if form == "palette":  # its colours are numbered from light to dark
        return _saved(picture.convert("RGB").quantize(64), "PNG"), ".png", form
    if form == "16 bit":
        return _saved(Image.fromarray(np.asarray(picture).astype(np.uint16) * 257), "PNG"), ".png", form
    if form == "turned":  # stored lying on its side, with a note to turn it: what a phone does
        exif, lying = Image.Exif(), picture.transpose(Image.Transpose.ROTATE_90).convert("RGB")
        exif[0x0112] = 6
        return _saved(lying, "JPEG", quality=90, exif=exif), ".jpg", form
    mode, suffix = ("CMYK", ".jpg") if form == "cmyk" else ("RGB", f".{form}")
    return _saved(picture.convert("RGB").convert(mode), "JPEG", quality=90), suffix, form


def _broken(file: tuple[bytes, str, str], way: int) -> tuple[bytes, str, str]:
    content, suffix, _ = file
    if way == 0:
        return content[: len(content) // 2], suffix, "truncated"
    if way == 1:
        return b"<html><body>404 Not Found</body></html>", ".jpg", "a web page"
    return b"", suffix, "empty"


def _write_pictures(folder: Path, rows: list[tuple], rng: np.random.Generator) -> pd.DataFrame:
    """Write the files under numbers in random order, hidden files beside them, and labels.csv."""
    truth = []
    for number, place in enumerate(rng.permutation(len(rows))):
        (content, suffix, form), source, kind, label, true_label = rows[place]
        name = f"pictures/{('camera', 'phone', 'web')[number % 3]}/{number:04d}{suffix}"
        truth.append(
            {
                "file": name,
                "source": source,
                "kind": kind,
                "form": form,
                "label": label,
                "true_label": true_label,
            }
        )
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    labels = pd.DataFrame(truth)[["file", "label"]].sample(frac=1, random_state=int(rng.integers(1000)))
    labels.to_csv(folder / "labels.csv", index=False, encoding="utf-8")
    for name in ("pictures/.DS_Store", "pictures/camera/._0000.png", "pictures/web/.0005.png.part"):
        (folder / name).write_bytes(b"\0" * 64)
        truth.append(
            {
                "file": name,
                "source": -1,
                "kind": "hidden",
                "form": "hidden",
                "label": None,
                "true_label": None,
            }
        )
    return pd.DataFrame(truth).sort_values("file", ignore_index=True)
