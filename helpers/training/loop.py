"""The training loop: fit and evaluate, on a CPU, a GPU or several processes (chapter 03 writes it by hand).

The loop does not know what a row is (`losses` does), nor where it runs (`runtime` does). It neither prints
nor plots: it yields one `Step` per optimizer step, and the caller decides what to show.
"""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from helpers.data.loaders import set_epoch
from helpers.errors import InputError, Interrupted
from helpers.models.forward import forward
from helpers.safety.finite import NotFinite, Watch
from helpers.safety.memory import by_halves, fewer_rows, in_rows, num_rows
from helpers.training.checkpoints import Keeper
from helpers.training.feeding import check_loader, with_place
from helpers.training.losses import Classification, Loss
from helpers.training.metrics import classification_metrics
from helpers.training.progress import Progress, Step, planned_steps
from helpers.training.recomputing import recompute
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import (
    apply_strategy,
    begin_strategy,
    end_strategy,
    evaluating,
    num_trainable,
    train_mode,
)
from helpers.tuning.optimization import make_optimizer, make_schedule, parameter_groups


def fit(
    model: nn.Module, loader, config, *, loss: Loss, score, runtime: Runtime, keeper=None, schedule=None
) -> Iterator[Step]:
    """Train, yield a `Step` after each optimizer step, and leave the model with its best weights at the end.

    Args:
        model: what `loss` calls.
        loader: a loader of `make_loader`, or any iterable of batches; a stream needs `config.max_steps`.
        config: every number of the training; `config.select` names the score that decides what is best.
        loss: sum and items of a batch, see `losses`.
        score: model -> {"name": number}, called after each epoch, or every `config.evaluate_every` steps.
        runtime: a `Runtime`: device, precision, processes.
        keeper: a `Keeper` for checkpoints and resuming; by default the best weights are kept in memory.
        schedule: (optimizer, number of steps) -> a torch scheduler; by default that of `config`.

    Raises:
        InputError: a loader not split among the processes or without a batch, a stream without `max_steps`,
            nothing to resume, a loss, weight or score that is not finite (`NotFinite`), too little memory.
        Interrupted: a signal that `runtime.signals` noted, after a checkpoint.
    """
    check_loader(loader, runtime)
    num_steps, keeper = planned_steps(loader, config), keeper or Keeper()
    begin_strategy(model, config.strategy)
    if config.activation_checkpointing:
        recompute(model, on=True)
    decays = {"weight_decay": config.weight_decay, "layer_decay": config.layer_decay}
    optimizer = make_optimizer(config.optimizer, parameter_groups(model, config.learning_rate, **decays))
    runtime.prepare(model, optimizer)
    schedule = schedule or partial(make_schedule, config.schedule, warmup_share=config.warmup_share)
    scheduler = schedule(optimizer, num_steps)
    progress = keeper.begin(model, optimizer, scheduler, runtime, loader=loader, config=config)
    watch, wrapped = Watch(runtime), None
    while not progress.is_over(config):
        if apply_strategy(model, config.strategy, progress.epoch, config.epochs) or wrapped is None:
            wrapped, progress.trainable = runtime.wrap(model), num_trainable(model)
        set_epoch(loader, progress.epoch, progress.batch, runtime.own_place(progress.place))
        epoch = progress.epoch
        for batches, place, ends_epoch in with_place(loader, config.accumulation_steps, runtime):
            train_mode(model)  # whoever got the last step may have evaluated the model
            mean = gradient(model, wrapped, batches, loss, runtime, progress, config.seed)
            rate = scheduler.get_last_lr()[0]
            moved = runtime.step(model, optimizer, config.max_grad_norm)
            if moved:
                progress.step += 1
                scheduler.step()
            watch.note(progress.step, mean, batches, moved=moved)
            progress.move(len(batches), place, ends_epoch=ends_epoch)
            step = Step(progress.step, epoch + 1, rate, mean)
            if config.asks_for_score(progress.step, ends_epoch) or progress.is_over(config):
                watch.check()
                with runtime.interruptible():
                    scores = score(model)
                step = progress.judged(step, scores, config.select)
            is_over, stop = progress.is_over(config), runtime.asked_to_stop()
            is_due = is_over or ends_epoch or step.is_best or progress.step % config.checkpoint_every == 0
            if is_due or stop:
                watch.check()
                progress.place = runtime.places(progress.place)
            keeper.keep(step, is_due=is_due or stop > 0)
            yield step
            if stop:
                raise Interrupted(stop, f"after step {progress.step}")
            if is_over:
                break
        if epoch == progress.epoch and not progress.is_over(config):
            raise InputError(f"the loader gave no batch to end epoch {epoch + 1} with; look at its rows")
    if progress.step == 0:
        raise NotFinite("gradient", "in any step in fp16")
    keeper.restore_best()
    runtime.finish(model)
    if config.activation_checkpointing:
        recompute(model, on=False)
    end_strategy(model, config.strategy)


def fit_classifier(
    model: nn.Module, train_loader, validation_loader, config, *, runtime=None, loss=None, **options
) -> Iterator[Step]:
    """`fit` of a classifier: cross-entropy by default, scored on the rows of `validation_loader`.

    Example: `for step in fit_classifier(model, train_loader, validation_loader, config): print(step)`
    """
    runtime = runtime or Runtime(model, config.precision)
    score = partial(evaluate, loader=validation_loader, runtime=runtime)
    loss = loss or Classification(config.label_smoothing)
    return fit(model, train_loader, config, loss=loss, score=score, runtime=runtime, **options)


def backward(model: nn.Module, batches: list[dict], loss: Loss, runtime: Runtime) -> torch.Tensor:
    """Accumulate the gradient of the mean loss over all items of one optimizer step; returns that mean ().

    Sums are divided once, by the items of all batches and processes together. Averaging the means of batches
    would weigh a row in a small batch more than one in a large one, without an error: only other weights.
    """
    count = runtime.total(sum(loss.items(batch) for batch in batches))
    total = torch.zeros((), device=runtime.device)
    for position, batch in enumerate(batches):
        # Processes exchange gradients once per step, with the last batch.
        with runtime.without_exchange(model) if position < len(batches) - 1 else nullcontext():
            with runtime.autocast():
                share = loss(model, to_device(batch, runtime.device)) / count
            # Distributed gradients are averaged over the processes; ours must be summed.
            runtime.backward(share * runtime.num_processes)
        total += share.detach()
    return runtime.sum(total)


def gradient(
    model: nn.Module,
    wrapped,
    batches: list[dict],
    loss: Loss,
    runtime: Runtime,
    progress: Progress,
    seed: int,
) -> torch.Tensor:
    """`backward` with the draws of this step; if the memory is too small, of smaller and smaller parts.

    The sums are those of the whole batches, and so is the gradient up to rounding. What a batch draws or
    measures as a whole differs: dropout, BatchNorm. A warning says so, and `progress.micro_batch` keeps the
    size.
    """
    before = progress.micro_batch
    while True:
        parts = in_rows(batches, progress.micro_batch)
        try:
            with seeded(step_seed(seed, progress.step, runtime.process_index), runtime.device):
                mean = backward(wrapped, parts, loss, runtime)
            break
        except (RuntimeError, MemoryError) as error:
            if not runtime.is_out_of_memory(error):
                raise
        # Out of the handler, whose error holds the tensors that have filled the memory.
        model.zero_grad()
        progress.micro_batch = fewer_rows(max(map(num_rows, parts)), runtime)
    if progress.micro_batch != before:
        problem = f"the memory is too small for whole batches; from step {progress.step + 1} on"
        same = "with the same sums and other draws of dropout"
        said = f"{problem} they are computed {progress.micro_batch} rows at a time, {same}"
        warnings.warn(said, stacklevel=3)
    return mean


def evaluate(model: nn.Module, loader: DataLoader, runtime: Runtime) -> dict[str, float]:
    """Accuracy, macro-F1 and loss over every labelled row of the loader's dataset, each exactly once.

    Example: `fit(..., score=functools.partial(evaluate, loader=validation_loader, runtime=runtime))`
    """
    logits, targets = predict_logits(model, loader, runtime), np.asarray(loader.dataset.labels)
    return asdict(classification_metrics(logits, targets))


def mean_loss(model: nn.Module, loader: DataLoader, loss: Loss, runtime: Runtime) -> dict[str, float]:
    """{"loss": mean over all items of the loader}: for language models, whose logits nobody could keep."""
    check_loader(loader, runtime)
    model.to(runtime.device)
    total, items = 0.0, 0  # added up on the host: Apple's GPU has no float64
    summed = lambda batch: loss(model, to_device(batch, runtime.device))
    with evaluating(model), runtime.autocast():
        for batch in loader:
            items += loss.items(batch)
            total += sum(map(float, by_halves(summed, batch, runtime)))
    return {"loss": runtime.total(total) / runtime.total(items)}


def predict_logits(model: nn.Module, loader: DataLoader, runtime: Runtime, forward=forward) -> np.ndarray:
    """What `forward(model, batch)` gives, by default logits (N, C) float32, in the order of the rows.

    Raises:
        InputError: the loader is not split among the processes.
        RuntimeError: a row came twice or not at all.
    """
    check_loader(loader, runtime)
    model.to(runtime.device)
    seen, rows = [], []

    def outputs(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with runtime.autocast():
            return forward(model, to_device(batch, runtime.device)).float()  # (B, C)

    with evaluating(model):
        for batch in loader:
            found = torch.cat(by_halves(outputs, batch, runtime))
            # Shares of a batch differ by one row at most: -1 marks the filling that makes them equal.
            seen.append(runtime.gather(batch["indices"].to(runtime.device), filling=-1))
            rows.append(runtime.gather(found))
    seen, rows = torch.cat(seen), torch.cat(rows)
    seen, rows = seen[seen >= 0], rows[seen >= 0]
    if not torch.equal(seen.sort().values, torch.arange(len(loader.dataset))):
        found = f"{len(seen)} with {len(seen.unique())} different ones"
        raise RuntimeError(f"expected each of {len(loader.dataset)} rows once, found {found}")
    return rows[seen.argsort()].numpy()


def step_seed(seed: int, step: int, process: int) -> int:
    """The seed of one step's dropout, and of nothing else: a resumed run draws what an unbroken one draws."""
    return zlib.crc32(f"{seed}/{step}/{process}".encode())


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of torch from `seed` inside; the caller's own go on as if nothing had happened."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The batch on the device; copies from pinned memory overlap with the computation."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
