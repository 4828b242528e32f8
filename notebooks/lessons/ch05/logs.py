"""Three training logs for the exercise that diagnoses, made with the chapter's own pictures and a probe."""

import numpy as np
import pandas as pd
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

EPOCHS = 4
FAULTS = ("paired by position", "leak", "random change in validation")


def training_logs(
    features: np.ndarray, labels, groups, moved: np.ndarray, held_out
) -> dict[str, pd.DataFrame]:
    """Three logs, "a", "b" and "c": accuracy per epoch on training rows, on validation rows, on the same
    validation rows measured once more with the same weights, and on rows of another pile.

    Args:
        features: (N, D) of the pictures.
        labels: (N,).
        groups: (N,); near-duplicates share one.
        moved: (2 * EPOCHS, M, D), features of validation pictures, changed at random each time.
        held_out: places of these M pictures.
    """
    features = StandardScaler().fit_transform(features)
    labels, groups = np.asarray(labels), np.asarray(groups)
    order = np.random.default_rng(0).permutation(len(labels))
    new, known = order[:150], order[150:]
    new = new[~np.isin(groups[new], groups[known])]  # another pile: no copy of it is known
    twin = pd.Series(groups[known]).duplicated().to_numpy()
    copies, rest = known[twin], known[~twin]
    by_position = np.asarray(labels)[np.random.default_rng(1).permutation(len(labels))]
    return {
        "a": _log(
            features, labels, rest, new, lambda model, _: model.score(features[copies], labels[copies])
        ),
        "b": _log(
            features,
            labels,
            np.setdiff1d(known, held_out),
            new,
            lambda model, turn: model.score(StandardScaler().fit_transform(moved[turn]), labels[held_out]),
        ),
        "c": _log(
            features,
            by_position,
            rest,
            new,
            lambda model, _: model.score(features[copies], by_position[copies]),
            labels,
        ),
    }


def _log(features, labels, train, new, validate, true=None) -> pd.DataFrame:
    model = SGDClassifier(loss="log_loss", alpha=0.01, random_state=0)
    classes, rows = np.unique(labels), []
    for epoch in range(EPOCHS):
        model.partial_fit(features[train], labels[train], classes)
        rows.append(
            {
                "epoch": epoch + 1,
                "training": model.score(features[train], labels[train]),
                "validation": validate(model, 2 * epoch),
                "once more": validate(model, 2 * epoch + 1),
                "another pile": model.score(features[new], (labels if true is None else true)[new]),
            }
        )
    return pd.DataFrame(rows).set_index("epoch")
