"""The rows of a run after reading and splitting: what all tasks know of them, and say (chapter 07)."""

import pandas as pd

from helpers.errors import InputError


class SplitRows:
    """What is known of rows that are ready for training, by their `splits` "train", "validation", "test"."""

    splits: dict[str, pd.DataFrame]

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split that are used."""
        return {name: len(part) for name, part in self.splits.items()}

    @property
    def traced(self) -> dict[str, pd.DataFrame]:
        """By what a run folder knows the splits again."""
        return self.splits

    @property
    def ids(self) -> list[str]:
        """Of the training rows, by their index."""
        return self.splits["train"]["id"].tolist()


def emptied_classes(read: set[str], cleaned: pd.DataFrame, counts: dict[str, int]) -> list[str]:
    """A sentence on classes that have no row after cleaning, if there are any.

    Raises InputError: fewer than two are left.
    """
    gone = sorted(read - set(cleaned["label"]))
    if not gone:
        return []
    named = ", ".join(map(repr, gone[:5])) + (", ..." if len(gone) > 5 else "")
    lost = f"cleaning left no row of the classes {named} ({counted(counts)})"
    if len(read) - len(gone) < 2 <= len(read):
        raise InputError(f"{lost}; look for copies under several labels")
    return [lost]


def counted(counts: dict[str, int]) -> str:
    """Counts in words, without those that are 0."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
