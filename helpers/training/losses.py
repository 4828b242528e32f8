"""What a task is, as the training loop sees it: the sum of a loss, and what it is a sum of (chapter 03).

The loop divides the sum once, by the items of all batches and all processes of a step. So a loss never takes
a mean.
"""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from helpers.data.chat import IGNORED
from helpers.models.forward import forward, writes


class Loss(Protocol):
    """What `fit` needs to know of a task."""

    def items(self, batch: dict[str, torch.Tensor]) -> int:
        """How many items the loss of `batch` is a sum over: rows, or tokens that have a label."""

    def __call__(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The summed loss () of `batch`; the call of the model happens in here."""


class RowLoss:
    """A loss of the logits (B, C) of rows, which are its items; make your own by another `of_logits`."""

    def items(self, batch):
        return len(batch["indices"])

    def __call__(self, model, batch):
        return self.of_logits(forward(model, batch).float(), batch)


class Classification(RowLoss):
    """Cross-entropy (nats) of the classes.

    Targets are `batch["targets"]` (B, C), shares of the classes, where a batch has them (mixup); else the
    rows' `distributions`, where they are given; else `batch["labels"]` (B,).

    Example: `loss = Classification(label_smoothing=0.1); mean = loss(model, batch) / loss.items(batch)`

    Args:
        label_smoothing: share of each target's probability that is spread over all classes.
        distributions: class shares (N, C) of the dataset's N rows, found by `batch["indices"]`.
    """

    def __init__(self, label_smoothing: float = 0.0, distributions: torch.Tensor | None = None):
        self.label_smoothing, self.distributions = label_smoothing, distributions

    def of_logits(self, logits, batch):
        targets = batch.get("targets", batch.get("labels"))
        if self.distributions is not None:
            targets = self.distributions.to(logits.device)[batch["indices"]]
        return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=self.label_smoothing)


class CausalLM:
    """Cross-entropy (nats) of every next token that has a label; the items are those tokens, not the rows.

    A batch holds `input_ids` and `labels`, int64 (B, L), and `attention_mask` or `position_ids`. Labels stand
    at their own token's place and are shifted here, once: position t predicts token t + 1. A label of -100 is
    left out, and its position never meets the last layer, the widest of all.

    Example: `perplexity = math.exp(loss(model, batch) / loss.items(batch))`
    """

    def items(self, batch):
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def __call__(self, model, batch):
        labels = batch["labels"][:, 1:]  # (B, L - 1)
        chosen = labels != IGNORED
        logits = _logits_at(chosen, model, batch).float()  # (N, V) of the N positions that have a label
        return self.of_logits(logits, labels[chosen], batch)

    def of_logits(self, logits, labels, batch):
        """The sum () over the N positions; make your own by another one."""
        return F.cross_entropy(logits, labels, reduction="sum")


class Preference:
    """Direct preference optimization: of two answers to a prompt the chosen one becomes the more likely one.

    A pair's loss is -log sigmoid(beta * margin), in nats. The margin says how much further the policy moved
    towards the chosen answer than towards the rejected one: the change of a log-probability is what the model
    says minus the reference, what it said before the training.

    A batch holds `input_ids`, `attention_mask` and `labels`, int64 (B, 2, L), of chosen (0) and rejected (1)
    answers, and `reference` float32 (B, 2); see `data.pairs`. The items are the B pairs.

    Example: `loss = Preference(beta=0.1); mean = loss(model, batch) / loss.items(batch)`

    Args:
        beta: above 0. A small one lets the model go far from the reference, a large one keeps it near.

    Source: Rafailov et al., "Direct Preference Optimization" (2023), equation 7. Chapter 11.
    """

    def __init__(self, beta: float = 0.1):
        self.beta = beta

    def items(self, batch):
        return len(batch["indices"])

    def __call__(self, model, batch):
        changes = pair_log_probabilities(model, batch) - batch["reference"]  # (B, 2)
        return self.of_margins(changes[:, 0] - changes[:, 1])

    def of_margins(self, margins):
        """The sum () over the margins (B,); make your own by another one."""
        return -F.logsigmoid(self.beta * margins).sum()


def pair_log_probabilities(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """`answer_log_probabilities` (B, 2) of the chosen and the rejected answers of a batch of pairs."""
    rows = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask", "labels")}
    return answer_log_probabilities(model, rows).unflatten(0, (-1, 2))


def answer_log_probabilities(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Log-probabilities (N,) (nats, float32) of the rows' answers: sums over the tokens that have a label.

    A batch is that of `CausalLM`, in rows (N, L).
    """
    labels = batch["labels"][:, 1:]  # (N, L - 1)
    chosen = labels != IGNORED
    logits = _logits_at(chosen, model, batch).float()
    each = -F.cross_entropy(logits, labels[chosen], reduction="none")  # of every token with a label
    return torch.zeros(labels.shape, device=each.device).masked_scatter(chosen, each).sum(1)


def _logits_at(chosen: torch.Tensor, model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (N, V) at the positions `chosen` (B, L - 1) alone, where the model says which layer is its last.

    By a hook, because the call must be that of the whole model: the wrappers of several processes watch it.
    """
    inner = getattr(model, "module", model)
    if not writes(inner):
        return _read(model, batch)[:, :-1][chosen]
    cut = lambda _, inputs: (inputs[0][:, :-1][chosen],)  # hidden vectors (B, L, D) to (N, D)
    hook = inner.get_output_embeddings().register_forward_pre_hook(cut)
    try:
        return _read(model, batch)
    finally:
        hook.remove()


def _read(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of padded rows, or of packed ones: their mask is made of positions, but not beside a cache."""
    if "position_ids" not in batch:
        return forward(model, batch)
    packed = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
    return model(**packed, use_cache=False).logits
