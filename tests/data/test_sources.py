import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import own
from helpers.data import sources
from helpers.errors import DataError


def test_comments_hold_every_row_with_its_own_raters(comments):
    assert len(comments) == 23_703
    assert comments["platform"].value_counts().to_dict() == {
        "movies": 10_605,
        "nyt": 5_190,
        "tweets": 4_200,
        "amazon": 3_708,
    }
    assert comments["label"].value_counts().to_dict() == {
        "positive": 10_278,
        "negative": 9_181,
        "neutral": 4_244,
    }
    assert comments["id"].is_unique
    assert not comments["text"].str.contains("\r|\ufeff").any()
    # Amazon's two files have different orders: joined by position, the means would not match the ratings.
    amazon = comments[comments["platform"] == "amazon"]
    assert np.allclose(amazon["ratings"].map(np.mean), amazon["rating"], atol=0.01)
    assert comments["ratings"].map(len).between(15, 99).all()


def test_sentiment_thresholds_are_inclusive():
    assert sources.sentiment([-0.5, -0.49, 0.49, 0.5]).tolist() == [
        "negative",
        "neutral",
        "neutral",
        "positive",
    ]


def test_rater_shares_are_votes():
    assert sources.rater_shares([[4, 0, 0, -1], [1, 2]]).tolist() == [[0.25, 0.5, 0.25], [0, 0, 1]]


def as_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_of_two_answers_the_raters_make_one_the_better(comments):
    some = comments.sample(2000, random_state=1)
    pairs = sources.preference_pairs(some)
    assert pairs["id"].tolist() == some["id"].tolist()
    assert pairs["group"].tolist() == some["group"].tolist()
    assert list(pairs.columns) == ["id", "prompt", "chosen", "rejected", "kind", "group"]
    for (_, comment), pair in zip(some.iterrows(), pairs.itertuples()):
        assert [*json.loads(pair.prompt), {"role": "assistant", "content": pair.chosen}] == (
            sources.conversation(comment)
        )
        right, wrong = json.loads(pair.chosen), as_json(pair.rejected)
        if pair.kind == "format":
            assert wrong is None
            continue
        off = abs(right["strength"] - wrong["strength"])
        assert -4 <= wrong["strength"] <= 4
        assert right.get("topic") == wrong.get("topic")
        assert (right["sentiment"] == wrong["sentiment"]) == (pair.kind == "strength")
        assert pair.kind != "strength" or off >= 3
        assert (pair.kind == "guess") == (pair.kind != "strength" and right["sentiment"] == "neutral")
    shares = pairs["kind"].value_counts(normalize=True)
    assert shares[["strength", "format"]].between(0.28, 0.39).all()
    assert shares["sentiment"] + shares["guess"] == pytest.approx(1 / 3, abs=0.05)


def test_a_pair_depends_on_its_comment_and_the_seed_alone(comments):
    some = comments.head(50)
    pairs, other = sources.preference_pairs(some), sources.preference_pairs(some, seed=1)
    backwards = sources.preference_pairs(some[10:][::-1])[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(backwards, pairs[10:].reset_index(drop=True))
    assert (pairs["rejected"] != other["rejected"]).sum() > 20
    assert (pairs["chosen"] == other["chosen"]).all()


def test_animals(animals):
    assert len(animals) == 10_000
    assert (animals["label"].value_counts() == 1000).all()
    assert animals["image"].iloc[0].shape == (28, 28)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def image_folder(tmp_path, animals):
    for label in ("cat", "dog"):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number, image in enumerate(animals[animals["label"] == label]["image"].head(3)):
            Image.fromarray(image).save(tmp_path / "own" / label / f"{number}.png")
    return tmp_path / "own"


def test_image_folder(image_folder):
    (image_folder / "cat" / ".DS_Store").write_bytes(b"hidden")
    frame, problems = own.from_folder(image_folder)
    assert problems == []
    assert frame["id"].tolist() == [
        "cat/0.png",
        "cat/1.png",
        "cat/2.png",
        "dog/0.png",
        "dog/1.png",
        "dog/2.png",
    ]
    assert frame["label"].tolist() == ["cat"] * 3 + ["dog"] * 3


def test_bad_images_are_named(image_folder):
    whole = (image_folder / "cat" / "0.png").read_bytes()
    (image_folder / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (image_folder / "dog" / "renamed.txt").write_bytes(whole)
    (image_folder / "loose.png").write_bytes(whole)
    with pytest.raises(DataError) as caught:
        own.from_folder(image_folder)
    for line in (
        "cat/cut.png: cannot be read as an image",
        "dog/renamed.txt: is no image by its name",
        "loose.png: lies outside a class folder",
    ):
        assert line in str(caught.value)
    frame, problems = own.from_folder(image_folder, on_bad="skip")
    assert len(frame) == 6
    assert len(problems) == 3


def test_labels_file(image_folder):
    file = write(image_folder / "labels.csv", "file,label\ncat/0.png,cat\ndog/0.png,dog\ndog/9.png,dog\n")
    with pytest.raises(DataError, match=r"row 4 of labels.csv: dog/9.png: the file does not exist"):
        own.from_labels_file(file)
    frame, _ = own.from_labels_file(file, on_bad="skip")
    assert frame["label"].tolist() == ["cat", "dog"]
