"""Near-duplicates: planted pairs are found, strangers are not, and groups stay together."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.data import splits
from helpers.data.pictures import open_image
from lessons.ch05 import duplicates, planted_faults


def enlarged(image):
    return Image.fromarray(image).resize((112, 112), Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def pictures(animals, tmp_path_factory):
    """40 different animals, then four changed versions of the first."""
    rng = np.random.default_rng(1)
    rows = animals.groupby("label").head(4)["image"].tolist()
    changed = []
    for change in planted_faults.CHANGES:
        content, suffix, _ = planted_faults.near_copy(rows[0], change, rng)
        path = tmp_path_factory.mktemp("near") / f"copy{suffix}"
        path.write_bytes(content)
        changed.append(open_image(path))
    return [enlarged(image) for image in rows] + changed


def test_changed_copies_are_found_and_strangers_are_not(pictures):
    pairs = duplicates.near_pictures(pictures)
    found = set(zip(pairs["first"], pairs["second"]))
    copies = {0, 40, 41, 42, 43}
    assert found == {(first, second) for first in copies for second in copies if first < second}


def test_distances_are_counted_in_bits():
    hashes = np.zeros((3, 256), dtype=bool)
    hashes[1, :10] = True
    hashes[2, :200] = True
    pairs = duplicates.near_hashes(hashes, max_distance=190)
    assert pairs.to_dict("list") == {"first": [0, 1], "second": [1, 2], "distance": [10, 190]}


def test_similarity_ignores_brightness_and_small_shifts(pictures):
    moved = Image.new("L", (112, 112))
    moved.paste(pictures[1].point(lambda value: value * 0.5 + 10), (4, 0))
    pairs = pd.DataFrame({"first": [0, 0], "second": [1, 2]})
    same, other = duplicates.aligned_similarity([pictures[1], moved, pictures[9]], pairs)
    assert same > 0.97 > other


@pytest.mark.parametrize(
    ("other", "near"),
    [
        ("The battery of this phone lasts two dayz, and the screen is bright.", True),
        ("The battery of this phone lasts two days, and the screen is really bright!", True),
        ("The screen of my laptop is dark and nobody answers the phone.", False),
    ],
)
def test_texts(other, near):
    texts = [
        "The battery of this phone lasts two days, and the screen is bright.",
        "Something else entirely was said here.",
        other,
    ]
    pairs = duplicates.near_texts(texts)
    assert [tuple(pair) for pair in pairs[["first", "second"]].to_numpy()] == ([(0, 2)] if near else [])


def test_equal_keys_give_all_pairs():
    pairs = duplicates.equal_keys(["a", "b", "a", ("b", 1), "a"])
    assert pairs.to_numpy().tolist() == [[0, 2], [0, 4], [2, 4]]
    assert duplicates.equal_keys(["a", "b"]).empty


def test_groups_follow_chains():
    pairs = pd.DataFrame({"first": [0, 2, 1], "second": [1, 3, 3]})
    groups = duplicates.groups_of_pairs(pairs, 6)
    assert len(set(groups[:4])) == 1
    assert len(set(groups)) == 3


def test_joined_groups_join_whole_groups():
    frame = pd.DataFrame({"group": list("aabbcd")})
    pairs = pd.DataFrame({"first": [0], "second": [2]})
    joined, counts = duplicates.joined_groups(frame, pairs)
    assert joined["group"].tolist() == list("aaaacd")
    assert counts == {"pairs": 1, "groups_before": 4, "groups_after": 3}
    same, counts = duplicates.joined_groups(frame, pairs.iloc[:0])
    assert same["group"].tolist() == list("aabbcd")
    assert counts["groups_after"] == 4


def test_a_split_keeps_near_duplicates_on_one_side(animals):
    frame = animals.groupby("label").head(20).reset_index(drop=True)
    pairs = pd.DataFrame({"first": range(0, 100), "second": range(100, 200)})
    parts = splits.split(duplicates.joined_groups(frame, pairs)[0])
    sides = {identifier: name for name, rows in parts.items() for identifier in rows["id"]}
    assert all(sides[frame["id"][first]] == sides[frame["id"][second]] for first, second in pairs.to_numpy())


def test_placeholders_do_not_make_strangers_alike():
    texts = ["@anonymous " * 7 + "Have a great one!", "@anonymous " * 8 + "- Good morning to all of you"]
    assert duplicates.near_texts(texts).empty
