"""Every planted fault is where the truth says, another seed gives another pile, the site keeps its rules."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from helpers.data import cleaning
from lessons.ch05 import inspection, planted_faults, repair

SMALL = planted_faults.Amounts(
    pictures=60, comments=150, exact=6, near=8, normalised=5, conflicting=3, unreadable=6
)


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pile")
    return (
        folder,
        planted_faults.messy_pictures(folder, seed=3, amounts=SMALL),
        planted_faults.messy_comments(folder, seed=3, amounts=SMALL),
    )


def test_pictures_hold_what_was_ordered(pile):
    folder, truth, _ = pile
    assert truth["kind"].value_counts().to_dict() == {
        "original": 60, "near": 8, "exact": 6, "unreadable": 6, "conflicting": 3, "hidden": 3,
    }  # fmt: skip
    written = {
        path.relative_to(folder).as_posix() for path in (folder / "pictures").rglob("*") if path.is_file()
    }
    assert written == set(truth["file"])


def test_exact_copies_have_equal_bytes_and_near_ones_do_not(pile):
    folder, truth, _ = pile
    digest = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in truth["file"]}
    for row in truth[truth["kind"].isin(["exact", "near", "conflicting"])].itertuples():
        originals = truth[(truth["source"] == row.source) & (truth["kind"] == "original")]
        equal = any(digest[file] == digest[row.file] for file in originals["file"])
        assert equal == (row.kind != "near"), row
        assert row.kind != "conflicting" or row.label not in set(originals["label"])


def test_each_form_is_what_it_claims(pile):
    folder, truth, _ = pile
    modes = {"transparent": "RGBA", "palette": "P", "cmyk": "CMYK", "16 bit": "I;16"}
    found = truth[(truth["kind"] == "original") & truth["form"].isin([*modes, "turned", "misnamed"])]
    assert len(found) > 5
    for row in found.itertuples():
        with Image.open(folder / row.file) as image:
            assert image.mode == modes.get(row.form, image.mode)
            assert (image.getexif().get(0x0112, 1) == 6) == (row.form == "turned")
            assert (image.format == "PNG" and row.file.endswith(".jpg")) == (row.form == "misnamed")


def test_label_errors_are_a_known_share(pile):
    _, truth, comments = pile
    for table, size in ((truth, 66), (comments, 150)):
        originals = table[table["kind"].isin(["original", "unreadable"])]
        assert len(originals) == size
        assert (originals["label"] != originals["true_label"]).sum() == round(0.06 * size)


def test_near_copies_still_show_the_same_picture(animals):
    rng = np.random.default_rng(0)
    for change in planted_faults.CHANGES:
        content, suffix, form = planted_faults.near_copy(animals["image"][6010], change, rng)
        assert content[:3] == (b"\x89PN" if suffix == ".png" else b"\xff\xd8\xff")
        assert form == change


def test_comments_come_in_three_encodings_and_can_be_restored(pile):
    folder, _, truth = pile
    tables = [repair.read_table(folder / name) for name in ("forum.csv", "office.csv", "survey.csv")]
    assert [found["encoding"] for _, found in tables] == ["utf-8", "cp1252", "utf-16"]
    texts = {row.id: row.text for table, _ in tables for row in table.itertuples()}
    assert set(texts) == set(truth["id"])
    damaged = truth[(truth["damage"] != "") & (truth["kind"] != "unreadable")]
    assert set(damaged["damage"]) == {"mojibake", "curly", "html"}
    for row in damaged.itertuples():
        assert texts[row.id] != row.clean
        assert cleaning.clean_text(repair.text_of_html(texts[row.id])) == cleaning.clean_text(row.clean)


def test_the_seed_decides_everything(pile, tmp_path):
    folder, truth, comments = pile
    again = planted_faults.messy_pictures(tmp_path, seed=3, amounts=SMALL)
    assert again.equals(truth)
    assert (tmp_path / "labels.csv").read_bytes() == (folder / "labels.csv").read_bytes()
    assert planted_faults.messy_comments(tmp_path, seed=3, amounts=SMALL).equals(comments)
    other = (
        planted_faults.messy_pictures(tmp_path / "other", seed=4, amounts=SMALL)
        if (tmp_path / "other").mkdir() is None
        else None
    )
    assert not other["label"].equals(truth["label"])


def test_the_labels_file_names_every_file_but_hidden_ones(pile):
    folder, truth, _ = pile
    listed = repair.read_table(folder / "labels.csv")[0]
    assert set(listed["file"]) == set(truth["file"][truth["kind"] != "hidden"])
    assert listed["file"].tolist() != sorted(listed["file"])


def test_unreadable_files_are_found_without_exception(pile):
    folder, truth, _ = pile
    table = inspection.inspect_images(folder / "pictures")
    bad = "pictures/" + table["file"][table["problem"].notna() & ~table["hidden"]]
    assert set(bad) == set(truth["file"][truth["kind"] == "unreadable"])


def test_equal_bytes_have_equal_keys_and_only_they(pile):
    folder, truth, _ = pile
    good = truth[~truth["kind"].isin(["unreadable", "hidden"])].reset_index(drop=True)
    digest = [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in good["file"]]
    keys = planted_faults.copied_bytes(good)
    assert len(set(digest)) == len(set(keys)) == len(set(zip(digest, keys))) < len(good)


def test_a_resized_copy_never_has_the_size_of_the_original(animals):
    draws = (np.random.default_rng(seed) for seed in range(5000))
    seed = next(seed for seed, rng in enumerate(draws) if rng.integers(64, 200) == planted_faults.SIDE)
    content, _, _ = planted_faults.near_copy(animals["image"][0], "resized", np.random.default_rng(seed))
    assert Image.open(io.BytesIO(content)).width == planted_faults.SIDE + 1
