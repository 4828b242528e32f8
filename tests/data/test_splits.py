import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from helpers.data import splits
from helpers.errors import InputError

SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}


def of_sklearn(frame, seed=0):
    """Ids of the three sides when scikit-learn alone deals the rows."""
    folder = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    folds = [rows for _, rows in folder.split(frame, frame["label"], frame["group"])]
    rows = {name: np.sort(np.concatenate([folds[n] for n in splits.FOLDS[name]])) for name in SHARES}
    return {name: frame["id"].iloc[chosen].tolist() for name, chosen in rows.items()}


def table(labels, groups):
    frame = pd.DataFrame(
        {"label": [f"class {label}" for label in labels], "group": [f"g{g}" for g in groups]}
    )
    return frame.assign(id=frame.index.astype(str))


def check_promises(frame, parts):
    """Every row is on one side, in its order, and no group on two; every class is on each side."""
    sides = pd.concat(parts.values()).assign(
        side=np.repeat(list(parts), [len(part) for part in parts.values()])
    )
    assert sorted(sides["id"], key=int) == frame["id"].tolist()
    assert sides.groupby("group")["side"].nunique().max() == 1
    for part in parts.values():
        assert part["id"].astype(int).is_monotonic_increasing
        assert set(part["label"]) == set(frame["label"])


@pytest.fixture(params=["scikit-learn", "dealt"])
def way(request, monkeypatch):
    """Both ways of drawing folds, whatever the size."""
    if request.param == "dealt":
        monkeypatch.setattr(splits, "MAX_GROUPS", 0)
    return request.param


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


def test_embedded_rows_stay_where_stored_results_had_them(clean, parts, animals):
    assert {name: part["id"].tolist() for name, part in parts.items()} == of_sklearn(clean)
    some = animals.groupby("label").head(60)
    found = {name: part["id"].tolist() for name, part in splits.split(some, seed=3).items()}
    assert found == of_sklearn(some, seed=3)
    for frame in (clean, animals):
        groups, classes = frame["group"].nunique(), frame["label"].nunique()
        assert groups <= splits.MAX_GROUPS
        assert groups * classes <= splits.MAX_CELLS


def test_shares_hold_for_rows_of_their_own_for_pairs_and_for_mixed_groups(way):
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 2000, p=[0.6, 0.3, 0.08, 0.02])
    single, several = np.arange(2000), rng.integers(0, 500, 2000)
    for groups in (single, several, labels * 500 + several, np.where(labels == 0, 3000 + several, single)):
        frame = table(labels, groups)
        parts = splits.split(frame)
        check_promises(frame, parts)
        of_classes = frame["label"].value_counts(normalize=True)
        for name, part in parts.items():
            assert len(part) / 2000 == pytest.approx(SHARES[name], abs=0.01)
            assert (part["label"].value_counts(normalize=True) - of_classes).abs().max() < 0.02


def test_many_small_classes_are_on_every_side(way):
    frame = table(np.arange(1500) % 100, np.arange(1500))
    check_promises(frame, splits.split(frame))
    assert {name: round(len(part) / 150) for name, part in splits.split(frame).items()} == {
        "train": 7,
        "validation": 2,
        "test": 1,
    }


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), min_size=60, max_size=250)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 200), st.booleans())
def test_any_rows_are_split_as_promised_or_refused(rows, in_giant_group, are_dealt):
    labels, groups = zip(*rows)
    groups = [999 if place < in_giant_group else group for place, group in enumerate(groups)]
    frame = table(labels, groups)
    with pytest.MonkeyPatch.context() as patch:
        if are_dealt:
            patch.setattr(splits, "MAX_GROUPS", 0)
        try:
            parts = splits.split(frame)
        except InputError:
            return  # too few groups of a class, or one too large: the other tests say when
    check_promises(frame, parts)
    sizes = {name: len(part) / len(frame) for name, part in parts.items()}
    assert sizes["train"] >= 0.5
    assert min(sizes["validation"], sizes["test"]) >= 0.03


def test_a_large_group_is_trained_on_and_a_giant_one_refused(way):
    labels = np.arange(120) % 2
    large = table(labels, np.where(np.arange(120) < 40, 999, np.arange(120)))
    parts = splits.split(large)
    check_promises(large, parts)
    assert parts["train"]["group"].eq("g999").sum() == 40
    giant = table(labels, np.where(np.arange(120) < 96, 999, np.arange(120)))
    with pytest.raises(InputError, match="the largest of 25 groups, 'g999', has 96 of 120 rows"):
        splits.split(giant)


def test_a_class_that_would_miss_a_side_is_named(way):
    groups, labels = np.divmod(np.arange(121), 11)
    lacking = (
        groups == labels
    )  # each of 11 groups lacks another one of 11 classes, and a fold holds one group
    frame = table(labels[~lacking], groups[~lacking])
    with pytest.raises(
        InputError, match=r"no row of 'class \d+' would be for .* largest of 10 groups, 'g\d+', has 1 of"
    ):
        splits.split(frame)


def test_many_rows_take_seconds():
    """Beyond the limit the time grows with the rows; scikit-learn alone would need half a minute here."""
    rng = np.random.default_rng(0)
    frame = table(rng.integers(0, 300, 100_000), np.arange(100_000) // rng.integers(1, 3, 100_000))
    start = time.process_time()
    parts = splits.split(frame)
    assert time.process_time() - start < 6
    check_promises(frame, parts)
    assert [len(part) / 100_000 for part in parts.values()] == pytest.approx([0.7, 0.2, 0.1], abs=0.001)


def test_a_class_without_a_training_row_is_found():
    parts = {"train": table([0, 2], [0, 1]), "test": table([1], [2])}
    assert splits.missing_classes(parts, ("class 0", "class 1", "class 2")) == ["class 1"]


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
