"""The command line, `python -m helpers`: fetch, doctor, train, evaluate, and those of `deployment.commands`
(chapter 00).

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 the doctor found something, 2 bad
input.
"""

import argparse
import io
import json
import os
import sys
import time
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

    doctor_parser = command("doctor", doctor, "look whether this machine is ready for the course")
    doctor_parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    add_training_options(command("train", train, "train a classifier and write a run folder with a report"))

    help_text = "measure a trained run on its test rows, or on your own labelled data"
    evaluate_parser = command("evaluate", evaluate, help_text)
    evaluate_parser.add_argument("folder", type=Path, metavar="RUN")
    evaluate_parser.add_argument("--json", action="store_true", help="print JSON")
    add_data_options(evaluate_parser)

    deployment_commands.add_commands(command)
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    add = parser.add_argument
    add("task", choices=("text", "sentiment", "images"), help="texts (two words for them) or images")
    add("--output", required=True, type=Path, metavar="RUN", help="the run folder to write")
    models = (
        "minilm, a folder or an encoder of the hub; efficientnet_lite0, resnet50 or any image model of timm"
    )
    add("--model", metavar="NAME|DIR", help=models)
    add("--strategy", choices=("full", "head", "gradual", "lora"), help="which weights move (default: full)")
    add("--epochs", type=int, metavar="N", help="passes over the training rows (default: of the recipe)")
    add("--max-steps", type=int, metavar="N", help="optimizer steps in all, in place of --epochs")
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="rows per batch, all processes together (default: of the recipe)",
    )
    add("--learning-rate", type=float, metavar="X", help="learning rate of the head (default: of the recipe)")
    add("--seed", type=int, metavar="N", help="seed of head, order, dropout and augmentation (default: 0)")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes that load batches (default: 0, the training's own)",
    )
    limit = "at most N training rows, 0 = all (default: 2000 at quick scale, else 0)"
    add("--limit", type=int, metavar="N", help=limit)
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
    add(
        "--data",
        metavar="PATH",
        help="your own CSV file, image folder, or labels file (default: the course's data)",
    )
    add("--text-column", metavar="C", help="column with the text (default: text)")
    add("--label-column", metavar="C", help="column with the label (default: label)")
    add("--group-column", metavar="C", help="column whose equal values stay on one side of the split")
    add("--file-column", metavar="C", help="column of a labels file with the image's path (default: file)")
    add("--on-bad", choices=("stop", "skip"), help="what to do with bad rows or files (default: stop)")


def fetch(options) -> None:
    """Print what was fetched, a line for each file that was missing or damaged; exit status 2 if one cannot
    be had.
    """
    from helpers import assets

    for line in assets.fetch():
        print(line)
    print(f"all data and weights are in {assets.FOLDER}, verified")


def doctor(options) -> int:
    """Print what was found and what to do about it; exit status 1 if something is missing."""
    from helpers import doctor as machine

    checks = machine.examine()
    if options.json:
        print(json.dumps(machine.findings(checks), indent=2))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ready else 'FAIL'} {check.name:<9} {check.found}")
            if not check.ready:
                print(f"     -> {check.remedy}")
    return 0 if all(check.ready for check in checks) else 1


def train(options) -> None:
    """Train, and print a summary of the test metrics, or metrics.json; exit status 2 for bad input."""
    # a wrong option is said before seconds of imports
    config = None if options.resume else run_config(options)
    from helpers.runs import folder, report, run

    config = config or folder.load_config(options.output)
    if is_first_process() and config.limit and config.data:
        print(
            f"using at most {config.limit:,} of your rows for training; --limit 0 uses all", file=sys.stderr
        )
    with progress_display() as display:
        metrics = run.train(config, options.output, resume=options.resume, on_step=display.show)
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
    """Print accuracy, macro-F1 with its interval and loss, or all metrics as JSON; exit status 2 for bad
    input.
    """
    from helpers.runs import run

    metrics = run.evaluate(options.folder, **data_options(options))
    if options.json:
        print(json.dumps(metrics, indent=2))
        return
    for problem in metrics["skipped"]:
        print(f"skipped {problem['where']}: {problem['what']}", file=sys.stderr)
    if metrics["not_kept"]:
        print(
            f"{metrics['not_kept']:,} test rows did not fit into the run folder and are missing here",
            file=sys.stderr,
        )
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
        lines.append(
            f"{metrics['skipped']} bad rows or files were left out, listed in {folder / 'skipped.csv'}"
        )
    for name, kept in metrics["rows_kept"].items():
        if kept < metrics["rows"][name]:
            lines.append(
                f"the run folder keeps {kept:,} of the {metrics['rows'][name]:,} {name} rows, more "
                "would not fit"
            )
    work = f"{metrics['optimizer_steps']:,} optimizer steps on {metrics['rows']['train']:,} rows"
    place = f"{metrics['seconds']:.0f} s ({metrics['device']}, {metrics['precision']})"
    lines.append(f"{work} in {place}; report: {folder / 'report.html'}")
    return "\n".join(lines)


def progress_display():
    """What shows the steps of a training: a bar on a terminal, else lines; nothing in all processes but the
    first.
    """
    if not is_first_process():
        return Silence()
    return ProgressBar() if sys.stderr.isatty() else ProgressLines()


class Silence:
    """Shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is left to do."""

    def show(self, step, planned: int) -> None:
        """Called after each optimizer step with the number of steps planned."""


class ProgressBar(Silence):
    """A bar over the optimizer steps, and a line for each evaluation."""

    def __init__(self):
        from tqdm import tqdm

        self.bar = tqdm(unit="step", file=sys.stderr)

    def __exit__(self, *_):
        self.bar.close()

    def show(self, step, planned: int) -> None:
        """Move the bar."""
        self.bar.total = planned
        # The bar draws itself a few times a second; a loss read more often would only make a GPU wait.
        if self.bar.update(step.step - self.bar.n):
            self.bar.set_postfix_str(f"loss={step.train_loss:.3f}", refresh=False)
        if step.validation:
            self.bar.write(evaluation_text(step), file=sys.stderr)


class ProgressLines(Silence):
    """For files and pipes: a line every ten seconds at most, and one for each evaluation."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.begun = self.shown = clock()
        self.first = None

    def show(self, step, planned: int) -> None:
        """Write a line if it is time."""
        now = self.clock()
        if self.first is None:
            self.first = step.step - 1  # of a resumed run, whose earlier steps took none of this time
        if step.validation:
            print(evaluation_text(step), file=sys.stderr, flush=True)
        if now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            rate = (step.step - self.first) / (now - self.begun)
            left = (planned - step.step) / rate
            place = f"step {step.step:,} of {planned:,} (epoch {step.epoch})"
            speed = f"{rate:.2f} steps/s, about {left:,.0f} s left"
            print(f"{place}: loss {step.train_loss:.3f}, {speed}", file=sys.stderr, flush=True)


def evaluation_text(step) -> str:
    """The scores of an evaluation on one line."""
    scores = ", ".join(f"{name} {value:.3f}" for name, value in step.validation.items() if name != "n")
    best = " (best)" if step.is_best else ""
    return f"epoch {step.epoch}: validation {scores}{best}".replace("macro_f1", "macro-F1")
