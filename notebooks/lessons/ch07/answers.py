"""One right answer to each exercise of chapter 07, written as a learner would write it."""

import numpy as np

from helpers.training.metrics import macro_f1


def soft_targets(ratings):
    ratings = np.array(ratings)
    shares = np.array([(ratings <= -1).mean(), (ratings == 0).mean(), (ratings >= 1).mean()])
    mean = ratings.mean()
    label = np.array([mean <= -0.5, -0.5 < mean < 0.5, mean >= 0.5])
    return (shares + label) / 2


def paired_interval(targets, first, second, groups):
    rng = np.random.default_rng(0)
    rows_of = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    differences = []
    for _ in range(500):
        rows = np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])
        differences.append(macro_f1(targets[rows], first[rows], 3) - macro_f1(targets[rows], second[rows], 3))
    return np.percentile(differences, [2.5, 97.5])


def threshold(confidence, correct, wanted):
    order = np.argsort(-confidence)
    accuracy = correct[order].cumsum() / np.arange(1, len(correct) + 1)
    enough = np.flatnonzero(accuracy >= wanted)
    return confidence[order][enough[-1]] if len(enough) else np.inf
