"""Labels that deserve a second look, how good a detector is, and how far raters agree (chapter 05)."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.errors import InputError


@torch.inference_mode()
def text_features(texts: list[str], tokenizer, encoder) -> np.ndarray:
    """Float32 (N, D): the mean of an encoder's last layer over the tokens of each text, padding left out."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # similar lengths: less padding
    found = torch.empty(len(texts), encoder.config.hidden_size)
    for start in range(0, len(texts), 64):
        places = order[start : start + 64]
        part = [texts[place] for place in places]
        batch = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")
        batch = batch.to(encoder.device)
        states = encoder(**batch).last_hidden_state  # (B, L, D)
        mask = batch["attention_mask"][..., None]  # (B, L, 1), 1 = a real token
        found[places] = ((states * mask).sum(1) / mask.sum(1)).cpu()
    return found.numpy()


def out_of_fold(features: np.ndarray, labels) -> np.ndarray:
    """(N,): how probable each label is to a model that never saw the row; features are (N, D)."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    p = cross_val_predict(probe, features, labels, cv=folds, method="predict_proba")  # (N, C)
    return p[np.arange(len(p)), np.unique(labels, return_inverse=True)[1]]


def precision_at(count: int, probability: np.ndarray, is_wrong: np.ndarray) -> float:
    """The share of wrong labels among the `count` most improbable ones: what a person finds."""
    return float(is_wrong[np.argsort(probability)[:count]].mean())


def precision_recall(found: Iterable, planted: Iterable) -> dict[str, float]:
    """Precision: the share of `found` that was planted. Recall: the share of `planted` that was found."""
    found, planted = set(found), set(planted)
    right = len(found & planted)
    return {
        "found": len(found),
        "planted": len(planted),
        "precision": right / len(found) if found else 1.0,
        "recall": right / len(planted) if planted else 1.0,
    }


def krippendorff_alpha(ratings: Iterable[Sequence[float]], *, nominal: bool = False) -> float:
    """How far raters agree beyond chance: 1 = always, 0 = as chance would, below 0 = less.

    Args:
        ratings: for each item the values its raters gave, in any order; items with fewer than two say nothing
            and are left out.
        nominal: True counts two different values as different, however near; False weighs a pair by its
            squared distance.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    pairs_within, everyone = 0.0, Counter()
    for item in ratings:
        if len(item) < 2:
            continue
        counts = Counter(item)
        pairs_within += _disagreement(counts, nominal) / (len(item) - 1)
        everyone.update(counts)
    total = sum(everyone.values())
    if len(everyone) < 2:
        raise InputError(
            "alpha needs items with at least two ratings and at least two different values; all ratings are "
            "equal or alone"
        )
    return 1 - (total - 1) * pairs_within / _disagreement(everyone, nominal)


def _disagreement(counts: Counter, nominal: bool) -> float:
    """Summed over all ordered pairs of ratings: 1 for a different value, or the squared distance."""
    values, sizes = np.array(list(counts), dtype=float), np.array(list(counts.values()), dtype=float)
    distance = (values[:, None] - values[None]) ** 2
    return float(sizes @ ((distance > 0) if nominal else distance) @ sizes)
