import numpy as np
import pandas as pd
import pytest

from helpers.data import cleaning


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("love &amp; peace", "love & peace"),
        ("it\u00e2\u20ac\u2122s  fine\n", "it's fine"),
        ("NOT good :(", "NOT good :("),
        ("5 &lt; 6 <3", "5 < 6 <3"),
        ("   ", ""),
    ],
)
def test_clean_text_repairs_and_keeps_what_carries_meaning(raw, expected):
    assert cleaning.clean_text(raw) == expected


def test_emoticons_are_not_each_others_duplicates():
    assert cleaning.duplicate_key(":)") != cleaning.duplicate_key(":(")
    assert cleaning.duplicate_key("Great phone!!") == cleaning.duplicate_key("great  phone")


def test_duplicates_keep_one_and_conflicts_keep_none():
    frame = pd.DataFrame({"text": ["a", "A!", "b", "b.", " "], "label": ["x", "x", "x", "y", "x"]})
    kept, counts = cleaning.clean_comments(frame)
    assert kept["text"].tolist() == ["a"]
    assert counts == {
        "rows_in": 5, "texts_repaired": 1, "empty_dropped": 1, "conflicting_dropped": 2, "duplicates_dropped": 1, "rows_out": 1,
    }  # fmt: skip


def test_comments_add_up(comments):
    kept, counts = cleaning.clean_comments(comments)
    dropped = counts["empty_dropped"] + counts["conflicting_dropped"] + counts["duplicates_dropped"]
    assert counts["rows_in"] - dropped == counts["rows_out"] == len(kept)
    assert not kept["text"].map(cleaning.duplicate_key).duplicated().any()
    assert not kept["text"].str.contains("&amp;").any()


def test_animals_lose_their_284_copies(animals):
    kept, counts = cleaning.clean_images(animals)
    assert counts["duplicates_dropped"] == 284
    assert counts["conflicting_dropped"] == 0
    assert len(np.unique(np.stack(kept["image"].tolist()), axis=0)) == len(kept)
