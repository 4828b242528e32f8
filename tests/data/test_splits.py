import pandas as pd
import pytest

from helpers.data import splits
from helpers.errors import InputError


def test_no_group_on_two_sides_and_no_row_lost(clean, parts):
    groups = {name: set(part["group"]) for name, part in parts.items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert sorted(pd.concat(parts.values())["id"]) == sorted(clean["id"])


def test_shares_and_classes_are_balanced(clean, parts):
    for name, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        assert len(parts[name]) / len(clean) == pytest.approx(share, abs=0.01)
        difference = parts[name]["label"].value_counts(normalize=True) - clean["label"].value_counts(
            normalize=True
        )
        assert difference.abs().max() < 0.01


def test_same_seed_same_split(animals):
    frame = animals.groupby("label").head(20)
    first, again, other = (splits.split(frame, seed=seed)["test"]["id"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_one_class_and_small_classes_are_refused():
    frame = pd.DataFrame({"label": ["a"] * 20, "group": range(20)})
    with pytest.raises(InputError, match=r"at least 2 classes, found only \['a'\]"):
        splits.split(frame)
    frame.loc[:4, "label"] = "b"
    with pytest.raises(InputError, match="found 5 for 'b'"):
        splits.split(frame)


def test_smaller_subsamples_are_inside_larger_ones(parts):
    small, large = (set(splits.subsample(parts["train"], size)["id"]) for size in (100, 200))
    assert small < large
    assert len(splits.subsample(parts["test"], 0)) == len(parts["test"])
