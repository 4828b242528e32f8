"""The learning-rate range test: raise the rate at every step, and see where the loss falls and where it
breaks (chapter 04).

Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2015), section 3.3.
"""

import itertools
import math

import pandas as pd
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from helpers import environment
from helpers.data.loaders import set_epoch
from helpers.errors import InputError
from helpers.training.config import TrainingConfig
from helpers.training.loop import backward, check_loader, cross_entropy, make_accelerator, step_seed, wrap
from helpers.tuning.freezing import apply_strategy, train_mode
from helpers.tuning.optimization import make_optimizer, parameter_groups


def learning_rate_range_test(
    model: nn.Module,
    train_loader: DataLoader,
    config: TrainingConfig,
    *,
    lowest: float = 1e-6,
    highest: float = 1e-1,
    num_steps: int = 60,
    accelerator: Accelerator | None = None,
) -> pd.DataFrame:
    """Train for a few steps, each at a rate a little higher than the last, and undo it: the model's weights
    are as before.

    Args:
        model, train_loader, accelerator: as for `fit`.
        config: optimizer, strategy, decays, smoothing and seed are those of the training to come; its
            learning rate is not used.
        lowest, highest: first and last learning rate (of the head), a constant factor apart from step to
            step.
        num_steps: optimizer steps; fewer when the loss has risen to four times its lowest value, or is no
            number any more.

    Returns:
        `learning_rate`, `loss` (of the batch, before the step) and `smoothed` (running mean of about seven
        steps), one row per step.

    Raises:
        InputError: the rates are not in order, or there are too few steps.
    """
    if not 0 < lowest < highest or num_steps < 10:
        raise InputError(
            f"expected 0 < lowest < highest and at least 10 steps, found {lowest}, {highest} and {num_steps}"
        )
    accelerator = accelerator or make_accelerator(model, config.precision)
    check_loader(train_loader, accelerator)
    model.to(accelerator.device)
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    groups = parameter_groups(
        model, highest, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    optimizer = make_optimizer(config.optimizer, groups)
    full_rates = [group["lr"] for group in optimizer.param_groups]
    apply_strategy(model, config.strategy, 0, config.epochs)
    train_mode(model)
    wrapped = wrap(model, accelerator)
    rows, smoothed = [], math.nan
    for step, batch in enumerate(itertools.islice(_endless(train_loader), num_steps)):
        factor = (lowest / highest) ** (1 - step / (num_steps - 1))
        for group, rate in zip(optimizer.param_groups, full_rates):
            group["lr"] = rate * factor
        environment.seed_everything(step_seed(config.seed, step, accelerator.process_index))
        loss = backward(wrapped, [batch], cross_entropy(config.label_smoothing), accelerator)
        smoothed = loss if step == 0 else 0.75 * smoothed + 0.25 * loss
        rows.append({"learning_rate": highest * factor, "loss": loss, "smoothed": smoothed})
        if not math.isfinite(loss) or smoothed > 4 * min(row["smoothed"] for row in rows):
            break
        accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    model.load_state_dict(before)
    optimizer.zero_grad()
    return pd.DataFrame(rows)


def suggested_rate(result: pd.DataFrame) -> float:
    """A tenth of the rate at which the smoothed loss was lowest: well before it breaks. A starting point, not
    an optimum.
    """
    return float(result["learning_rate"][result["smoothed"].idxmin()] / 10)


def _endless(loader: DataLoader):
    for epoch in itertools.count():
        set_epoch(loader, epoch)
        yield from loader
