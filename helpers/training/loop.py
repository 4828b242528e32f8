"""The training loop: fit and evaluate, on a CPU, a GPU or several processes (chapter 03 writes it by hand
first).

The loop neither prints nor plots: it yields one `Step` per optimizer step, and the caller decides what to
show.
"""

import gc
import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers import environment
from helpers.data.loaders import set_epoch
from helpers.errors import InputError
from helpers.training.checkpoints import (
    Progress,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from helpers.training.config import TrainingConfig
from helpers.training.metrics import Metrics, classification_metrics
from helpers.tuning.freezing import apply_strategy, train_mode
from helpers.tuning.optimization import make_optimizer, make_schedule, parameter_groups

CHECKPOINT, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Step:
    """What happened in one optimizer step.

    Attributes:
        step, epoch: counted from 1.
        learning_rate: of the head.
        train_loss: mean over the rows of this step, before it.
        validation: metrics at the end of an epoch, otherwise None.
        is_best: whether this validation macro-F1 is the best so far.
    """

    step: int
    epoch: int
    learning_rate: float
    train_loss: float
    validation: Metrics | None = None
    is_best: bool = False


def make_accelerator(model: nn.Module, precision: str = "auto") -> Accelerator:
    """Device, mixed precision and processes, chosen for this machine and this model; see
    `environment.precision`.
    """
    if precision == "auto":
        precision = environment.precision(
            convolutional=any(isinstance(m, nn.Conv2d) for m in model.modules())
        )
    # accelerate keeps one state per Python process and refuses a second precision; a notebook trains texts in
    # bf16 and then images in float32, so that state is made anew. The group of processes, which cannot be,
    # stays.
    AcceleratorState._reset_state(reset_partial_state=False)
    return Accelerator(mixed_precision=precision, cpu=environment.device() == "cpu")


def leave(accelerator: Accelerator) -> None:
    """Wait for all processes and end their group; to be called last, when nothing of the training is used any
    more.
    """
    accelerator.wait_for_everyone()
    # DistributedDataParallel sits in cycles of references; it must go while its group still stands, or a
    # process may abort
    gc.collect()
    accelerator.end_training()


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    validation_loader: DataLoader,
    config: TrainingConfig,
    *,
    accelerator: Accelerator | None = None,
    loss_function: Callable | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Iterator[Step]:
    """Train, and leave the model with its best weights (highest validation macro-F1) when the iteration ends.

    Args:
        model: see `forward` for how it is called.
        train_loader, validation_loader: of `make_loader`.
        config: every number of the training.
        accelerator: by default one for this machine, see `make_accelerator`.
        loss_function: (logits (B, C), batch) -> sum of the rows' losses; by default cross-entropy with the
            batch's labels.
        folder: where checkpoints are kept; None keeps the best weights in memory and cannot resume.
        resume: go on from the checkpoint in `folder`; the result is, bit for bit, that of a run that never
            stopped.

    Yields:
        A `Step` after each optimizer step.

    Raises:
        InputError: nothing to resume, or loaders that are not split among the processes.
    """
    accelerator = accelerator or make_accelerator(model, config.precision)
    check_loader(train_loader, accelerator)
    loss_function = loss_function or cross_entropy(config.label_smoothing)
    model.to(accelerator.device)
    groups = parameter_groups(
        model, config.learning_rate, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    optimizer = accelerator.prepare_optimizer(make_optimizer(config.optimizer, groups))
    num_steps = config.epochs * -(-len(train_loader) // config.accumulation_steps)
    scheduler = make_schedule(
        config.schedule, optimizer.optimizer, num_steps, warmup_share=config.warmup_share
    )
    keeper = Keeper(model, optimizer.optimizer, scheduler, accelerator, folder)
    progress = keeper.load() if resume else Progress()
    wrapped = None
    while progress.epoch < config.epochs and progress.epochs_since_best < config.patience:
        if apply_strategy(model, config.strategy, progress.epoch, config.epochs) or wrapped is None:
            wrapped = wrap(model, accelerator)
        set_epoch(train_loader, progress.epoch, progress.batch)
        train_mode(model)
        for batches in in_groups(train_loader, config.accumulation_steps):
            environment.seed_everything(step_seed(config.seed, progress.step, accelerator.process_index))
            loss = backward(wrapped, batches, loss_function, accelerator)
            accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            progress.step += 1
            progress.batch += len(batches)
            step = Step(progress.step, progress.epoch + 1, scheduler.get_last_lr()[0], loss)
            scheduler.step()
            optimizer.zero_grad()
            if progress.batch == len(train_loader):
                step = end_epoch(step, progress, evaluate(model, validation_loader, accelerator))
            keeper.keep(
                progress,
                step,
                is_due=step.validation is not None or progress.step % config.checkpoint_every == 0,
            )
            yield step
    keeper.restore_best()


def backward(
    model: nn.Module, batches: list[dict], loss_function: Callable, accelerator: Accelerator
) -> float:
    """Accumulate the gradient of the mean loss over all rows of one optimizer step; returns that mean.

    Sums are divided once, by the rows of all batches and all processes together. Averaging the means of
    batches would weigh a row in a small batch more than one in a large batch, and hide it: no error, only
    other weights.
    """
    processes = accelerator.num_processes
    count = accelerator.reduce(
        torch.tensor(sum(len(batch["indices"]) for batch in batches), device=accelerator.device), "sum"
    )
    total = torch.zeros((), device=accelerator.device)
    for position, batch in enumerate(batches):
        batch = to_device(batch, accelerator)
        # Processes exchange gradients once per step, with the last batch.
        with accelerator.no_sync(model) if position < len(batches) - 1 else nullcontext():
            with accelerator.autocast():
                logits = forward(model, batch)  # (B, C)
            loss = loss_function(logits.float(), batch) / count
            # Distributed gradients are averaged over the processes; ours must be summed.
            accelerator.backward(loss * processes)
        total += loss.detach()
    return accelerator.reduce(total, "sum").item()


def evaluate(model: nn.Module, loader: DataLoader, accelerator: Accelerator) -> Metrics:
    """Metrics over every labelled row of the loader's dataset, each exactly once, whatever the number of
    processes.
    """
    return classification_metrics(
        predict_logits(model, loader, accelerator), np.asarray(loader.dataset.labels)
    )


def predict_logits(model: nn.Module, loader: DataLoader, accelerator: Accelerator) -> np.ndarray:
    """Logits (N, C) float32 in the order of the dataset's rows, whatever the order of the loader's batches.

    Raises:
        InputError: the loader is not split among the processes.
        RuntimeError: a row came twice or not at all.
    """
    check_loader(loader, accelerator)
    model.to(
        accelerator.device
    ).eval()  # outside inference mode: weights moved inside it could never be trained again
    seen, rows = [], []
    for batch in loader:
        batch = to_device(batch, accelerator)
        with torch.inference_mode(), accelerator.autocast():
            logits = forward(model, batch).float()  # (B, C)
        # Shares of a batch differ by one row at most: -1 marks the filling that makes them equal for the
        # exchange.
        seen.append(
            accelerator.gather(accelerator.pad_across_processes(batch["indices"], pad_index=-1)).cpu()
        )
        rows.append(accelerator.gather(accelerator.pad_across_processes(logits)).cpu())
    seen, rows = torch.cat(seen), torch.cat(rows)
    seen, rows = seen[seen >= 0], rows[seen >= 0]
    if not torch.equal(seen.sort().values, torch.arange(len(loader.dataset))):
        raise RuntimeError(
            f"expected each of {len(loader.dataset)} rows once, found {len(seen)} with {len(seen.unique())} "
            "different ones"
        )
    return rows[seen.argsort()].numpy()


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits (B, C): of `model(images)` for images, of `model(input_ids=..., attention_mask=...)` for
    texts.
    """
    if "images" in batch:
        return model(batch["images"])
    output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return getattr(
        output, "logits", output
    )  # models of transformers wrap their logits, our own return them bare


def cross_entropy(label_smoothing: float = 0.0) -> Callable:
    """A loss function for `fit`: summed cross-entropy (nats) of logits (B, C).

    The targets are `batch["targets"]` (B, C), shares of the classes, where a batch has them (mixup), else
    `batch["labels"]` (B,).
    """
    return lambda logits, batch: F.cross_entropy(
        logits, batch.get("targets", batch["labels"]), reduction="sum", label_smoothing=label_smoothing
    )


def soft_cross_entropy(distributions: torch.Tensor) -> Callable:
    """A loss function for `fit` whose targets are class distributions (N, C) of the dataset's rows, found by
    `batch["indices"]`.
    """
    return lambda logits, batch: F.cross_entropy(
        logits, distributions.to(logits.device)[batch["indices"]], reduction="sum"
    )


def end_epoch(step: Step, progress: Progress, validation: Metrics) -> Step:
    """Note the end of an epoch in `progress`; returns the step with its validation metrics."""
    is_best = validation.macro_f1 > progress.best_score
    progress.best_score = max(progress.best_score, validation.macro_f1)
    progress.epochs_since_best = 0 if is_best else progress.epochs_since_best + 1
    progress.epoch, progress.batch = progress.epoch + 1, 0
    return replace(step, validation=validation, is_best=is_best)


def step_seed(seed: int, step: int, process: int) -> int:
    """The seed of one step's dropout: it depends on nothing else, so a resumed run draws what an unbroken one
    draws.
    """
    return zlib.crc32(f"{seed}/{step}/{process}".encode())


def in_groups(loader: DataLoader, size: int) -> Iterator[list[dict]]:
    """Batches in lists of `size`; the last list of an epoch may be shorter."""
    batches = iter(loader)
    while group := list(itertools.islice(batches, size)):
        yield group


def wrap(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The model as several processes train it together; a single process needs no wrapper.

    Made anew when other weights start to move: the wrapper exchanges only gradients that it knew of when it
    was made.
    """
    if accelerator.num_processes == 1:
        return model
    on_gpu = accelerator.device.type == "cuda"
    return nn.parallel.DistributedDataParallel(
        model, device_ids=[accelerator.device.index] if on_gpu else None
    )


def to_device(batch: dict[str, torch.Tensor], accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """The batch on the accelerator's device; copies from pinned memory overlap with the computation."""
    return {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in batch.items()}


def check_loader(loader: DataLoader, accelerator: Accelerator) -> None:
    """Refuse a loader that gives every process the same rows: training would be slow and silently different.

    Raises:
        InputError: the loader is not split among this run's processes.
    """
    found = getattr(loader.batch_sampler, "num_processes", None)
    if found != accelerator.num_processes and (found is not None or accelerator.num_processes > 1):
        raise InputError(
            f"the loader must be split among {accelerator.num_processes} processes, found {found}; build it "
            "with "
            "make_loader(..., num_processes=accelerator.num_processes, "
            "process_index=accelerator.process_index)"
        )


class Keeper:
    """Keeps checkpoints of a run, in a folder or, without one, the best weights in memory."""

    def __init__(self, model, optimizer, scheduler, accelerator: Accelerator, folder: Path | None):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.accelerator, self.folder = accelerator, folder
        self.best = None
        self.started = time.perf_counter()

    def load(self) -> Progress:
        """Go on from the last checkpoint."""
        if self.folder is None:
            raise InputError("resume needs the folder of the run to go on with, found none")
        progress = load_checkpoint(
            self.folder / CHECKPOINT, self.model, self.optimizer, self.scheduler, self.accelerator.scaler
        )
        self.started -= progress.seconds
        return progress

    def keep(self, progress: Progress, step: Step, *, is_due: bool) -> None:
        """Note the step in the history; keep the best weights; when a checkpoint is due, write it."""
        progress.seconds = time.perf_counter() - self.started
        progress.history.append(as_row(step, progress.seconds))
        if step.is_best and self.folder is None:
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if self.folder is None or not self.accelerator.is_main_process:
            return
        # The best weights first: killed between the two writes, a resumed run only finds the same best again.
        if step.is_best:
            save_weights(self.folder / BEST, self.model)
        if is_due:
            save_checkpoint(
                self.folder / CHECKPOINT,
                self.model,
                self.optimizer,
                self.scheduler,
                progress,
                self.accelerator.scaler,
            )

    def restore_best(self) -> None:
        """Give the model its best weights."""
        self.accelerator.wait_for_everyone()
        if self.folder is not None:
            load_weights(self.folder / BEST, self.model)
        elif self.best is not None:
            self.model.load_state_dict(self.best)


def as_row(step: Step, seconds: float) -> dict:
    """A step as a flat row of `history.csv`; validation columns are None except at the end of an epoch."""
    validation = step.validation
    return {
        "step": step.step,
        "epoch": step.epoch,
        "seconds": round(seconds, 3),
        "learning_rate": step.learning_rate,
        "train_loss": step.train_loss,
        "validation_loss": validation and validation.loss,
        "validation_accuracy": validation and validation.accuracy,
        "validation_macro_f1": validation and validation.macro_f1,
    }
