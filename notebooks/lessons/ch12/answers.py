"""One right answer to each exercise of chapter 12, written as a learner would write it."""


def to_backward(loss_sum, tokens, add_up, processes):
    return loss_sum * processes / add_up(tokens)
