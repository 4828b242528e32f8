"""The three lines of every training step, for small trainings (chapter 03 writes them by hand)."""

import torch


def take_step(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """One optimizer step down the gradient of `loss` (); returns the loss without its graph.

    Example: `losses.append(take_step(F.cross_entropy(model(images), labels), optimizer).item())`
    """
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
