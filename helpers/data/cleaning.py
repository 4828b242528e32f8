"""What is repaired or removed before a split: encoding damage, empty texts, duplicates (chapters 05 and 07).

Every function returns the cleaned rows and a count of what it did: nothing disappears without a number.
"""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

import ftfy

if TYPE_CHECKING:
    import pandas as pd


def clean_comments(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Repair each `text`; then drop empty ones, duplicates, and copies that disagree on the `label`.

    The counts are `rows_in`, `texts_repaired`, `empty_dropped`, `conflicting_dropped`, `duplicates_dropped`
    and `rows_out`; the rows get a fresh index.
    """
    texts = frame["text"].map(clean_text)
    repaired, empty = texts != frame["text"], texts == ""
    repairs = {"texts_repaired": int(repaired.sum()), "empty_dropped": int(empty.sum())}
    kept = frame.assign(text=texts)[~empty]
    kept, counts = drop_duplicates(kept, kept["text"].map(duplicate_key))
    return kept, {"rows_in": len(frame), **repairs, **counts, "rows_out": len(kept)}


def clean_images(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop copies, by the bytes of `image` or of the file at `path`; counts as in `clean_comments`."""
    kept, counts = drop_duplicates(frame, frame.apply(_content_hash, axis=1))
    return kept, {"rows_in": len(frame), **counts, "rows_out": len(kept)}


def clean_text(text: str) -> str:
    """Undo what storage did to a text, and nothing else: mojibake, HTML entities, runs of white space.

    Case, punctuation, stop words and emoticons stay: a pretrained encoder knows what they mean (chapter 07).
    """
    return re.sub(r"\s+", " ", ftfy.fix_text(html.unescape(text))).strip()


def duplicate_key(text: str) -> str:
    """What two texts that read the same share: letters and digits, in lower case, with single spaces."""
    letters = re.sub(r"[\W_]+", " ", text.casefold()).strip()
    return letters or text  # ":)" has no letters: it stands for itself


def drop_duplicates(frame: pd.DataFrame, keys: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep the first row of each key; where copies disagree on the label, keep none: which one is right?"""
    conflicting = frame.groupby(keys)["label"].transform("nunique") > 1
    repeated = keys.duplicated() & ~conflicting
    kept = frame[~conflicting & ~repeated].reset_index(drop=True)
    return kept, {"conflicting_dropped": int(conflicting.sum()), "duplicates_dropped": int(repeated.sum())}


def _content_hash(row: pd.Series) -> str:
    content = row["image"].tobytes() if "image" in row else Path(row["path"]).read_bytes()
    return hashlib.sha256(content).hexdigest()
