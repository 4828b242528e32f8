import numpy as np
import pandas as pd
import pytest

from helpers.data import cleaning
from helpers.errors import InputError
from lessons.ch05 import repair


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


def test_keys_of_letters_keep_what_belongs_to_letters():
    assert cleaning.letters_key("रीना") != cleaning.letters_key("राना")  # vowel signs are marks
    assert cleaning.letters_key(":)") != cleaning.letters_key(":(")
    assert cleaning.letters_key("Great phone!!") == cleaning.letters_key("great  phone")


def test_duplicates_keep_one_and_conflicts_keep_none():
    frame = pd.DataFrame({"text": ["a", "A!", "b", "b.", " "], "label": ["x", "x", "x", "y", "x"]})
    kept, counts = cleaning.clean_comments(frame, key=cleaning.letters_key)
    assert kept["text"].tolist() == ["a"]
    assert counts == {
        "rows_in": 5, "texts_repaired": 1, "empty_dropped": 1, "conflicting_dropped": 2,
        "duplicates_dropped": 1, "rows_out": 1,
    }  # fmt: skip


def test_comments_add_up(comments):
    kept, counts = cleaning.clean_comments(comments, key=cleaning.letters_key)
    dropped = counts["empty_dropped"] + counts["conflicting_dropped"] + counts["duplicates_dropped"]
    assert counts["rows_in"] - dropped == counts["rows_out"] == len(kept)
    assert not kept["text"].map(cleaning.letters_key).duplicated().any()
    assert not kept["text"].str.contains("&amp;").any()


def test_animals_lose_their_284_copies(animals):
    kept, counts = cleaning.clean_images(animals)
    assert counts["duplicates_dropped"] == 284
    assert counts["conflicting_dropped"] == 0
    assert len(np.unique(np.stack(kept["image"].tolist()), axis=0)) == len(kept)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<p class='x'>I <em>love</em> it<br/></p>", "I love it"),
        ("I <3 you, 2 < 3 and 4 > 1", "I <3 you, 2 < 3 and 4 > 1"),
        ("seen<!-- hidden -->", "seen"),
        ("<p>if x &lt;y and z&gt; 3</p>", "if x <y and z> 3"),
    ],
)
def test_html_goes_and_its_words_stay(raw, expected):
    assert cleaning.clean_text(repair.text_of_html(raw)) == expected


def test_entities_undone_too_early_lose_words():
    raw = "<p>if x &lt;y and z&gt; 3</p>"
    assert "and" not in repair.text_of_html(cleaning.clean_text(raw))


def test_comments_without_tags_stay_as_they_are(comments):
    assert (comments["text"].map(repair.text_of_html) == comments["text"]).all()


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_are_read_in_any_encoding(tmp_path, encoding, name, separator):
    file = tmp_path / "t.csv"
    file.write_bytes(f"id{separator}text\n1{separator}it’s {'é' * 3} €5\n2{separator}\n".encode(encoding))
    frame, found = repair.read_table(file)
    assert found == {"encoding": name, "separator": separator, "rows": 2}
    assert frame.to_dict("list") == {"id": ["1", "2"], "text": ["it’s ééé €5", ""]}


def test_what_cannot_be_decoded_is_refused_and_never_replaced(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(b"id;text\n1;\x81\x8d broken \xe9\n")  # two bytes that Windows-1252 does not know
    with pytest.raises(InputError, match=r"t\.csv is neither UTF-16, UTF-8 nor Windows-1252"):
        repair.read_table(file)
    with pytest.raises(InputError, match=r"t\.csv is not utf-8"):
        repair.read_table(file, encoding="utf-8")
    assert repair.read_table(file, encoding="latin-1")[0]["text"][0].endswith("é")


def test_a_missing_or_empty_table_is_refused(tmp_path):
    for file in (tmp_path / "no.csv", tmp_path / "empty.csv"):
        (tmp_path / "empty.csv").touch()
        with pytest.raises(InputError, match="does not exist or is empty"):
            repair.read_table(file)
