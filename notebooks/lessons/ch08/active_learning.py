"""Which rows should people label next? A loop that asks for the rows a model is least sure of (chapter 08).

Source: Settles, "Active Learning Literature Survey" (2009), section 3.1 (uncertainty sampling).
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from helpers.errors import InputError
from helpers.training.metrics import macro_f1

SELECTIONS = ("random", "margin", "least confident")


def least_sure(probabilities: np.ndarray, size: int, strategy: str, rng: np.random.Generator) -> np.ndarray:
    """Which rows to label next.

    Args:
        probabilities: float (N, C) of rows without labels.
        size: number of rows to choose; at most N are returned.
        strategy: "margin" takes the smallest distance between the two most probable classes, "least
            confident" the smallest highest probability, "random" any rows.
        rng: generator of the random choice.

    Returns:
        Row numbers (size,), the least sure first.

    Raises:
        InputError: another strategy.
    """
    if strategy not in SELECTIONS:
        raise InputError(f"the strategy must be one of {', '.join(SELECTIONS)}, found {strategy!r}")
    if strategy == "random":
        return rng.permutation(len(probabilities))[:size]
    ordered = np.sort(probabilities, axis=1)  # (N, C), ascending
    sureness = ordered[:, -1] - ordered[:, -2] if strategy == "margin" else ordered[:, -1]
    return np.argsort(sureness, kind="stable")[:size]


def label_in_rounds(
    pool: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    strategy: str,
    *,
    seed: int = 0,
    start: int = 60,
    step: int = 60,
    rounds: int = 6,
) -> pd.DataFrame:
    """Begin with a few random labels, then train, choose, label, and train again.

    Labels of the pool are looked up only for chosen rows, as if a person had given them. All strategies with
    the same seed begin with the same rows.

    Args:
        pool: features (N, D) and class indices (N,) of the rows that may be labelled.
        held_out: features and class indices of the rows that are scored; never chosen.
        strategy: see `least_sure`.
        seed: seed of the first rows and of the random choice.
        start, step: rows labelled before the first round, and in each round.
        rounds: number of rounds in which rows are chosen.

    Returns:
        One row per training, fewer when the pool is used up: `strategy`, `seed`, `labels` (number),
            `macro_f1`, `rarest_share` (of the class that is rarest among the rows labelled so far).
    """
    (features, targets), (held_features, held_targets) = pool, held_out
    rng = np.random.default_rng(seed)
    labelled = rng.permutation(len(features))[:start]
    num_classes = int(targets.max()) + 1
    found = []
    for _ in range(rounds + 1):
        model = LogisticRegression(C=1.0, max_iter=2000).fit(features[labelled], targets[labelled])
        score = macro_f1(held_targets, model.predict(held_features), num_classes)
        rarest = np.bincount(targets[labelled], minlength=num_classes).min() / len(labelled)
        found.append(
            {
                "strategy": strategy,
                "seed": seed,
                "labels": len(labelled),
                "macro_f1": score,
                "rarest_share": rarest,
            }
        )
        rest = np.setdiff1d(np.arange(len(features)), labelled)
        if not len(rest):
            break
        chosen = least_sure(model.predict_proba(features[rest]), step, strategy, rng)
        labelled = np.concatenate([labelled, rest[chosen]])
    return pd.DataFrame(found)
