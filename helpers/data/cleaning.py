"""What is repaired or removed before a split: encoding damage, empty texts, duplicates (chapters 05 and 07).

Every function returns the cleaned rows and a count of what it did: nothing disappears without a number.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ftfy

if TYPE_CHECKING:
    import pandas as pd

PLAIN = re.compile(r"[ -%'-~]*")  # printable ASCII but "&": neither mojibake nor entities
ENTITIES = re.compile(r"&#?\w+;")  # complete ones: "&copy=2" is a part of an address
# Control and format characters, spaces and separators, and marks, which need a letter to sit on.
INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol of Unicode that show nothing


def clean_comments(
    frame: pd.DataFrame, *, key: Callable[[str], str] | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Repair each `text`; then drop empty ones, duplicates, and copies that disagree on the `label`.

    Args:
        frame: rows with `text`, `label` and `group`.
        key: what copies share. By default the whole text: nothing is merged that a model could tell apart;
            and texts that differ in case or punctuation alone share a group, so that a split keeps them
            together. `letters_key` takes these for copies, too (chapter 07 shows when that is wrong).

    The counts are `rows_in`, `texts_repaired`, `empty_dropped`, `conflicting_dropped`, `duplicates_dropped`,
    `near_copies_kept_together` and `rows_out`; the rows get a fresh index.
    """
    texts = frame["text"].map(clean_text)
    repaired, empty = texts != frame["text"], texts == ""
    repairs = {"texts_repaired": int(repaired.sum()), "empty_dropped": int(empty.sum())}
    kept = frame.assign(text=texts)[~empty]
    kept, counts = drop_duplicates(kept, kept["text"] if key is None else kept["text"].map(key))
    if key is None:
        kept, counts["near_copies_kept_together"] = keep_together(kept, kept["text"].map(letters_key))
    return kept, {"rows_in": len(frame), **repairs, **counts, "rows_out": len(kept)}


def clean_images(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop copies, by the bytes of `image` or of the file at `path`; counts as in `clean_comments`."""
    kept, counts = drop_duplicates(frame, frame.apply(_content_hash, axis=1))
    return kept, {"rows_in": len(frame), **counts, "rows_out": len(kept)}


def clean_text(text: str) -> str:
    """Undo what storage did to a text, and nothing else: mojibake, HTML entities, runs of white space.

    Case, punctuation, stop words and emoticons stay: a pretrained encoder knows what they mean (chapter 07).
    """
    if not PLAIN.fullmatch(text):  # most texts need no repair, and looking costs a hundredth of it
        text = ftfy.fix_text(ENTITIES.sub(lambda found: html.unescape(found[0]), text))
    text = re.sub(r"\s+", " ", text).strip()
    return "" if is_invisible(text) else text


def is_invisible(text: str) -> bool:
    """Whether nothing in a text can be seen: blanks, zero-width spaces, fillers, accents without a letter."""
    return all(unicodedata.category(sign) in INVISIBLE or sign in FILLERS for sign in text)


def letters_key(text: str) -> str:
    """What texts share that differ in case, punctuation and symbols only: letters and digits, single spaces.

    The vowel signs of Hindi, Thai or Tamil are marks, and belong to their letters.
    """
    letters = " ".join(text.casefold().translate(LETTERS).split())
    return letters or text  # ":)" has no letters: it stands for itself


class _Letters(dict):
    """What `str.translate` puts for a character: itself, or a blank for punctuation, symbols and controls."""

    def __missing__(self, code: int) -> str:
        is_other = unicodedata.category(chr(code))[0] in "PSZC"
        self[code] = " " if is_other else chr(code)
        return self[code]


LETTERS = _Letters()


def drop_duplicates(frame: pd.DataFrame, keys: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the first row of each key; where copies disagree on the label, keep none: which one is right?"""
    conflicting = frame.groupby(keys)["label"].transform("nunique") > 1
    repeated = keys.duplicated() & ~conflicting
    kept = frame[~conflicting & ~repeated].reset_index(drop=True)
    return kept, {"conflicting_dropped": int(conflicting.sum()), "duplicates_dropped": int(repeated.sum())}


def keep_together(frame: pd.DataFrame, keys: pd.Series) -> tuple[pd.DataFrame, int]:
    """Join the groups of rows that share a key; returns the rows, and how many share theirs with another."""
    import pandas as pd
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shared = keys.duplicated(keep=False)
    if not shared.any():
        return frame, 0
    # Groups and keys are the nodes of a graph, and each row an edge between its two: parts stay together.
    groups, names = pd.factorize(frame["group"])
    codes = pd.factorize(keys)[0] + len(names)
    size = codes.max() + 1
    part = connected_components(coo_array(([True] * len(frame), (groups, codes)), shape=(size, size)))[1]
    first = pd.Series(names).groupby(part[: len(names)]).transform("first")  # of each part's groups
    return frame.assign(group=first.to_numpy()[groups]), int(shared.sum())


def _content_hash(row: pd.Series) -> str:
    content = row["image"].tobytes() if "image" in row else Path(row["path"]).read_bytes()
    return hashlib.sha256(content).hexdigest()
