"""Distillation: the loss is that of its formula, and a student comes to agree with its teacher without seeing
a label.
"""

import json

import pytest
import torch

from helpers.errors import InputError
from helpers.files import ROOT
from lessons.ch08.distillation import Distillation

TEACHER = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, 0.0], [-1.0, 0.5, 0.4]])


def test_zero_for_the_teachers_own_logits_and_for_shifted_ones():
    batch = {"indices": torch.tensor([2, 0])}
    for temperature in (0.5, 1.0, 4.0):
        loss = Distillation(TEACHER, temperature).of_logits
        assert loss(TEACHER[[2, 0]], batch).item() == pytest.approx(0, abs=1e-6)
        assert loss(TEACHER[[2, 0]] + 7, batch).item() == pytest.approx(0, abs=1e-5)
        assert loss(TEACHER[[0, 2]], batch) > 0.01, "the rows must be found by their indices"


def test_the_formula():
    student, temperature = torch.tensor([[0.3, -0.2, 0.9]]), 3.0
    p, q = (TEACHER[1] / temperature).softmax(-1), (student[0] / temperature).softmax(-1)
    expected = 9 * (p * (p / q).log()).sum()
    assert Distillation(TEACHER, temperature).of_logits(
        student, {"indices": torch.tensor([1])}
    ).item() == pytest.approx(expected.item(), rel=1e-5)


def test_temperature_one_has_the_gradient_of_soft_cross_entropy():
    student = torch.tensor([[0.3, -0.2, 0.9]], requires_grad=True)
    Distillation(TEACHER, 1.0).of_logits(student, {"indices": torch.tensor([0])}).backward()
    assert torch.allclose(student.grad, student.detach().softmax(-1) - TEACHER[:1].softmax(-1), atol=1e-6)


def test_gradients_stay_of_one_size_when_the_temperature_rises():
    norms = []
    for temperature in (5.0, 20.0):
        student = torch.zeros(1, 3, requires_grad=True)
        Distillation(TEACHER, temperature).of_logits(student, {"indices": torch.tensor([0])}).backward()
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.2)


def test_a_student_agrees_with_its_teacher_in_the_end():
    torch.manual_seed(0)
    student = torch.nn.Embedding(3, 3)  # one row of logits per comment
    optimizer, loss, rows = (
        torch.optim.Adam(student.parameters(), lr=0.1),
        Distillation(TEACHER).of_logits,
        torch.arange(3),
    )
    for _ in range(150):
        optimizer.zero_grad()
        loss(student(rows), {"indices": rows}).backward()
        optimizer.step()
    assert torch.allclose(student(rows).softmax(-1), TEACHER.softmax(-1), atol=0.02)


def test_the_chapter_writes_the_same_loss_as_a_mean():
    book = json.loads((ROOT / "notebooks" / "08_outlook.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    (written,) = [source for source in sources if source.startswith("def distillation_loss")]
    names = {"F": torch.nn.functional}
    exec(written, names)
    student, rows = torch.tensor([[0.3, -0.2, 0.9], [1.0, 0.0, 0.5]]), torch.tensor([2, 0])
    for temperature in (1.0, 3.0):
        total = Distillation(TEACHER, temperature).of_logits(student, {"indices": rows})
        mean = names["distillation_loss"](student, TEACHER[rows], temperature)
        assert mean.item() == pytest.approx(total.item() / 2, rel=1e-5)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="temperature"):
        Distillation(TEACHER, 0.0)
