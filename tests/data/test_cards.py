"""The data cards in data/README.md say what is really in the data."""

import re

import pytest

from helpers.data import cleaning
from helpers.files import ROOT

CARDS = (ROOT / "data" / "README.md").read_text(encoding="utf-8")


def line_with(words: str) -> str:
    """The one line of the cards that holds these words."""
    found = [line for line in CARDS.splitlines() if words in line]
    assert len(found) == 1, (words, found)
    return found[0]


def test_the_platforms(comments):
    assert f"{len(comments):,} comments with human ratings" in CARDS
    for platform, rows in comments.groupby("platform"):
        raters = rows["ratings"].map(len)
        few, median, many = raters.min(), raters.median(), raters.max()
        line = line_with(f"| `{platform}` |")
        assert f"| {len(rows):,} |" in line
        assert line.endswith(f"| {few}, {median:.0f}, {many} |")


def test_the_labels(comments):
    counts = comments["label"].value_counts()
    line = line_with("at most -0.5 is negative")
    wanted = [f"{counts[name]:,}" for name in ("negative", "positive", "neutral")]
    assert re.findall(r"\(([\d,]+)\)", line) == wanted


@pytest.mark.parametrize(
    ("what", "of"),
    [
        ("exact copy of an earlier one", lambda text: text.duplicated()),
        ("HTML entities", lambda text: text.str.contains(r"&#?\w+;")),
        ("`url_removed`", lambda text: text.str.contains("url_removed")),
        ("texts without a letter or digit", lambda text: ~text.str.contains(r"[^\W_]")),
    ],
)
def test_the_known_dirt(comments, what, of):
    assert line_with(what).endswith(f"| {of(comments['text']).sum()} |")


def test_the_copies_among_the_animals(animals):
    kept = cleaning.clean_images(animals)[0]
    assert f"{len(animals):,} images" in CARDS
    assert f"{len(animals) - len(kept)} images are exact copies" in CARDS
    assert f"keeps {len(kept):,}." in CARDS
