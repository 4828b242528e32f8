"""A head on a frozen body, whose features of an input never change: compute them once (chapters 04, 06)."""

import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.forward import forward
from helpers.tuning.layers import layer_groups


def single_head(model: nn.Module) -> nn.Linear | None:
    """The model's head, where it is one linear layer on one vector of features for each row; else None."""
    try:
        head = layer_groups(model)[-1][1]
    except InputError:
        return None
    if hasattr(model, "base_model"):  # of transformers: the one layer of a decoder's head sees every token
        return None
    return head[0] if len(head) == 1 and isinstance(head[0], nn.Linear) else None


def head_inputs(model: nn.Module, batch: dict[str, torch.Tensor], head: nn.Linear) -> torch.Tensor:
    """Features (B, D) the body hands to `head`; `partial(head_inputs, head=head)` suits `predict_logits`."""
    caught = []
    handle = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    try:
        forward(model, batch)
    finally:
        handle.remove()
    return caught[0]
