"""The step that the lessons share."""

import torch

from lessons.one_step import take_step


def test_a_step_goes_down_this_gradient_alone():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    weight.grad = torch.tensor([100.0, 100.0])  # left from somewhere else
    loss = take_step((weight**2).sum(), torch.optim.SGD([weight], lr=0.1))
    assert loss.item() == 5.0
    assert not loss.requires_grad
    assert torch.allclose(weight.detach(), torch.tensor([0.8, -1.6]))
