"""Labels that a person would read as one class, and a program as two (chapter 05)."""

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

BLANKS = "_-‐‑‒–—"  # between the words of a label


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ in nothing that a reader would see as a difference of meaning.

    That is case, Unicode form, invisible characters, quotation marks, kinds of blanks and dashes, and ways to
    write one number ("1", "1.0").

    Example: `alike(["good", "Good", "bad"])` is `[["Good", "good"]]`
    """
    groups = defaultdict(set)
    for label in labels:
        groups[label_key(label)].add(label)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def label_key(label: str) -> str:
    """What labels share that look the same."""
    text = unicodedata.normalize("NFKC", label).strip("\"'`“”‘’«»„ ")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return repr(number)
    seen = [" " if character.isspace() or character in BLANKS else character for character in text.casefold()]
    visible = [character for character in seen if unicodedata.category(character) not in ("Cf", "Cc")]
    return " ".join("".join(visible).split())
