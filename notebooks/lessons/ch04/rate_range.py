"""The learning-rate range test: raise the rate at every step, see where the loss falls and where it breaks
(chapter 04).

It is `fit` with another schedule, an end of its own, and the old weights put back.
Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2015), section 3.3.
"""

import contextlib
import math
from dataclasses import replace

import pandas as pd
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from helpers.errors import InputError
from helpers.safety.finite import NotFinite
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime


def learning_rate_range_test(
    model: nn.Module,
    train_loader: DataLoader,
    config: TrainingConfig,
    *,
    lowest: float = 1e-6,
    highest: float = 1e-1,
    num_steps: int = 60,
    runtime: Runtime | None = None,
) -> pd.DataFrame:
    """Train for a few steps, each at a rate a little higher than the last, and undo it: the weights are as
    before.

    Args:
        model, train_loader, runtime: as for `fit`.
        config: numbers of the training to come; its learning rate and its schedule are not used.
        lowest, highest: first and last learning rate of the head, a constant factor apart from step to step.
        num_steps: optimizer steps; fewer when the loss has risen to four times its lowest value, or before it
            is no number.

    Returns:
        `learning_rate`, `loss` (of the batch, before the step) and `smoothed` (running mean of about seven
        steps), one row for each step.

    Raises:
        InputError: the rates are not in order, or there are too few steps.
    """
    if not 0 < lowest < highest or num_steps < 10:
        found = f"{lowest}, {highest} and {num_steps}"
        raise InputError(f"expected 0 < lowest < highest and at least 10 steps, found {found}")
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    config = replace(config, learning_rate=highest, max_steps=num_steps, accumulation_steps=1)
    options = {
        "loss": Classification(config.label_smoothing),
        "runtime": runtime or Runtime(model, config.precision),
    }

    def rising(optimizer, steps: int) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: (lowest / highest) ** (1 - step / (steps - 1)))

    rows, smoothed = [], math.nan
    with contextlib.suppress(NotFinite):  # as good an end as a loss that has risen
        for step in fit(model, train_loader, config, score=_unjudged, schedule=rising, **options):
            smoothed = step.train_loss if not rows else 0.75 * smoothed + 0.25 * step.train_loss
            rows.append({"learning_rate": step.learning_rate, "loss": step.train_loss, "smoothed": smoothed})
            if not math.isfinite(smoothed) or smoothed > 4 * min(row["smoothed"] for row in rows):
                break
    model.load_state_dict(before)
    return pd.DataFrame(rows)


def _unjudged(model: nn.Module) -> dict[str, float]:
    """No evaluation: the losses of the steps are all that counts."""
    return {"macro_f1": 0.0}


def suggested_rate(result: pd.DataFrame) -> float:
    """A tenth of the rate at which the smoothed loss was lowest: well before it breaks. A start, not an
    optimum.
    """
    return float(result["learning_rate"][result["smoothed"].idxmin()] / 10)
