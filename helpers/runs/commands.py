"""The commands that make and measure a run: train, evaluate (chapters 06 and 07 show them).

An option that would have no effect is refused: whoever gave it believes that it has one.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from helpers.display import progress_display
from helpers.errors import InputError
from helpers.files import is_first_process, is_only_process

COLUMNS = ("text_column", "label_column", "group_column", "file_column")
DATA_OPTIONS = (*COLUMNS, "on_bad")
CHAT_COLUMNS = ("prompt_column", "answer_column")
CHAT_OPTIONS = (*CHAT_COLUMNS, "system", "rank", "base_bits", "packing")
TRAINING_OPTIONS = ("epochs", "max_steps", "batch_size", "learning_rate", "seed", "strategy")
# How it is computed, not what: a run may go on with or without them.
PLACED_OPTIONS = ("shard", "activation_checkpointing")
# What a resumed run must not change; `workers` may differ, as batches do not depend on them.
PLANNED_OPTIONS = ("data", "model", "limit", "log_with", "max_length")
PLANNED_OPTIONS += (*DATA_OPTIONS, *TRAINING_OPTIONS, *CHAT_OPTIONS)


def add_commands(command: Callable) -> None:
    """Add the commands by `command(name, function, help_text)`, which returns their parser."""
    add_training_options(command("train", train, "train a model and write a run folder with a report"))
    about = "measure a trained run on its test rows, or on your own labelled data"
    parser = command("evaluate", evaluate, about)
    parser.add_argument("folder", type=Path, metavar="RUN")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data_options(parser)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    add = parser.add_argument
    add_number = partial(add, type=int, metavar="N")
    about = "classes of texts (two words for them), classes of images, or a language model"
    add("task", choices=("text", "sentiment", "images", "chat"), help=about)
    add("--output", type=Path, metavar="RUN", help="the run folder to write")
    add("--dry-run", action="store_true", help="say what was understood of the data, and stop")
    images = "efficientnet_lite0, resnet50 or any image model of timm"
    chat = "chat: smollm2, a folder or a causal language model of the hub, NAME@REVISION"
    add("--model", metavar="NAME|DIR", help=f"minilm, a folder or an encoder of the hub; {images}; {chat}")
    moving = "which weights move (default: full; chat: lora)"
    add("--strategy", choices=("full", "head", "gradual", "lora"), help=moving)
    add_number("--epochs", help="passes over the training rows (default: of the recipe)")
    add_number("--max-steps", help="optimizer steps in all, in place of --epochs")
    add_number("--batch-size", help="rows per batch, all processes together (default: of the recipe)")
    add("--learning-rate", type=float, metavar="X", help="learning rate of the head (default: of the recipe)")
    add_number("--seed", help="seed of head, order, dropout and augmentation (default: 0)")
    add_number("--workers", help="processes that load batches (default: where they pay)")
    add_number("--limit", help="at most N training rows, 0 = all (default: 2000 at quick scale, else 0)")
    longest = "texts: tokens that the model reads of one, the rest is cut (128); chat: most tokens (1024)"
    add_number("--max-length", help=longest)
    add_number("--rank", help="chat: rank of LoRA's corrections (default: 32)")
    add("--base-bits", type=int, choices=(16, 4), help="chat: bits of the frozen weights below LoRA")
    add("--packing", action="store_true", default=None, help="chat: a batch in one row, without padding")
    add("--system", metavar="TEXT", help="chat: system message of conversations that bring none")
    add("--no-cache", action="store_true", help="photographs: decode them anew in each epoch")
    add("--shard", action="store_true", help="with torchrun: share the weights out (FSDP2), no copies")
    again = "compute layers again in the backward pass: less memory"
    add("--activation-checkpointing", action="store_true", help=again)
    hard = "comments: learn only the label of the mean rating, not the raters' votes as well"
    add("--hard-labels", action="store_true", help=hard)
    trackers = ("tensorboard", "mlflow", "wandb")
    add("--log-with", choices=trackers, help="log the steps to a tracker, too; it must be installed")
    add("--resume", action="store_true", help="go on with the run in RUN, exactly as if it had not stopped")
    add("--json", action="store_true", help="print metrics.json instead of a summary")
    add_data_options(parser)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where rows come from."""
    add = parser.add_argument
    data = "your own table (CSV, TSV, JSON Lines, Parquet, Excel), image folder, or table of image files"
    chats = "chat: JSON Lines or a table of conversations"
    add("--data", metavar="PATH", help=f"{data}; {chats} (default: the course's data)")
    add("--prompt-column", metavar="C", help="chat: column with what is asked (default: prompt)")
    add("--answer-column", metavar="C", help="chat: column with the answer (default: completion or answer)")
    add("--text-column", metavar="C", help="column with the text (default: text)")
    add("--label-column", metavar="C", help="column with the label (default: label)")
    add("--group-column", metavar="C", help="column whose equal values stay on one side of the split")
    add("--file-column", metavar="C", help="column with the image's path (default: file)")
    add("--on-bad", choices=("stop", "skip"), help="what to do with bad rows or files (default: stop)")


def train(options) -> None:
    """Train, and print a summary of the test metrics, or metrics.json; exit status 2 for bad input."""
    # A wrong option is said before seconds of imports.
    if options.dry_run and options.resume:
        raise InputError("--dry-run has no effect on a run that goes on; leave one of the two out")
    if options.output is None and not options.dry_run:
        raise InputError("train writes a run folder, found no name for it; give --output RUN")
    config = None if options.resume else run_config(options)
    from helpers.runs import folder, report, run

    if options.resume:
        config = resumed_config(options, folder.load_config(options.output))
    if is_first_process() and config.data:
        print(f"reading {config.data}", file=sys.stderr, flush=True)
    if options.dry_run:
        print(*run.understand(config), sep="\n")
        return
    with progress_display() as show:
        told = {"on_step": show, "on_ready": say if is_first_process() else None}
        metrics = run.train(config, options.output, resume=options.resume, **told)
    if is_first_process():
        report.write_report(options.output)
        print(json.dumps(metrics, indent=2) if options.json else summary(metrics, options.output))


def say(lines: list[str]) -> None:
    """What was understood, before the training begins."""
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def run_config(options):
    """The configuration of a new run, from the command's options and the recipe's defaults.

    Raises InputError: an option has no effect here, or a value that no run can have.
    """
    refuse_idle_options(options)
    from helpers import environment
    from helpers.runs import recipes
    from helpers.tasks import task_named

    changes = {name: getattr(options, name) for name in TRAINING_OPTIONS if name != "strategy"}
    changes["num_workers"] = options.workers
    changes |= {name: getattr(options, name) for name in PLACED_OPTIONS}
    if options.task == "chat":
        return chat_config(options, changes)
    limit = options.limit
    if limit is None:
        limit = recipes.QUICK_LIMIT if environment.scale() == "quick" else 0
    values = data_options(options)
    if options.max_length is not None:
        values["max_length"] = options.max_length
    return recipes.RunConfig(
        task=options.task,
        model=options.model or task_named(options.task).default_model,
        limit=limit,
        soft_labels=not options.hard_labels,
        cache=not options.no_cache,
        log_with=options.log_with,
        training=recipes.default_training(options.task, options.strategy or "full", **changes),
        **values,
    )


def chat_config(options, changes: dict):
    """The configuration of a language model's run."""
    from helpers import environment
    from helpers.runs.chat_config import QUICK_LIMIT, ChatConfig, default_training

    names = ("data", "on_bad", "model", "max_length", "limit", "log_with", *CHAT_OPTIONS)
    values = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    values.setdefault("limit", QUICK_LIMIT if environment.scale() == "quick" and not options.data else 0)
    return ChatConfig(training=default_training(options.strategy or "lora", **changes), **values)


def resumed_config(options, config):
    """The configuration of a run that goes on; options that were given again must be those it began with.

    Raises InputError: an option asks for something else than the run was planned with.
    """
    from helpers.tasks import SYNONYMS

    planned = asdict(config) | asdict(config.training)
    other = [] if SYNONYMS.get(options.task, options.task) == config.task else [f"the task {options.task}"]
    for name in PLANNED_OPTIONS:
        given = getattr(options, name)
        same = given == planned.get(name)
        if name == "data" and given is not None and planned.get(name) is not None:
            same = Path(given).absolute() == Path(planned.get(name)).absolute()
        if given is not None and not same:
            other.append(f"--{name.replace('_', '-')} {given} (planned with {planned.get(name)})")
    if options.hard_labels and planned.get("soft_labels", True):
        other.append("--hard-labels")
    if options.no_cache and planned.get("cache", True):
        other.append("--no-cache")
    if other:
        what = f"--resume goes on with the plan in {options.output / 'config.json'}, found {', '.join(other)}"
        raise InputError(f"{what}; leave them out, or start a new run folder")
    changes = {name: True for name in PLACED_OPTIONS if getattr(options, name)}
    if options.workers is not None:
        changes["num_workers"] = options.workers
    training = replace(config.training, **changes)
    # A run of several processes may go on in one, which has nobody to share with.
    return replace(config, training=replace(training, shard=training.shard and not is_only_process()))


def refuse_idle_options(options) -> None:
    """Refuse options that change nothing in a new run.

    Raises InputError: it names them, and says why.
    """
    images, is_chat = options.task == "images", options.task == "chat"
    in_folder = images and options.data is not None and Path(options.data).is_dir()
    idle = [
        (CHAT_OPTIONS, not is_chat, "but on chat"),
        ((*COLUMNS, "hard_labels", "no_cache"), is_chat, "on chat"),
        ((*DATA_OPTIONS, *CHAT_COLUMNS), options.data is None, "without --data"),
        (("rank", "base_bits"), options.strategy == "full", "with strategy full"),
        (("hard_labels",), options.data is not None, "on your own data: they hold no raters' votes"),
        (("label_column", "group_column", "file_column"), in_folder, "on a folder of images: use a table"),
        (("text_column", "max_length", "hard_labels"), images, "on images"),
        (("file_column", "no_cache"), not images, "on texts"),
        (("no_cache",), options.data is None, "on the course's own images: they are no files"),
        (("shard",), is_only_process(), "in one process: start several with torchrun, see docs/launch.md"),
        (("activation_checkpointing",), images and options.strategy == "head", "on a head alone"),
        (("epochs",), options.max_steps is not None, "beside --max-steps, which takes its place"),
    ]
    refuse_given(options, idle)


def refuse_given(options, idle: list[tuple[tuple[str, ...], bool, str]]) -> None:
    """Refuse options that were given; `idle` has their names, whether they change nothing here, and why."""
    for names, is_idle, why in idle:
        given = [
            f"--{name.replace('_', '-')}"
            for name in names
            if getattr(options, name, None) is not None and getattr(options, name) is not False
        ]
        if is_idle and given:
            has = "has" if len(given) == 1 else "have"
            raise InputError(f"{', '.join(given)} {has} no effect {why}; leave it out")


def data_options(options) -> dict:
    """The data options that were given."""
    names = ("data", *DATA_OPTIONS, *CHAT_COLUMNS)
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def evaluate(options) -> None:
    """Print accuracy, macro-F1 with its interval and loss, or JSON; exit status 2 for bad input."""
    refuse_given(options, [((*DATA_OPTIONS, *CHAT_COLUMNS), options.data is None, "without --data")])
    from helpers.runs import folder, run

    is_chat = folder.load_config(options.folder).task == "chat"
    refuse_given(options, [(COLUMNS, is_chat, "on chat"), (CHAT_COLUMNS, not is_chat, "but on chat")])

    metrics = run.evaluate(options.folder, **data_options(options))
    if options.json:
        print(json.dumps(metrics, indent=2))
        return
    for problem in metrics["skipped"]:
        print(f"skipped {problem['where']}: {problem['what']}", file=sys.stderr)
    for sentence in metrics["noticed"]:
        print(sentence, file=sys.stderr)
    if metrics["not_kept"]:
        lost = f"{metrics['not_kept']:,} test rows"
        print(f"{lost} did not fit into the run folder and are missing here", file=sys.stderr)
    print(f"{metrics['n']:,} rows: {score_text(metrics)}")


def score_text(metrics: dict) -> str:
    """Accuracy and macro-F1 with its interval, in words; of a language model what it has instead."""
    if "perplexity" in metrics:
        return chat_text(metrics)
    low, high = metrics["macro_f1_interval"]
    f1 = f"macro-F1 {metrics['macro_f1']:.3f} (95% interval {low:.3f} to {high:.3f})"
    return f"accuracy {metrics['accuracy']:.3f}, {f1}, loss {metrics['loss']:.3f}"


def chat_text(metrics: dict) -> str:
    """Loss and answers of a language model, in words."""
    bits = f"{metrics['bits_per_byte']:.3f} bits per byte of the answers"
    names = {
        "exact_match": "right to the letter", "valid_json": "valid JSON", "stopped": "ended by themselves",
        "accuracy": "right sentiment",
    }  # fmt: skip
    shares = [f"{metrics[name]:.1%} {words}" for name, words in names.items() if name in metrics]
    answers = f"of {metrics['answered']:,} answers {', '.join(shares)}"
    f1 = f", macro-F1 {metrics['macro_f1']:.3f}" if "macro_f1" in metrics else ""
    return f"loss {metrics['loss']:.3f} (perplexity {metrics['perplexity']:.2f}), {bits}; {answers}{f1}"


def summary(metrics: dict, folder: Path) -> str:
    """What a person wants to know after a training run."""
    lines = [f"test, {metrics['test']['n']:,} rows: {score_text(metrics['test'])}"]
    if "majority_baseline" in metrics:
        majority = metrics["majority_baseline"]
        lines.append(
            f"always answering {majority['class']!r} would score accuracy {majority['accuracy']:.3f}"
        )
    if "human_ceiling" in metrics:
        scores = "accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}".format(**metrics["human_ceiling"])
        lines.append(f"one person against the mean of the others, same rows: {scores}")
    if metrics["skipped"]:
        listed = f"listed in {folder / 'skipped.csv'}"
        lines.append(f"{metrics['skipped']} bad rows or files were left out, {listed}")
    lines += metrics["noticed"]
    rows = metrics["rows"]
    for name, kept in metrics["rows_kept"].items():
        if kept < rows[name]:
            part = f"{kept:,} of the {rows[name]:,} {name} rows"
            lines.append(f"the run folder keeps {part}, more would not fit")
    work = f"{metrics['optimizer_steps']:,} optimizer steps on {rows['train']:,} rows"
    place = f"{metrics['seconds']:.0f} s ({metrics['device']}, {metrics['precision']})"
    lines.append(f"{work} in {place}; report: {folder / 'report.html'}")
    return "\n".join(lines)
