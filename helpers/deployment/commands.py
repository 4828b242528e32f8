"""The commands that use a trained run: predict, export, serve (chapter 07 shows them)."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from helpers.deployment import chat_commands
from helpers.display import counting
from helpers.errors import InputError
from helpers.runs.commands import refuse_given

FORMATS = ("onnx", "safetensors", "gguf")
CHECKED = 500  # validation rows on which an export must agree with the PyTorch model


def add_commands(command: Callable) -> None:
    """Add the commands by `command(name, function, help_text)`, which returns their parser."""
    parser = command("predict", predict, "label texts or images with a trained run")
    add = parser.add_argument
    add("folder", type=Path, metavar="RUN")
    add("inputs", nargs="*", metavar="TEXT|IMAGE")
    add(
        "--input", type=Path, metavar="FILE", help="table, .txt with one text per line, or a folder of images"
    )
    add("--text-column", metavar="C", help="column of the table (default: text)")
    add(
        "--output",
        type=Path,
        metavar="OUT.csv",
        help="write the input's columns, label and probabilities there",
    )
    add("--json", action="store_true", help="print one JSON object per input")
    add("--on-bad", choices=("stop", "skip"), default="stop", help="what to do with bad rows or files")
    add_engine_options(parser)

    about = "write a trained run as a file for other programs, checked against the PyTorch model"
    add = command("export", export, about).add_argument
    add("folder", type=Path, metavar="RUN")
    add("--format", choices=FORMATS, required=True, help="the format to write: onnx, or of a language model")
    add("--int8", action="store_true", help="texts only: weights in 8 bits, a quarter of the size")
    add("--quantise", choices=("bf16", "q8_0"), help="gguf only: instead of 16-bit floats (f16)")
    add("--output", type=Path, metavar="PATH", help="where to write (default: into RUN)")
    add("--json", action="store_true", help="print one JSON object")

    parser = command("serve", serve, "answer HTTP requests with a trained run, until Ctrl-C")
    add = parser.add_argument
    add("folder", type=Path, metavar="RUN")
    add("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: this machine only)")
    add_engine_options(parser)
    chat_commands.add_commands(command)


def add_engine_options(parser) -> None:
    """`--onnx` and `--int8`, at most one of them: the engine, see `predict.load_run`."""
    engines = parser.add_mutually_exclusive_group()
    option = {"dest": "engine", "action": "store_const", "default": "torch"}
    engines.add_argument("--onnx", const="onnx", **option, help="use the export of RUN instead of PyTorch")
    engines.add_argument("--int8", const="int8", **option, help="use the int8 export of RUN")


def export(options) -> None:
    """Print the file's size and how far it agrees with PyTorch, or JSON; exit status 2 if it does not."""
    is_writer = chat_commands.is_writer(options.folder)
    if is_writer != (options.format != "onnx"):
        what = "language model: use safetensors or gguf" if is_writer else "classifier: use onnx"
        raise InputError(f"--format {options.format} does not suit {options.folder}, which is a {what}")
    refuse_given(options, [(("quantise",), options.format != "gguf", "without --format gguf")])
    refuse_given(options, [(("int8",), is_writer, "on a language model")])
    if is_writer:
        return chat_commands.export(options)
    from helpers.data.splits import subsample
    from helpers.deployment.export import export_onnx
    from helpers.deployment.predict import FOLDERS, load_run
    from helpers.runs.folder import kept_rows
    from helpers.tasks import TASKS

    classifier = load_run(options.folder)
    check_on = TASKS[classifier.task].inputs(subsample(kept_rows(options.folder, "validation"), CHECKED))
    folder = options.output or options.folder / FOLDERS["int8" if options.int8 else "onnx"]
    done = export_onnx(classifier, folder, check_on, int8=options.int8)
    parity = done.parity
    if options.json:
        written = {"folder": str(done.folder), "file": str(done.file), "bytes": done.bytes}
        print(json.dumps(written | asdict(parity)))
        return
    print(f"{done.file}: {done.bytes / 1e6:.1f} MB")
    agreed = f"the same label as PyTorch in {parity.agreement:.2%}"
    differ = f"probabilities differ by at most {parity.max_difference:.2g}"
    print(f"on {parity.rows:,} validation rows: {agreed}, {differ}")


def serve(options) -> None:
    """Print the address, and requests to stderr; exit status 0 after Ctrl-C, 2 for bad input."""
    if chat_commands.is_writer(options.folder):
        return chat_commands.serve(options)
    from helpers.deployment import service

    make_app = partial(service.run_app, options.folder, options.engine)
    service.serve(make_app, f"{options.folder} ({options.engine})", host=options.host, port=options.port)


def predict(options) -> None:
    """Print label and probabilities of each input, or how many OUT.csv holds; exit status 2 for bad input."""
    from helpers.deployment.labelling import check_output, model_version, predicted, write_predictions
    from helpers.deployment.predict import answer, load_run
    from helpers.tasks import TASKS

    if bool(options.inputs) == bool(options.input):
        found = "both" if options.input else "none"
        raise InputError(f"predict needs either inputs on the command line or --input FILE, found {found}")
    if chat_commands.is_writer(options.folder):
        raise InputError(f"{options.folder} is a language model, which has no labels; use generate or chat")
    classifier = load_run(options.folder, engine=options.engine)
    refuse_idle_options(options, classifier.task)
    inputs, problems = TASKS[classifier.task].read_inputs(options.input or options.inputs, options)
    for line in [*(f"skipped {problem}" for problem in problems), *inputs.noticed]:
        print(line, file=sys.stderr)
    if options.output:
        check_output(options.output, options.input)
        version = model_version(options.folder, options.engine)
        with counting(len(inputs.values), "rows") as advance:
            kept = write_predictions(classifier, inputs, options.output, version, advance)
        if kept:
            print(f"{kept:,} of them were written by an earlier call, which was stopped", file=sys.stderr)
        print(f"{len(inputs.values):,} predictions written to {options.output}")
    else:
        for start, probabilities in predicted(classifier, inputs):
            for place, row in enumerate(probabilities, start):
                label, shares = answer(row, classifier.classes)
                show_answer(inputs, place, label, shares, as_json=options.json)
    cut = TASKS[classifier.task].token_counts(classifier, inputs.values)
    for sentence in cut.sentences() if cut else []:
        print(sentence, file=sys.stderr)


def show_answer(inputs, place: int, label: str, shares: dict[str, float], *, as_json: bool) -> None:
    """One line for one input."""
    given = inputs.values[place]
    if as_json:
        row = {"row": inputs.numbers[place], "input": given, "label": label, "probabilities": shares}
        print(json.dumps(row), flush=True)
        return
    shown = ", ".join(f"{name} {p:.3f}" for name, p in shares.items())
    print(f"{label}  ({shown})  {given}")


def refuse_idle_options(options, task: str) -> None:
    """Refuse options of `predict` that change nothing; an InputError names them."""
    is_table = task == "text" and options.input is not None and options.input.suffix.lower() != ".txt"
    idle = [
        (("text_column",), not is_table, "but for the column of a table with texts"),
        (("json",), options.output is not None, "beside --output, which writes a CSV file"),
    ]
    refuse_given(options, idle)
