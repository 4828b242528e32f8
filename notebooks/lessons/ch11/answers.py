"""One right answer to each exercise of chapter 11, written as a learner would write it."""

import numpy as np
from torch.nn import functional as F


def log_probabilities(logits, labels):
    labels = labels[:, 1:]  # the logits at t are about token t + 1
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels, ignore_index=-100, reduction="none")
    return -each.sum(1)


def pair_loss(log_p, reference, beta):
    changes = log_p - reference
    return -F.logsigmoid(beta * (changes[:, 0] - changes[:, 1])).mean()


def three_curves():
    # a never leaves log 2: both sides of the difference are the same; b learns the opposite; c falls apart.
    return {"a": "moving reference", "b": "swapped", "c": "rate too high"}


def buying():
    # Three raters who all agree: a third of the clicks' comments, and few mistakes among those that are left.
    return {"raters": 3, "agree": 1.0}


def audit(reward, rows, answers):
    earned = {answer: float(np.mean([reward(answer, label) for label in rows])) for answer in answers}
    best = max(earned, key=earned.get)
    return best, earned[best]


def partial_credit(answer, label):
    words = ["negative", "neutral", "positive"]
    if answer not in words:
        return 0.0
    return {0: 1.0, 1: 0.2, 2: 0.0}[abs(words.index(answer) - words.index(label))]
