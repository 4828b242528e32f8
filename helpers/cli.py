"""The command line, `python -m helpers`: fetch, doctor, train, evaluate, and those of `cli_deployment`
(chapter 00 shows it first).

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 the doctor found something, 2 bad
input.
"""

import argparse
import io
import json
import os
import sys
from pathlib import Path

from helpers import __version__
from helpers.deployment import commands as deployment_commands
from helpers.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a console without Unicode shows an emoji as \\U0001f600 and goes on
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except InputError as error:
        # Every process of a distributed run meets the same error; one says it.
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (`| head`) has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("interrupted; `train` goes on from its last checkpoint with --resume", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers", description="The course's helpers as commands.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, help_text):
        added = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        added.set_defaults(run=function)
        return added

    command("fetch", fetch, "download and verify the data and weights; a second call changes nothing")

    doctor_parser = command("doctor", doctor, "look whether this machine is ready for the course")
    doctor_parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    train_parser = command("train", train, "train a classifier and write a run folder with a report")
    train_parser.add_argument("task", choices=("sentiment", "images"), help="texts or images")
    train_parser.add_argument(
        "--output", required=True, type=Path, metavar="RUN", help="the run folder to write"
    )
    train_parser.add_argument(
        "--model", metavar="NAME|DIR", help="minilm, a folder or a hub name; efficientnet_lite0 or resnet50"
    )
    train_parser.add_argument(
        "--strategy", choices=("full", "head", "gradual", "lora"), help="which weights move (default: full)"
    )
    train_parser.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the training rows (default: of the recipe)"
    )
    train_parser.add_argument(
        "--batch-size", type=int, metavar="N", help="rows per batch, all processes together (default: 32)"
    )
    train_parser.add_argument(
        "--learning-rate", type=float, metavar="X", help="of the head (default: of the recipe)"
    )
    train_parser.add_argument(
        "--seed", type=int, metavar="N", help="of the head, the order, dropout and augmentation (default: 0)"
    )
    train_parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="at most N training rows, 0 = all (default: 2000 at quick scale, else 0)",
    )
    train_parser.add_argument(
        "--hard-labels",
        action="store_true",
        help="comments: learn only the label of the mean rating, not the raters' votes as well",
    )
    train_parser.add_argument(
        "--resume", action="store_true", help="go on with the run in RUN, exactly as if it had not stopped"
    )
    train_parser.add_argument("--json", action="store_true", help="print metrics.json instead of a summary")
    add_data_options(train_parser)

    evaluate_parser = command(
        "evaluate", evaluate, "measure a trained run on its test rows, or on your own labelled data"
    )
    evaluate_parser.add_argument("folder", type=Path, metavar="RUN")
    evaluate_parser.add_argument("--json", action="store_true", help="print JSON")
    add_data_options(evaluate_parser)

    deployment_commands.add_commands(command)
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where rows come from."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="your own CSV file, image folder, or labels file (default: the course's data)",
    )
    parser.add_argument("--text-column", metavar="C", help="column with the text (default: text)")
    parser.add_argument("--label-column", metavar="C", help="column with the label (default: label)")
    parser.add_argument(
        "--group-column", metavar="C", help="column whose equal values stay on one side of the split"
    )
    parser.add_argument(
        "--file-column", metavar="C", help="column of a labels file with the image's path (default: file)"
    )
    parser.add_argument(
        "--on-bad", choices=("stop", "skip"), help="what to do with bad rows or files (default: stop)"
    )


def fetch(options) -> None:
    """`fetch`."""
    from helpers import assets

    for line in assets.fetch():
        print(line)
    print(f"all data and weights are in {assets.FOLDER}, verified")


def doctor(options) -> int:
    """`doctor`."""
    from helpers import doctor as machine

    checks = machine.examine()
    if options.json:
        print(json.dumps(machine.findings(checks), indent=2))
    else:
        for check in checks:
            print(
                f"{'ok  ' if check.ready else 'FAIL'} {check.name:<9} {check.found}"
                + ("" if check.ready else f"\n     -> {check.remedy}")
            )
    return 0 if all(check.ready for check in checks) else 1


def train(options) -> None:
    """`train`."""
    config = (
        None if options.resume else run_config(options)
    )  # a wrong option is said before seconds of imports
    from helpers.training import report, run

    config = config or run.load_config(options.output)
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main and config.limit and config.data:
        print(
            f"using at most {config.limit:,} of your rows for training (quick scale); --limit 0 uses all",
            file=sys.stderr,
        )
    with ProgressBar(disable=not is_main) as bar:
        metrics, prepared = run.train(config, options.output, resume=options.resume, on_step=bar.show)
    if not is_main:
        return
    report.write_report(options.output, prepared.splits["test"])
    print(json.dumps(metrics, indent=2) if options.json else summary(metrics, options.output))


def run_config(options):
    """The configuration of a new run, from the command's options and the recipe's defaults."""
    from helpers import environment
    from helpers.training import recipes

    training = recipes.default_training(
        options.task,
        options.strategy or "full",
        epochs=options.epochs,
        seed=options.seed,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )
    limit = (
        options.limit
        if options.limit is not None
        else (recipes.QUICK_LIMIT if environment.scale() == "quick" else 0)
    )
    return recipes.RunConfig(
        task=options.task,
        model=options.model or recipes.DEFAULT_MODELS[options.task],
        limit=limit,
        soft_labels=not options.hard_labels,
        training=training,
        **data_options(options),
    )


def data_options(options) -> dict:
    """The data options that were given."""
    names = ("data", "text_column", "label_column", "group_column", "file_column", "on_bad")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def evaluate(options) -> None:
    """`evaluate`."""
    from helpers.training import run

    metrics = run.evaluate(options.folder, **data_options(options))
    if options.json:
        print(json.dumps(metrics, indent=2))
        return
    for problem in metrics["skipped"]:
        print(f"skipped {problem['where']}: {problem['what']}", file=sys.stderr)
    print(f"{metrics['n']:,} rows: {score_text(metrics)}")


def score_text(metrics: dict) -> str:
    """Accuracy and macro-F1 with its interval, in words."""
    low, high = metrics["macro_f1_interval"]
    return (
        f"accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f} (95% interval {low:.3f} "
        f"to {high:.3f}), loss {metrics['loss']:.3f}"
    )


def summary(metrics: dict, folder: Path) -> str:
    """What a person wants to know after a training run."""
    lines = [
        f"test, {metrics['test']['n']:,} rows: {score_text(metrics['test'])}",
        f"always answering {metrics['majority_baseline']['class']!r} would score accuracy "
        f"{metrics['majority_baseline']['accuracy']:.3f}",
    ]
    if ceiling := metrics.get("human_ceiling"):
        lines.append(
            f"one person against the mean of the others, same rows: accuracy {ceiling['accuracy']:.3f}, "
            f"macro-F1 {ceiling['macro_f1']:.3f}"
        )
    if metrics["skipped"]:
        lines.append(
            f"{metrics['skipped']} bad rows or files were left out, listed in {folder / 'skipped.csv'}"
        )
    steps = (
        f"{metrics['optimizer_steps']:,} optimizer steps on {metrics['rows']['train']:,} rows in "
        f"{metrics['seconds']:.0f} s"
    )
    lines.append(f"{steps} ({metrics['device']}, {metrics['precision']}); report: {folder / 'report.html'}")
    return "\n".join(lines)


class ProgressBar:
    """A tqdm bar over optimizer steps that also prints the validation metrics of each epoch."""

    def __init__(self, disable: bool):
        from tqdm.auto import tqdm

        self.bar = tqdm(unit="step", disable=disable, file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def show(self, step, planned: int) -> None:
        """Move the bar to `step` of `planned`."""
        self.bar.total = planned
        self.bar.update(step.step - self.bar.n)
        self.bar.set_postfix(loss=f"{step.train_loss:.3f}")
        if step.validation and not self.bar.disable:
            scores = f"accuracy {step.validation.accuracy:.3f}, macro-F1 {step.validation.macro_f1:.3f}"
            self.bar.write(
                f"epoch {step.epoch}: validation {scores}{' (best)' if step.is_best else ''}", file=sys.stderr
            )
