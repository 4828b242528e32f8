"""Bytes that autograd keeps: each storage once, the model's own left out."""

import torch

from lessons.kept_tensors import kept_bytes


def test_views_count_once_and_own_tensors_not_at_all():
    weight, inputs = torch.ones(20, 30, requires_grad=True), torch.ones(8, 20)
    product = lambda: (inputs.view(2, 4, 20).reshape(8, 20) @ weight).sum()
    assert kept_bytes(product, [weight]) == 4 * 8 * 20  # the inputs, for the weight's gradient
    assert kept_bytes(product, [weight, inputs]) == 0
    assert kept_bytes(lambda: (inputs @ weight) * (inputs @ weight), [weight]) == 4 * (8 * 20 + 2 * 8 * 30)


def test_what_is_freed_in_between_counts_too():
    def three_graphs():
        for _ in range(3):
            torch.ones(1000, requires_grad=True).exp()  # gone before the next begins

    assert kept_bytes(three_graphs, []) == 3 * 4000
