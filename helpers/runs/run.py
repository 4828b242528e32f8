"""One run from configuration to run folder: train, touch the test rows once, write it down (chapter 07)."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from helpers import environment
from helpers.errors import ProcessLost
from helpers.files import is_first_process, writing
from helpers.runs import folder as run_folder
from helpers.runs.chat_config import ChatConfig
from helpers.runs.recipes import RunConfig
from helpers.safety.finite import NotFinite
from helpers.safety.signals import Signals, ignore_signals
from helpers.training.archives import CHECKPOINT, last_step
from helpers.training.checkpoints import GO_ON, Keeper
from helpers.training.loop import fit
from helpers.training.progress import as_row, planned_steps


def train(
    config: RunConfig | ChatConfig,
    folder: Path,
    *,
    resume: bool = False,
    on_ready: Callable[[list[str]], None] | None = None,
    on_step: Callable | None = None,
) -> dict:
    """Train as `config` says and fill the run folder; in a run of several processes all of them call this.

    Args:
        config: what to do.
        folder: the run folder; nothing is written there before all input has proved good.
        resume: go on with the run in `folder`; without a checkpoint there it starts from the beginning.
        on_ready: called before the first step with what was understood of the data, in lines.
        on_step: called after each optimizer step with the `Step` and the number of steps planned.

    Returns:
        The content of `metrics.json`.

    Raises InputError: bad data, numbers that are not finite, a folder that holds another run, in which
        another training is at work, or that cannot be written.
    """
    folder, task = Path(folder), _task(config)
    run_folder.check_output(folder, resume=resume)
    # Of several processes the first one holds the folder for all.
    taken = run_folder.taken(folder, resume=resume) if is_first_process() else nullcontext()
    with taken, writing(folder, GO_ON):
        prepared = task.prepare(config)
        resume = resume and run_folder.is_started(folder)
        if resume:
            run_folder.check_same_rows(folder, prepared.splits)
        job = task.job(config, prepared, folder=folder)
        if on_ready:
            on_ready(task.understood(config, prepared, job))
        job.runtime.wait()  # no process may see the folder of another one as "another run"
        if job.runtime.is_main and not resume:
            with writing(folder, "make room, or choose another --output"):
                # A stand-in is recorded under its own name.
                run_folder.start(folder, replace(config, model=job.name), prepared.splits)
        resumes_from = resume and (folder / CHECKPOINT).is_file()
        keeper = Keeper(folder, resume=resumes_from, scores=task.SCORES)
        try:
            with job.runtime.together():
                effort = _train(job, keeper, on_step)
                metrics = task.finish(folder, config, prepared, job, effort)
                job.runtime.leave()
        except NotFinite as error:
            raise error.with_ids(prepared.splits["train"]["id"].tolist()) from error
        except ProcessLost as error:
            ignore_signals()  # torchrun ends us, too, but not before the sentence
            if not job.runtime.is_first_to_tell():
                raise SystemExit(2) from error
            raise ProcessLost(f"{error}; {_going_on(folder)}") from error
    return metrics


def _going_on(folder: Path) -> str:
    """What to do after a process was lost."""
    step = last_step(folder)
    if step is None:
        return "there is no checkpoint yet, start it again"
    return f"the last whole checkpoint in {folder} is of step {step:,}, `train` goes on from it with --resume"


def _train(job, keeper: Keeper, on_step: Callable | None) -> dict:
    """Run the steps of a job of `recipes` or `chat`; returns what they cost."""
    runtime, train_loader = job.runtime, job.loaders["train"]
    planned = planned_steps(train_loader, job.config)
    runtime.start_log(asdict(job.config))
    options = {"loss": job.loss, "score": job.score, "runtime": runtime, "keeper": keeper}
    with Signals(at_once=False) as runtime.signals, runtime.together():
        for step in fit(job.model, train_loader, job.config, **options):
            if on_step:
                on_step(step, planned)
            if runtime.log_with is not None:
                row = as_row(step, keeper.progress.seconds, keeper.scores)
                runtime.log({name: value for name, value in row.items() if value is not None}, step.step)
    runtime.signals = None
    return {
        "seconds": round(keeper.progress.seconds, 1),
        "optimizer_steps": keeper.progress.step,
        "trainable_parameters": keeper.progress.trainable,
        "micro_batch": keeper.progress.micro_batch,
        "processes": runtime.num_processes,
        "threads": torch.get_num_threads(),
        "device": runtime.device.type,
        "precision": runtime.precision,
        "versions": environment.versions(),
    }


def understand(config: RunConfig | ChatConfig) -> list[str]:
    """What `train` would say before it begins, after the same checks; nothing is written.

    Raises InputError: as `train` does.
    """
    task = _task(config)
    prepared = task.prepare(config)
    return task.understood(config, prepared, task.job(config, prepared))


def evaluate(folder: Path, data: str | None = None, **columns) -> dict:
    """Metrics of a trained run on its own test rows, or on your own labelled rows.

    Args:
        folder: the run folder; its own test rows are in it.
        data: a CSV file or image folder; None for the run's test rows.
        columns: names of columns and `on_bad`, as in `RunConfig`, where they differ from those the run was
            trained with.

    Returns:
        The metrics with `macro_f1_interval`, and `skipped`, the problems of rows that were left out.

    Raises InputError: `folder` is no run, the data are bad, or pictures have moved.
    """
    folder = Path(folder)
    config = run_folder.load_config(folder)
    config = replace(config, **{name: value for name, value in columns.items() if value is not None})
    return _task(config).evaluate(folder, config, data)


def _task(config: RunConfig | ChatConfig) -> ModuleType:
    """What is done before and after the training of a classifier, or of a language model."""
    name = "chat" if config.task == "chat" else "classification"
    return import_module(f"helpers.runs.{name}")  # pictures need none of what reads and writes texts
