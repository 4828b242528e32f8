"""What many rows and many classes cost: seconds and the largest memory of processes of their own.

usage: python benchmarks/scale.py [prepare] [classes] [predict] [--rows N ...] [--predict-rows N]

* prepare: `recipes.prepare` on CSV files of short comments, by its parts: 10,000, 100,000, 1,000,000 rows.
* classes: `train` with 3 and with 300 classes on the same number of short texts.
* predict: `predict` of 200,000 rows; seconds until the first answer is in the output file, or in its
  unfinished neighbour.

The texts are the embedded comments with a number behind each, so that none is a copy; the model of `train`
and `predict` is a BERT of two small layers, since its own arithmetic is not what is measured. Results go to
benchmarks/results/scale.json, part by part; about ten minutes on 2 cores.
"""

import argparse
import csv
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from helpers import environment
from helpers.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results" / "scale.json"
ROWS, PREDICT_ROWS = (10_000, 100_000, 1_000_000), 200_000
CLASSES, CLASS_ROWS, LIMIT = (3, 300), 6000, 500
TRAINING = ("--limit", str(LIMIT), "--epochs", "1")


def write_comments(file: Path, rows: int, num_classes: int | None = None) -> None:
    """A CSV file of distinct short comments; with `num_classes`, labels "class 0", "class 1", ... in turn."""
    from helpers.data import sources

    comments = sources.comments()
    texts, labels = comments["text"].tolist(), comments["label"].tolist()
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["text", "label"])
        for number in range(rows):
            place = number % len(texts)
            label = labels[place] if num_classes is None else f"class {number % num_classes}"
            writer.writerow([f"{texts[place]} {number}", label])


def write_small_model(folder: Path) -> None:
    """A BERT of two layers with random weights and the tokenizer of MiniLM."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    from helpers import assets

    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def peak_megabytes(usage) -> int:
    """The largest memory of a process, from what the system says about it."""
    return round(usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))  # bytes or kilobytes


def prepared(file: str) -> dict:
    """Seconds of `recipes.prepare` by its parts, and the memory beyond that of the imports."""
    from helpers.runs import recipes
    from helpers.tasks import task_named

    seconds, task = {}, task_named("text")

    def time_calls(owner, name: str, part: str) -> None:
        function = getattr(owner, name)

        def timed(*arguments, **options):
            start = time.perf_counter()
            result = function(*arguments, **options)
            seconds[part] = round(time.perf_counter() - start, 2)
            return result

        setattr(owner, name, timed)

    for owner, name, part in (
        (recipes, "load_rows", "read"),
        (task, "clean", "clean"),
        (recipes.splits, "split", "split"),
        (recipes, "prepare", "total"),
    ):
        time_calls(owner, name, part)
    used = lambda: peak_megabytes(resource.getrusage(resource.RUSAGE_SELF))
    imports = used()
    rows = recipes.prepare(recipes.RunConfig("text", data=file)).splits
    counts = {name: len(part) for name, part in rows.items()}
    return {"seconds": seconds, "imports_mb": imports, "peak_mb": used(), "rows": counts}


def in_child(function, *arguments):
    """What a function returns that is called in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def command(*arguments, output: Path | None = None) -> dict:
    """Run `python -m helpers ...`: seconds, the largest memory, and seconds to a first row below `output`."""
    start, first = time.perf_counter(), None
    process = subprocess.Popen([sys.executable, "-m", "helpers", *arguments], stdout=subprocess.DEVNULL)
    finished = 0
    while not finished:
        finished, status, used = os.wait4(process.pid, os.WNOHANG)
        if output and first is None and has_row(output):
            first = round(time.perf_counter() - start, 1)
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {process.returncode}")
    result = {"seconds": round(time.perf_counter() - start, 1), "peak_mb": peak_megabytes(used)}
    return result if output is None else result | {"seconds_to_first_row": first}


def has_row(folder: Path) -> bool:
    """Whether a file in a folder, finished or not, holds a header and a row."""
    for file in folder.iterdir():
        try:
            with file.open("rb") as content:
                if content.read(65536).count(b"\n") >= 2:
                    return True
        except FileNotFoundError:
            return False  # it has just been renamed: the next look sees it
    return False


def measure_prepare(folder: Path, rows: list[int]) -> dict:
    """`prepared` for each number of rows."""
    results = {}
    for number in rows:
        file = folder / f"{number}.csv"
        in_child(write_comments, file, number)
        results[str(number)] = in_child(prepared, str(file))
        print("prepare", number, results[str(number)], flush=True)
    return results


def measure_classes(folder: Path) -> dict:
    """`train` with few and with many classes, on the same texts."""
    results, model = {}, folder / "small"
    in_child(write_small_model, model)
    for number in CLASSES:
        file, run = folder / f"classes{number}.csv", folder / f"run{number}"
        in_child(write_comments, file, CLASS_ROWS, number)
        training = ("--data", str(file), "--model", str(model), "--output", str(run), *TRAINING)
        results[str(number)] = command("train", "text", *training)
        print("classes", number, results[str(number)], flush=True)
    return results | {"rows": CLASS_ROWS, "limit": LIMIT}


def measure_predict(folder: Path, rows: int) -> dict:
    """`predict` of many rows, with a run on the embedded comments."""
    model, run, file, output = (folder / name for name in ("tiny", "run", "new.csv", "output"))
    in_child(write_small_model, model)
    command("train", "text", "--model", str(model), "--output", str(run), *TRAINING)
    in_child(write_comments, file, rows)
    output.mkdir()
    answers = ("--input", str(file), "--output", str(output / "answers.csv"))
    result = {"rows": rows} | command("predict", str(run), *answers, output=output)
    print("predict", result, flush=True)
    return result


def main() -> None:
    """Measure the parts asked for, and write each as soon as it is done."""
    parser = argparse.ArgumentParser(description="What many rows and many classes cost.")
    parts = ("prepare", "classes", "predict")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; all by default")
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, metavar="N")
    parser.add_argument("--predict-rows", type=int, default=PREDICT_ROWS, metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args()
    if not set(options.parts) <= set(parts):
        parser.error(f"the parts are {', '.join(parts)}, found {' '.join(options.parts)}")
    measures = {
        "prepare": lambda folder: measure_prepare(folder, options.rows),
        "classes": measure_classes,
        "predict": lambda folder: measure_predict(folder, options.predict_rows),
    }
    file = options.results
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results |= {"cores": os.cpu_count(), "versions": environment.versions()}
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts or parts:
            results[part] = measures[part](Path(folder))
            write_atomically(file, json.dumps(results, indent=1).encode())


if __name__ == "__main__":
    main()
