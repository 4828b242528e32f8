"""Which files of a folder are pictures, which are passed over, and how many of each kind (chapter 05)."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from helpers.data.picture_cache import PictureCache
from helpers.data.pictures import is_one_colour
from helpers.errors import InputError, Problem

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic"}
    | {".heif", ".jp2", ".tga", ".pbm", ".pgm", ".pnm", ".ppm"}
)
# Pictures, too, but Pillow reads none of them, or only a preview.
OTHER_PICTURES = frozenset(
    {".svg", ".psd", ".xcf", ".ai", ".eps", ".jxl", ".dcm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
    | {".orf", ".rw2", ".raf", ".pef"}
)
BY_CONTENT = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # formats that are known by a first mark
# Of macOS, Windows and Synology, compared in lower case.
SYSTEM_FILES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "@eadir"}
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "eval", "evaluation", "test", "testing"}
SPLITS_OF = {
    word: "train" if word.startswith("train") else "test" if word.startswith("test") else "val"
    for word in SPLITS
}
BESIDE_SPLITS = {"data", "set", "images", "pictures", "photos"}  # "Test Images" is a part of a split, too
MOST_OBLONG = 100  # times as long as wide: resized for a model, its memory would be as many times as large
HIDDEN, LOOPS = "hidden files and folders", "folders that a link leads to again"
IN_EVERY_CLASS = "folders that stand in every class and are not taken as classes"
NO_PICTURES, EXAMPLES = "files that are no pictures", 5


@dataclass
class Listing:
    """What is below a folder; names are relative to it, with "/" on every system, in the order of names."""

    pictures: list[str] = field(default_factory=list)  # by their names; not opened yet
    problems: list[Problem] = field(default_factory=list)
    folders: dict[str, set[str]] = field(default_factory=dict)  # of the first level, and those right below
    passed_over: dict[str, list[str]] = field(default_factory=dict)  # names of what is not used, by its kind
    suffixes: set[str] = field(default_factory=set)  # of what is no picture

    def note(self, kind: str, name: str) -> None:
        """Count one thing more that people should know of."""
        self.passed_over.setdefault(kind, []).append(name)

    def counts(self) -> dict[str, int]:
        """How many there are of each kind: {"files that are no pictures (.txt, .xml)": 40}."""
        return {self._named(kind): len(names) for kind, names in self.passed_over.items()}

    def sentences(self) -> list[str]:
        """How many there are of each kind, and the first few names."""
        sentences = []
        for kind, names in self.passed_over.items():
            more = ", ..." if len(names) > EXAMPLES else ""
            sentences.append(f"{len(names):,} {self._named(kind)}: {', '.join(names[:EXAMPLES])}{more}")
        return sentences

    def _named(self, kind: str) -> str:
        if kind != NO_PICTURES:
            return kind
        suffixes = sorted(self.suffixes)
        more = ", ..." if len(suffixes) > EXAMPLES else ""
        return f"{kind} ({', '.join(suffixes[:EXAMPLES])}{more})"


def listed(folder: Path) -> Listing:
    """All that is below a folder; links are followed, and one that leads in a circle ends there."""
    found, first = Listing(), {}
    root = os.path.realpath(folder)
    for name, path in _entries(folder, "", found):
        if not os.path.isdir(path):
            _judge_file(name, path, found)
            continue
        real = os.path.realpath(path)
        if real in first:
            found.problems.append(Problem(name, f"is the same folder as {first[real]}, by a link; remove it"))
            continue
        first[real], found.folders[name] = name, set()
        _walk(path, f"{name}/", {root, real}, found)
    return found


def _walk(folder: str, prefix: str, seen: set[str], found: Listing) -> None:
    for name, path in _entries(folder, prefix, found):
        if not os.path.isdir(path):
            _judge_file(name, path, found)
            continue
        if prefix.count("/") == 1:
            found.folders[prefix[:-1]].add(name.rsplit("/", 1)[1])
        real = os.path.realpath(path)
        if real in seen:
            found.note(LOOPS, name)
        else:
            seen.add(real)
            _walk(path, f"{name}/", seen, found)


def _entries(folder: str | Path, prefix: str, found: Listing) -> Iterator[tuple[str, str]]:
    """Name and path of each entry but hidden ones, sorted: the system's order differs between machines."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        found.problems.append(Problem(prefix[:-1] or ".", f"cannot be listed ({error.strerror})"))
        return
    for name in names:
        if name.startswith(".") or name.lower() in SYSTEM_FILES:
            found.note(HIDDEN, shown(prefix + name))
        elif not is_text(name):
            what = "its name is not valid UTF-8; rename it"
            found.problems.append(Problem(shown(prefix + name), what))
        else:
            yield prefix + name, os.path.join(folder, name)


def _judge_file(name: str, path: str, found: Listing) -> None:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES | OTHER_PICTURES or (not suffix and not os.path.isfile(path)):
        found.pictures.append(name)  # an entry without a suffix that leads nowhere may have been a class
    elif os.path.isfile(path) and _is_picture(path):
        found.problems.append(Problem(name, _by_name()))
    else:
        found.note(NO_PICTURES, name)
        found.suffixes.add(suffix or "no suffix")


def check_classes(folder: Path, found: Listing) -> None:
    """Refuse a folder whose first level are no classes, and note classes without a picture as problems.

    Raises InputError: no class folders, folders named as parts of a split, or one folder around the classes.
    """
    name, classes, below = shown(folder), list(found.folders), list(found.folders.values())
    if not classes:
        count = len(found.pictures) or "no"
        what = f"{name} holds {count} pictures and no class folders"
        raise InputError(f"{what}; move each into {name}/CLASS/, or give a labels file")
    parts = [part for part in classes if _is_part(part)]
    is_same = len(classes) > 1 and bool(below[0]) and all(names == below[0] for names in below)
    named = {part for name in classes for part in [_part_of(name)] if part}
    if (parts and (is_same or (len(classes) > 1 and parts == classes))) or len(named) > 1:
        what = f"the folders of {name} are parts of a split ({', '.join(classes)}), expected one per class"
        chosen = next((part for part in classes if "train" in part.lower()), classes[0])
        raise InputError(f"{what}; give {name}/{chosen}, of which a part is kept for the test")
    is_wrapped = len(classes) == 1 and len(below[0]) > 1
    if is_wrapped and not any(picture.count("/") == 1 for picture in found.pictures):
        what = f"{name} holds only one folder, {classes[0]}, with {len(below[0])} folders in it"
        raise InputError(f"{what}; give {name}/{classes[0]} if those are the classes")
    if is_same:
        found.passed_over[IN_EVERY_CLASS] = sorted(below[0])
    filled = {entry.split("/")[0] for entry in [*found.pictures, *(bad.where for bad in found.problems)]}
    empty = [Problem(entry, "this class holds no picture; fill or remove it") for entry in classes]
    found.problems += [problem for problem in empty if problem.where not in filled]


def _part_of(name: str) -> str | None:
    """Which part of a split a folder seems to be: "train", "val" or "test" ("seg_train", "Test Images").

    A class may be called so as well; but not two classes of one folder by the names of two parts.
    """
    words = re.findall("[a-z]+", name.lower())
    ends = {words[0], words[-1]} if words else set()
    for part in ("train", "val", "test"):
        if any(SPLITS_OF[word] == part for word in ends & SPLITS_OF.keys()):
            return part
    return None


def _is_part(name: str) -> bool:
    """Whether a folder is named as a part of a split: "train", "Test Images", "val2017"."""
    words = set(re.findall("[a-z]+", name.lower()))
    return bool(words & SPLITS) and words <= SPLITS | BESIDE_SPLITS


def picture_problem(path: str | Path, opener: PictureCache) -> tuple[str | None, bool]:
    """What is wrong with a file that should be a picture, or None, and whether it has one colour only.

    The picture is opened just as for training, so that what passes here passes there.
    """
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.exists(path):
        return "the file does not exist", False
    if not os.path.isfile(path):
        return "is a folder or a device, expected a file", False
    if not is_text(str(path)):
        return "its name is not valid UTF-8; rename it", False
    if suffix in OTHER_PICTURES:
        return f"is a picture in a format that is not read ({suffix}); convert it to JPEG or PNG", False
    if suffix not in IMAGE_SUFFIXES:
        return _by_name(), False
    try:
        image = opener.open(path)
        if max(image.size) > MOST_OBLONG * min(image.size):
            return (
                f"is {image.width} x {image.height} pixels, more than {MOST_OBLONG} times as long as wide",
                False,
            )
        return None, is_one_colour(image)
    except InputError as error:
        return str(error), False
    except Exception as error:  # Pillow raises whatever damaged bytes lead to, a MemoryError as well
        return f"cannot be read as an image ({type(error).__name__})", False


def is_text(name: str) -> bool:
    """Whether a name can be written into a file; one in an old code page cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str | Path) -> str:
    """A path as text that can be printed and written."""
    return str(path).encode(errors="backslashreplace").decode()


def _is_picture(path: str) -> bool:
    try:
        with Image.open(path, formats=BY_CONTENT):
            return True
    except Exception:  # whatever it is, it is no picture
        return False


def _by_name() -> str:
    return f"is no image by its name, expected one of {' '.join(sorted(IMAGE_SUFFIXES))}"
