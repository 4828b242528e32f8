"""Training, validation and test rows that share no group, with the same mix of classes (chapters 05, 07)."""

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from helpers.errors import InputError

FOLDS = {"train": range(3, 10), "validation": (1, 2), "test": (0,)}  # of ten: 70, 20 and 10 per cent


def split(frame: pd.DataFrame, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Split rows 70/20/10: no `group` is on two sides, each side has nearly the same shares of each `label`.

    Sentences of one review resemble each other: if some are trained on and others tested on, the test
    flatters the model. One seed always gives the same split.

    Example: `train, validation, test = split(frame).values()`

    Raises InputError: there is only one class, or a class has fewer than ten groups.
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
    folder = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    folds = [test for _, test in folder.split(frame, frame["label"], frame["group"])]
    of = lambda numbers: sorted(row for number in numbers for row in folds[number])
    rows = {name: of(numbers) for name, numbers in FOLDS.items()}
    return {name: frame.iloc[chosen].reset_index(drop=True) for name, chosen in rows.items()}


def subsample(frame: pd.DataFrame, size: int, *, seed: int = 0) -> pd.DataFrame:
    """At most `size` random rows (0 = all); with one seed, a larger size contains the smaller ones."""
    if size == 0 or size >= len(frame):
        return frame
    return frame.sample(len(frame), random_state=seed).head(size).reset_index(drop=True)
