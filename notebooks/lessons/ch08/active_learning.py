"""Which rows should people label next? A loop that asks for the rows a model is least sure of (chapter 08).

Source: Settles, "Active Learning Literature Survey" (2009), section 3.1 (uncertainty sampling).
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score


def least_sure(probabilities, size):
    """Numbers (size,) of the rows of `probabilities` (N, C) with the smallest margin, the smallest first: the
    distance between the two most probable classes.
    """
    ordered = np.sort(probabilities, axis=1)  # (N, C), ascending
    margin = ordered[:, -1] - ordered[:, -2]
    return np.argsort(margin, kind="stable")[:size]


def label_in_rounds(pool, held_out, strategy, seed, start=40, step=20, rounds=6):
    """Begin with a few labels, three of them of the rare class 1, then train, choose, label, and train again.

    Labels of the pool are looked up only for chosen rows, as if a person had given them. All strategies with
    the same seed begin with the same rows.

    Args:
        pool: features (N, D) and classes (N,) of the rows that may be labelled.
        held_out: features and classes of the rows that are scored; never chosen.
        strategy: "random", or anything else for the least sure rows.
        seed: seed of the first rows and of the random choice.
        start, step: rows labelled before the first round, and in each round.
        rounds: number of rounds in which rows are chosen.

    Returns:
        One row per training: `strategy`, `seed`, `labels` (number), `f1` of the rare class on the held-out
            rows, `rare` (how many rows of the rare class were labelled so far).
    """
    (features, targets), draw = pool, np.random.default_rng(seed)
    rare, common = (draw.permutation(np.flatnonzero(targets == kind)) for kind in (1, 0))
    chosen, found = np.concatenate([rare[:3], common[: start - 3]]), []  # three examples are known
    for _ in range(rounds + 1):
        known = targets[chosen]  # the only labels that are looked at
        model = LogisticRegression(class_weight="balanced", max_iter=500).fit(features[chosen], known)
        score = f1_score(held_out[1], model.predict(held_out[0]))
        row = {"strategy": strategy, "seed": seed, "labels": len(chosen), "f1": score}
        found.append(row | {"rare": known.sum()})
        rest = np.setdiff1d(np.arange(len(features)), chosen)
        if strategy == "random":
            following = draw.permutation(len(rest))[:step]
        else:
            following = least_sure(model.predict_proba(features[rest]), step)
        chosen = np.concatenate([chosen, rest[following]])
    return pd.DataFrame(found)
