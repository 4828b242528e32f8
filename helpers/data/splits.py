"""Training, validation and test rows that share no group, with the same mix of classes (chapters 05, 07)."""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from helpers.errors import InputError

FOLDS = {"train": range(3, 10), "validation": (1, 2), "test": (0,)}  # of ten: 70, 20 and 10 per cent
FEWEST = {"train": 0.5, "validation": 0.03, "test": 0.03}  # shares of the rows below which a side is no use
# sklearn takes about 8 s for so many groups, and a table of groups by classes; beyond, rows are dealt faster.
# All embedded data lie below, so that results measured on their split stay comparable.
MAX_GROUPS, MAX_CELLS = 24_000, 2_000_000


def split(frame: pd.DataFrame, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Split rows 70/20/10: no `group` is on two sides, each side has nearly the same shares of each `label`.

    Sentences of one review resemble each other: if some are trained on and others tested on, the test
    flatters the model. One seed always gives the same split.

    Example: `train, validation, test = split(frame).values()`

    Raises InputError: there is only one class, a class has fewer than ten groups, or a group is so large that
    a side would be left without enough rows or without a class.
    """
    groups = frame.groupby("label")["group"].nunique()
    if len(groups) < 2:
        found = f"found only {list(groups.index)}; add rows with other labels"
        raise InputError(f"a classifier needs at least 2 classes, {found}")
    if groups.min() < 10:
        raise InputError(
            f"each class needs at least 10 independent rows for a 70/20/10 split, found {groups.min()} for "
            f"{groups.idxmin()!r}; add rows or merge the class with another"
        )
    # Folds are drawn once and never again until a score looks good: a test row decides nothing.
    num_groups = frame["group"].nunique()
    is_small = num_groups <= MAX_GROUPS and num_groups * len(groups) <= MAX_CELLS
    folds = (_stratified_folds if is_small else _dealt_folds)(frame, seed)
    sizes = np.bincount(folds, minlength=10)
    if sizes.max() > 0.15 * len(frame):  # a group that fills more than its fold is for training: last
        folds = sizes.argsort(kind="stable").argsort()[folds]
    parts = {name: frame[np.isin(folds, numbers)].reset_index(drop=True) for name, numbers in FOLDS.items()}
    _check_sides(frame, parts)
    return parts


def _stratified_folds(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """A fold (N,) of ten for each row, by scikit-learn."""
    folds = np.empty(len(frame), dtype=np.int64)
    folder = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    for number, (_, rows) in enumerate(folder.split(frame, frame["label"], frame["group"])):
        folds[rows] = number
    return folds


def _dealt_folds(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """A fold (N,) of ten for each row, in time and memory linear in the rows.

    Groups are dealt one by one, the largest first and equal ones in random order, each to the fold that has
    the smallest shares of the group's classes (and of all rows, so that folds get equally many).
    """
    labels, groups = (pd.factorize(frame[name])[0] for name in ("label", "group"))
    num_classes = labels.max() + 1
    cells, counts = np.unique(groups * num_classes + labels, return_counts=True)  # rows of a class in a group
    starts = np.searchsorted(cells // num_classes, np.arange(groups.max() + 2))
    order = np.random.default_rng(seed).permutation(groups.max() + 1)
    order = order[np.argsort(-np.bincount(groups)[order], kind="stable")]
    # Plain lists: for ten folds they are five times as fast as arrays.
    weights = [*(1.0 / np.bincount(labels) ** 2).tolist(), 1 / len(labels) ** 2]
    loads = [[0] * 10 for _ in weights]  # rows of each class, and last of all classes, in each fold
    classes, counts, starts = (cells % num_classes).tolist(), counts.tolist(), starts.tolist()
    fold_of = np.empty(len(order), dtype=np.int64)
    for group in order.tolist():
        held = slice(starts[group], starts[group + 1])
        added = [*zip(classes[held], counts[held]), (-1, sum(counts[held]))]
        costs = [0] * 10
        for place, count in added:
            weight = weights[place] * count
            costs = [cost + load * weight for cost, load in zip(costs, loads[place])]
        fold = costs.index(min(costs))
        for place, count in added:
            loads[place][fold] += count
        fold_of[group] = fold
    return fold_of[groups]


def _check_sides(frame: pd.DataFrame, parts: dict[str, pd.DataFrame]) -> None:
    """Refuse a split with a side too small, or without a class, because of groups that cannot be divided."""
    classes = set(frame["label"])
    for name, part in parts.items():
        missing = sorted(classes.difference(part["label"]))
        if len(part) >= FEWEST[name] * len(frame) and not missing:
            continue
        rows, what = frame, f"{len(part):,} of {len(frame):,} rows would be for {name}"
        if missing:
            rows, what = frame[frame["label"] == missing[0]], f"no row of {missing[0]!r} would be for {name}"
        sizes = rows["group"].value_counts()
        raise InputError(
            f"the rows cannot be split 70/20/10 without dividing a group: {what}, and the largest of "
            f"{len(sizes):,} groups, {sizes.index[0]!r}, has {sizes.iloc[0]:,} of {len(rows):,} rows; give "
            "independent rows groups of their own, choose another group column, or none"
        )


def missing_classes(parts: dict[str, pd.DataFrame], classes) -> list[str]:
    """The classes without a training row: `subsample` may leave none of a class."""
    return sorted(set(classes).difference(parts["train"]["label"]))


def subsample(frame: pd.DataFrame, size: int, *, seed: int = 0) -> pd.DataFrame:
    """At most `size` random rows (0 = all); with one seed, a larger size contains the smaller ones."""
    if size == 0 or size >= len(frame):
        return frame
    return frame.sample(len(frame), random_state=seed).head(size).reset_index(drop=True)
