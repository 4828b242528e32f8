"""One right answer to each exercise of chapter 00, written as a learner would write it."""

import numpy as np


def fixed_answer(labels):
    most = max(labels.count(name) for name in labels)
    return most / len(labels)


def mean_error(probabilities):
    return -np.log(probabilities).mean()


def name(probabilities, names):
    return [names[row.index(max(row))] for row in probabilities]
