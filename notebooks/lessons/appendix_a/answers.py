"""One right answer to each exercise of appendix A, written as a learner would write it."""

import numpy as np
import pandas as pd


def blend(first, second):
    wide = first.astype(np.uint16) + second
    return (wide // 2).astype(np.uint8)


def read_votes(file):
    return pd.read_csv(file, dtype={"id": "string"})


def new_enough(found, least):
    from packaging.version import Version

    return Version(found) >= Version(least)
