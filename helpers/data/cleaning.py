"""What must be repaired or removed before a split: encoding damage, empty texts, duplicates (chapters 05 and
07).

Every function returns the cleaned rows and a count of what it did: nothing disappears without a number.
"""

from __future__ import annotations

import hashlib
import html
import re
from typing import TYPE_CHECKING

import ftfy
import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def clean_comments(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Repair texts, then drop empty ones and duplicates.

    Args:
        frame: rows with `text` and `label`.

    Returns:
        The cleaned rows (old index dropped) and the counts `rows_in`, `texts_repaired`, `empty_dropped`,
        `conflicting_dropped`, `duplicates_dropped`, `rows_out`.
    """
    repaired = frame.assign(text=frame["text"].map(clean_text))
    kept = repaired[repaired["text"] != ""]
    kept, counts = drop_duplicates(kept, kept["text"].map(duplicate_key))
    return kept, {
        "rows_in": len(frame),
        "texts_repaired": int((repaired["text"] != frame["text"]).sum()),
        "empty_dropped": int((repaired["text"] == "").sum()),
        **counts,
        "rows_out": len(kept),
    }


def clean_images(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop exact duplicates, by the bytes of the pixels (`image`) or of the file (`path`); counts as in
    `clean_comments`.
    """
    kept, counts = drop_duplicates(frame, frame.apply(_content_hash, axis=1))
    return kept, {"rows_in": len(frame), **counts, "rows_out": len(kept)}


def clean_text(text: str) -> str:
    """Undo what storage did to a text, and nothing else: mojibake, HTML entities, runs of white space.

    Case, punctuation, stop words and emoticons stay: a pretrained encoder has learnt what they mean (chapter
    07).
    """
    return re.sub(r"\s+", " ", ftfy.fix_text(html.unescape(text))).strip()


def duplicate_key(text: str) -> str:
    """What two texts share when a reader would call them the same: letters and digits, lower case, single
    spaces.
    """
    return (
        re.sub(r"[\W_]+", " ", text.casefold()).strip() or text
    )  # ":)" has no letters: it stands for itself


def drop_duplicates(frame: pd.DataFrame, keys: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the first row of each key; where copies disagree on the label, keep none, since nobody knows which
    is right.
    """
    conflicting = frame.groupby(keys)["label"].transform("nunique") > 1
    repeated = keys.duplicated() & ~conflicting
    kept = frame[~conflicting & ~repeated].reset_index(drop=True)
    return kept, {"conflicting_dropped": int(conflicting.sum()), "duplicates_dropped": int(repeated.sum())}


def _content_hash(row: pd.Series) -> str:
    if "image" in row:
        return hashlib.sha256(np.ascontiguousarray(row["image"]).tobytes()).hexdigest()
    with open(row["path"], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
