"""Grad-CAM on a network whose answer is known, and on the pretrained one; peaks and covered squares."""

import pytest
import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from lessons.ch06.gradcam import cells, centre_cell, covered, enlarge, grad_cam, occlusion


class Corners(nn.Module):
    """Class 0 is the first channel's mean, class 1 the second's: each class has its own places."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 1, bias=False)
        self.layer.weight.data = torch.eye(2)[:, :, None, None]

    def forward(self, images):
        return self.layer(images).mean((2, 3))


def test_the_map_shows_where_the_class_is():
    image = torch.zeros(1, 2, 4, 4)
    image[0, 0, 0, 1], image[0, 1, 3, 2] = 5.0, 3.0
    model = Corners()
    for label, place in ((0, [0, 1]), (1, [3, 2])):
        found = grad_cam(model, model.layer, image, torch.tensor([label]))
        assert found.shape == (1, 4, 4)
        assert found[0].argmax().item() == place[0] * 4 + place[1]
        assert (found > 0).sum() == 1


def test_what_speaks_against_is_left_out():
    model = Corners()
    image = -torch.ones(1, 2, 4, 4)  # the activations are negative, so nothing speaks for a class
    assert (grad_cam(model, model.layer, image, torch.tensor([0])) == 0).all()


def test_pictures_do_not_influence_each_other():
    torch.manual_seed(0)
    model = image_classifier(classes=("a", "b"), image_size=32).model
    images, classes = torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 1])
    together = grad_cam(model, model.blocks[4], images, classes)
    alone = torch.cat(
        [grad_cam(model, model.blocks[4], images[i : i + 1], classes[i : i + 1]) for i in range(3)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-3)
    assert not any(parameter.grad is not None for parameter in model.parameters()), (
        "explaining must leave no gradient behind"
    )
    assert not model.blocks[4]._forward_hooks


def test_enlarge_scales_each_map_and_keeps_zeros():
    maps = torch.stack([torch.eye(3) * 7, torch.zeros(3, 3)])
    large = enlarge(maps, 12)
    assert large.shape == (2, 12, 12)
    assert large[0].max() == 1
    assert (large[1] == 0).all()


def test_covered_fills_the_square_and_nothing_else():
    images = torch.ones(2, 3, 10, 10)
    images[0, :, 9, 9] = -1.0  # the darkest value of each channel
    result = covered(images, torch.tensor([[2, 3], [0, 0]]), 4)
    changed = (result != images).any(1)
    assert changed[0].nonzero().min(0).values.tolist() == [0, 1]
    assert changed[0].nonzero().max(0).values.tolist() == [4, 5]
    assert changed[1].nonzero().max(0).values.tolist() == [2, 2]  # cut off at the edge
    assert (result[changed[:, None].expand_as(result)] == -1).all()


def test_cells_are_the_middles_of_a_grid():
    assert cells(2, 8).tolist() == [[2, 2], [2, 6], [6, 2], [6, 6]]


def test_the_centre_cell_covers_the_middle_and_needs_an_odd_grid():
    assert cells(5, 100)[centre_cell(5)].tolist() == [50, 50]
    assert cells(3, 9)[centre_cell(3)].tolist() == [4, 4]
    with pytest.raises(InputError, match="only an odd grid has a centre cell, found 6"):
        centre_cell(6)


def test_occlusion_finds_the_place_that_decides():
    images = torch.zeros(2, 2, 6, 6)
    images[0, 0, 1, 1], images[1, 1, 5, 1] = 40.0, 40.0
    falls = occlusion(Corners(), images, torch.tensor([0, 1]), grid=3, share=0.2)
    assert falls.shape == (2, 9)
    assert falls.argmax(1).tolist() == [0, 6]
    assert (falls.sort(1).values[:, :-1].abs() < 1e-6).all(), "empty places change nothing"
