"""One right answer to each exercise of chapter 00, written as a learner would write it."""

import numpy as np


def three_runs():
    return {"a": "steps too large", "b": "learnt by heart", "c": "wrong names"}


def limit():
    return 0.85  # a little above the smallest limit that keeps the promise on the comments shown


def answers(logits, names):
    logits = np.array(logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))  # the largest becomes exp(0): no overflow
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return [(names[row.argmax()], row.max()) for row in probabilities]
