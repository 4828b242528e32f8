"""The command line, `python -m helpers`, with the commands of `deployment.commands`, too (chapter 00).

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 the doctor objects, 2 bad input.
"""

import argparse
import io
import json
import os
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from helpers import __version__
from helpers.deployment import commands as deployment_commands
from helpers.errors import InputError

SECONDS_BETWEEN_LINES = 10  # where progress goes to a file or a pipe


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console without Unicode shows an emoji as \\U0001f600 and goes on.
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        if is_first_process():  # every process of a distributed run meets the same error; one says it
            print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (`| head`) has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("interrupted; `train` goes on from its last checkpoint with --resume", file=sys.stderr)
        return 130


def is_first_process() -> bool:
    """Whether this is the process of a distributed run that speaks; `torchrun` numbers them."""
    return os.environ.get("RANK", "0") == "0"


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    about = "The course's helpers as commands."
    parser = argparse.ArgumentParser(prog="python -m helpers", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, help_text):
        added = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        added.set_defaults(run=function)
        return added

    command("fetch", fetch, "download and verify the data and weights; a second call changes nothing")
    added = command("doctor", doctor, "look whether this machine is ready for the course")
    added.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_training_options(command("train", train, "train a classifier and write a run folder with a report"))
    about = "measure a trained run on its test rows, or on your own labelled data"
    added = command("evaluate", evaluate, about)
    added.add_argument("folder", type=Path, metavar="RUN")
    added.add_argument("--json", action="store_true", help="print JSON")
    add_data_options(added)
    deployment_commands.add_commands(command)
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    add = parser.add_argument
    add_number = partial(add, type=int, metavar="N")
    add("task", choices=("text", "sentiment", "images"), help="texts (two words for them) or images")
    add("--output", required=True, type=Path, metavar="RUN", help="the run folder to write")
    images = "efficientnet_lite0, resnet50 or any image model of timm"
    add("--model", metavar="NAME|DIR", help=f"minilm, a folder or an encoder of the hub; {images}")
    add("--strategy", choices=("full", "head", "gradual", "lora"), help="which weights move (default: full)")
    add_number("--epochs", help="passes over the training rows (default: of the recipe)")
    add_number("--max-steps", help="optimizer steps in all, in place of --epochs")
    add_number("--batch-size", help="rows per batch, all processes together (default: of the recipe)")
    add("--learning-rate", type=float, metavar="X", help="learning rate of the head (default: of the recipe)")
    add_number("--seed", help="seed of head, order, dropout and augmentation (default: 0)")
    add_number("--workers", help="processes that load batches (default: 0, the training's own)")
    add_number("--limit", help="at most N training rows, 0 = all (default: 2000 at quick scale, else 0)")
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
    data = "your own CSV file, image folder, or labels file (default: the course's data)"
    add("--data", metavar="PATH", help=data)
    add("--text-column", metavar="C", help="column with the text (default: text)")
    add("--label-column", metavar="C", help="column with the label (default: label)")
    add("--group-column", metavar="C", help="column whose equal values stay on one side of the split")
    add("--file-column", metavar="C", help="column of a labels file with the image's path (default: file)")
    add("--on-bad", choices=("stop", "skip"), help="what to do with bad rows or files (default: stop)")


def fetch(options) -> None:
    """Print what was fetched, a line for each file that was missing or damaged; exit status 2 without it."""
    from helpers import assets

    done = assets.fetch()
    print(*done, f"all data and weights are in {assets.FOLDER}, verified", sep="\n")


def doctor(options) -> int:
    """Print what was found and what to do about it; exit status 1 if something is missing."""
    from helpers import doctor as machine

    checks = machine.examine()
    if options.json:
        print(json.dumps(machine.findings(checks), indent=2))
    else:
        for check in checks:
            print(f"{check.word:<4} {check.name:<9} {check.found}")
            if check.word != "ok":
                print(f"     -> {check.remedy}")
    return 0 if all(check.ready for check in checks) else 1


def train(options) -> None:
    """Train, and print a summary of the test metrics, or metrics.json; exit status 2 for bad input."""
    # a wrong option is said before seconds of imports
    config = None if options.resume else run_config(options)
    from helpers.runs import folder, report, run

    config = config or folder.load_config(options.output)
    if is_first_process() and config.limit and config.data:
        most = f"using at most {config.limit:,} of your rows for training"
        print(f"{most}; --limit 0 uses all", file=sys.stderr)
    with progress_display() as show:
        metrics = run.train(config, options.output, resume=options.resume, on_step=show)
    if is_first_process():
        report.write_report(options.output)
        print(json.dumps(metrics, indent=2) if options.json else summary(metrics, options.output))


def run_config(options):
    """The configuration of a new run, from the command's options and the recipe's defaults."""
    from helpers import environment
    from helpers.runs import recipes
    from helpers.tasks import task_named

    names = ("epochs", "max_steps", "seed", "batch_size", "learning_rate")
    changes = {name: getattr(options, name) for name in names} | {"num_workers": options.workers}
    limit = options.limit
    if limit is None:
        limit = recipes.QUICK_LIMIT if environment.scale() == "quick" else 0
    return recipes.RunConfig(
        task=options.task,
        model=options.model or task_named(options.task).default_model,
        limit=limit,
        soft_labels=not options.hard_labels,
        log_with=options.log_with,
        training=recipes.default_training(options.task, options.strategy or "full", **changes),
        **data_options(options),
    )


def data_options(options) -> dict:
    """The data options that were given."""
    names = ("data", "text_column", "label_column", "group_column", "file_column", "on_bad")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def evaluate(options) -> None:
    """Print accuracy, macro-F1 with its interval and loss, or JSON; exit status 2 for bad input."""
    from helpers.runs import run

    metrics = run.evaluate(options.folder, **data_options(options))
    if options.json:
        print(json.dumps(metrics, indent=2))
        return
    for problem in metrics["skipped"]:
        print(f"skipped {problem['where']}: {problem['what']}", file=sys.stderr)
    if metrics["not_kept"]:
        lost = f"{metrics['not_kept']:,} test rows"
        print(f"{lost} did not fit into the run folder and are missing here", file=sys.stderr)
    print(f"{metrics['n']:,} rows: {score_text(metrics)}")


def score_text(metrics: dict) -> str:
    """Accuracy and macro-F1 with its interval, in words."""
    low, high = metrics["macro_f1_interval"]
    f1 = f"macro-F1 {metrics['macro_f1']:.3f} (95% interval {low:.3f} to {high:.3f})"
    return f"accuracy {metrics['accuracy']:.3f}, {f1}, loss {metrics['loss']:.3f}"


def summary(metrics: dict, folder: Path) -> str:
    """What a person wants to know after a training run."""
    majority = metrics["majority_baseline"]
    lines = [
        f"test, {metrics['test']['n']:,} rows: {score_text(metrics['test'])}",
        f"always answering {majority['class']!r} would score accuracy {majority['accuracy']:.3f}",
    ]
    if "human_ceiling" in metrics:
        scores = "accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}".format(**metrics["human_ceiling"])
        lines.append(f"one person against the mean of the others, same rows: {scores}")
    if metrics["skipped"]:
        listed = f"listed in {folder / 'skipped.csv'}"
        lines.append(f"{metrics['skipped']} bad rows or files were left out, {listed}")
    rows = metrics["rows"]
    for name, kept in metrics["rows_kept"].items():
        if kept < rows[name]:
            part = f"{kept:,} of the {rows[name]:,} {name} rows"
            lines.append(f"the run folder keeps {part}, more would not fit")
    work = f"{metrics['optimizer_steps']:,} optimizer steps on {rows['train']:,} rows"
    place = f"{metrics['seconds']:.0f} s ({metrics['device']}, {metrics['precision']})"
    lines.append(f"{work} in {place}; report: {folder / 'report.html'}")
    return "\n".join(lines)


def progress_display():
    """What shows the steps of a training: a bar on a terminal, else lines; nothing but in the first process.

    Returns:
        A context with a function to call after each optimizer step: `show(step, planned)`, or None.
    """
    if not is_first_process():
        return nullcontext()
    return progress_bar() if sys.stderr.isatty() else nullcontext(ProgressLines().show)


@contextmanager
def progress_bar():
    """A bar over the optimizer steps, and a line for each evaluation; see `progress_display`."""
    from tqdm import tqdm

    with tqdm(unit="step", file=sys.stderr) as bar:

        def show(step, planned: int) -> None:
            bar.total = planned
            # The bar draws itself a few times a second; a loss read more often would only make a GPU wait.
            if bar.update(step.step - bar.n):
                bar.set_postfix_str(f"loss={step.train_loss:.3f}", refresh=False)
            if step.validation:
                bar.write(evaluation_text(step), file=sys.stderr)

        yield show


def evaluation_text(step) -> str:
    """The scores of an evaluation on one line."""
    scores = ", ".join(f"{name} {value:.3f}" for name, value in step.validation.items() if name != "n")
    best = " (best)" if step.is_best else ""
    return f"epoch {step.epoch}: validation {scores}{best}".replace("macro_f1", "macro-F1")


class ProgressLines:
    """For files and pipes: a line every ten seconds at most, and one for each evaluation."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.begun = self.shown = clock()
        self.first = None

    def show(self, step, planned: int) -> None:
        """Write a line if it is time; the loss is not read before."""
        now = self.clock()
        if self.first is None:
            self.first = step.step - 1  # of a resumed run, whose earlier steps took none of this time
        if step.validation:
            print(evaluation_text(step), file=sys.stderr, flush=True)
        if now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            rate = (step.step - self.first) / (now - self.begun)
            place = f"step {step.step:,} of {planned:,} (epoch {step.epoch})"
            speed = f"{rate:.2f} steps/s, about {(planned - step.step) / rate:,.0f} s left"
            print(f"{place}: loss {step.train_loss:.3f}, {speed}", file=sys.stderr, flush=True)
