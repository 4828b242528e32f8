"""Training, validation and test rows that share no group, with the classes in equal shares (chapters 05 and
07).
"""

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from helpers.errors import InputError

FOLDS = {"test": (0,), "validation": (1, 2), "train": tuple(range(3, 10))}  # of ten: 10, 20 and 70 per cent


def split(frame: pd.DataFrame, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Split rows 70/20/10 so that no `group` is on two sides and each side has the classes in nearly equal
    shares.

    Sentences of one review resemble each other: if some are trained on and others tested on, the test
    flatters the model.

    Args:
        frame: rows with `label` and `group`.
        seed: another seed gives another split; the same seed always gives the same one.

    Returns:
        {"train": ..., "validation": ..., "test": ...}, each with a fresh index.

    Raises:
        InputError: there is only one class, or a class has fewer than ten groups.
    """
    groups_per_class = frame.groupby("label")["group"].nunique()
    if len(groups_per_class) < 2:
        raise InputError(
            f"a classifier needs at least 2 classes, found only {list(groups_per_class.index)}; add rows "
            "with other labels"
        )
    if (smallest := groups_per_class.min()) < 10:
        raise InputError(
            f"each class needs at least 10 independent rows for a 70/20/10 split, found {smallest} for "
            f"{groups_per_class.idxmin()!r}; add rows or merge the class with another"
        )
    # A test row decides nothing but the final figure, so folds are drawn once, never re-drawn until a score
    # looks good.
    folder = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    folds = [test for _, test in folder.split(frame, frame["label"], frame["group"])]
    return {
        name: frame.iloc[sorted(row for fold in FOLDS[name] for row in folds[fold])].reset_index(drop=True)
        for name in ("train", "validation", "test")
    }


def subsample(frame: pd.DataFrame, size: int, *, seed: int = 0) -> pd.DataFrame:
    """At most `size` random rows (0 = all), in a fixed order for each seed: a larger size contains the
    smaller ones.
    """
    return (
        frame
        if size == 0 or size >= len(frame)
        else frame.sample(len(frame), random_state=seed).head(size).reset_index(drop=True)
    )
