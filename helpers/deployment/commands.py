"""The commands that use a trained run: predict, export, serve (chapter 07 shows them)."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

from helpers.errors import InputError

CHECKED = 500  # validation rows on which an export must agree with the PyTorch model


def add_commands(command: Callable) -> None:
    """Add the commands by `command(name, function, help_text)`, which returns their parser."""
    predict_parser = command("predict", predict, "label texts or images with a trained run")
    predict_parser.add_argument("folder", type=Path, metavar="RUN")
    predict_parser.add_argument("inputs", nargs="*", metavar="TEXT|IMAGE")
    predict_parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="a CSV file, a .txt file with one text per line, or a folder of images",
    )
    predict_parser.add_argument(
        "--text-column", default="text", metavar="C", help="column of the CSV file (default: text)"
    )
    predict_parser.add_argument(
        "--output", type=Path, metavar="OUT.csv", help="write input, label and probabilities there"
    )
    predict_parser.add_argument("--json", action="store_true", help="print one JSON object per input")
    predict_parser.add_argument(
        "--on-bad", choices=("stop", "skip"), default="stop", help="what to do with bad rows or files"
    )
    add_engine_options(predict_parser)

    export_parser = command(
        "export", export, "write a trained run as an ONNX file, checked against the PyTorch model"
    )
    export_parser.add_argument("folder", type=Path, metavar="RUN")
    export_parser.add_argument("--format", choices=("onnx",), required=True, help="the format to write")
    export_parser.add_argument(
        "--int8", action="store_true", help="texts only: weights in 8 bits, a quarter of the size"
    )
    export_parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write (default: RUN/onnx or RUN/onnx-int8)"
    )
    export_parser.add_argument("--json", action="store_true", help="print one JSON object")

    serve_parser = command("serve", serve, "answer HTTP requests with a trained run, until Ctrl-C")
    serve_parser.add_argument("folder", type=Path, metavar="RUN")
    serve_parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: 8000)"
    )
    serve_parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen; the default keeps other machines out",
    )
    add_engine_options(serve_parser)


def add_engine_options(parser) -> None:
    """`--onnx` and `--int8`, at most one of them."""
    engines = parser.add_mutually_exclusive_group()
    engines.add_argument("--onnx", action="store_true", help="use the export of RUN instead of PyTorch")
    engines.add_argument("--int8", action="store_true", help="use the int8 export of RUN")


def chosen_engine(options) -> str:
    """What the engine options say, see `predict.load_run`."""
    return "int8" if options.int8 else "onnx" if options.onnx else "torch"


def export(options) -> None:
    """`export`."""
    from helpers.deployment.export import export_onnx
    from helpers.deployment.predict import FOLDERS, load_run

    engine = "int8" if options.int8 else "onnx"
    classifier = load_run(options.folder)
    done = export_onnx(
        classifier,
        options.output or options.folder / FOLDERS[engine],
        validation_inputs(options.folder),
        int8=options.int8,
    )
    parity = done.parity
    if options.json:
        named = {"folder": str(done.folder), "file": str(done.file), "bytes": done.bytes}
        print(
            json.dumps(
                named
                | {
                    "rows": parity.rows,
                    "max_difference": parity.max_difference,
                    "agreement": parity.agreement,
                }
            )
        )
        return
    print(f"{done.file}: {done.bytes / 1e6:.1f} MB")
    print(
        f"on {parity.rows:,} validation rows: the same label as PyTorch in {parity.agreement:.2%}, "
        f"probabilities differ by at most {parity.max_difference:.2g}"
    )


def validation_inputs(folder: Path) -> list:
    """Some validation texts or images of a run, the same ones every time."""
    from helpers.data.splits import subsample
    from helpers.training import recipes, run

    frame = subsample(recipes.prepare(run.load_config(folder)).splits["validation"], CHECKED)
    return frame[next(column for column in ("text", "path", "image") if column in frame)].tolist()


def serve(options) -> None:
    """`serve`."""
    from helpers.deployment import service

    service.serve(options.folder, engine=chosen_engine(options), host=options.host, port=options.port)


def predict(options) -> None:
    """`predict`."""
    from helpers.deployment import predict as prediction

    classifier = prediction.load_run(options.folder, engine=chosen_engine(options))
    inputs, problems = read_inputs(options, classifier.task)
    if options.output:
        check_output_file(options.output)
    probabilities = prediction.predict(classifier, inputs)
    labels = [classifier.classes[i] for i in probabilities.argmax(1)]
    if options.output:
        write_predictions(options.output, inputs, labels, probabilities, classifier.classes)
    for problem in problems:
        print(f"skipped {problem}", file=sys.stderr)
    if options.json:
        for text, label, row in zip(inputs, labels, probabilities):
            named = {name: round(float(p), 6) for name, p in zip(classifier.classes, row)}
            print(json.dumps({"input": text, "label": label, "probabilities": named}))
    elif options.output:
        print(f"{len(inputs):,} predictions written to {options.output}")
    else:
        for text, label, row in zip(inputs, labels, probabilities):
            print(
                f"{label}  ({', '.join(f'{name} {p:.3f}' for name, p in zip(classifier.classes, row))})  "
                f"{text}"
            )


def read_inputs(options, task: str) -> tuple[list[str], list]:
    """The inputs of `predict` in order, from the command line or `--input`, and the problems of those that
    were left out.
    """
    from helpers.data import own

    if bool(options.inputs) == bool(options.input):
        raise InputError(
            "predict needs either inputs on the command line or --input FILE, found "
            + ("both" if options.input else "none")
        )
    if task == "text":
        if not options.input:
            return own.check_texts(options.inputs, options.on_bad)
        if options.input.suffix.lower() == ".txt":
            return own.texts_from_lines(options.input, on_bad=options.on_bad)
        frame, problems = own.from_csv(
            options.input, text_column=options.text_column, label_column=None, on_bad=options.on_bad
        )
        return frame["text"].tolist(), problems
    return own.image_files(options.input or options.inputs, on_bad=options.on_bad)


def check_output_file(file: Path) -> None:
    """Refuse an output file that cannot be written, before the work."""
    from helpers.files import is_writable

    if file.is_dir() or not file.absolute().parent.is_dir() or not is_writable(file.absolute().parent):
        raise InputError(f"{file} cannot be written; choose a file in an existing, writable folder")


def write_predictions(
    file: Path, inputs: list[str], labels: list[str], probabilities, classes: tuple[str, ...]
) -> None:
    """One CSV row per input, in order: input, label, p_<class>..."""
    from helpers.files import write_atomically

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["input", "label", *(f"p_{name}" for name in classes)])
    for text, label, row in zip(inputs, labels, probabilities):
        writer.writerow([text, label, *(f"{p:.6f}" for p in row)])
    write_atomically(file, buffer.getvalue().encode())
