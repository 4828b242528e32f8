"""A small network learns from the answers of a large one (chapter 08).

Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), arXiv:1503.02531.
"""

import torch
from torch.nn import functional as F

from helpers.errors import InputError
from helpers.training.losses import RowLoss


class Distillation(RowLoss):
    """A loss for `fit`: how far the student's softened probabilities are from the teacher's.

    Dividing both sides' logits by a temperature above 1 makes the small probabilities count: they say which
    wrong answers the teacher finds nearly right. The factor temperature² keeps the gradients as large as
    without it. The sum over the rows of temperature² x KL divergence (nats).

    Args:
        teacher_logits: float (N, C) of the dataset's rows, found by `batch["indices"]`.
        temperature: above 0.

    Raises:
        InputError: the temperature is not above 0.
    """

    def __init__(self, teacher_logits: torch.Tensor, temperature: float = 2.0):
        if temperature <= 0:
            raise InputError(f"the temperature must be above 0, found {temperature}")
        self.temperature = temperature
        self.soft = F.log_softmax(teacher_logits.float() / temperature, dim=-1)  # (N, C)

    def of_logits(self, logits, batch):
        student = F.log_softmax(logits / self.temperature, dim=-1)  # (B, C)
        rows = self.soft.to(student.device)[batch["indices"]]
        return self.temperature**2 * F.kl_div(student, rows, reduction="sum", log_target=True)
