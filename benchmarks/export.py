"""Measure what an export costs and brings: ONNX in float32 and int8 against PyTorch, on every test row of the
comments.

usage: python benchmarks/export.py [RUN]     (about 8 minutes of one core; without RUN, or the environment
variable RUN_IMAGES, the default runs are trained first, 6 more)

The way of quantising is chosen on 1,000 validation rows: each candidate's agreement with PyTorch, size and
time. The chosen one, which is `helpers.deployment.export.quantise`, and float32 are then compared with
PyTorch on all test rows, once. Times are CPU times of ONE thread, tokenizer not included: the median of 3
passes over the same batches of 64 texts of similar length, and of single texts. Last, static int8 of the
course's image model: the calibration is chosen on validation rows, and the best one compared on test rows,
once. Results go to benchmarks/results/export.json, part by part: the script goes on where it was stopped.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the times are those of one thread

import numpy as np
import torch
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic

from helpers import environment
from helpers.data.cleaning import clean_text
from helpers.data.datasets import MAX_TOKENS, encode_labels
from helpers.data.pictures import open_image
from helpers.data.transforms import evaluation_preset
from helpers.deployment import export
from helpers.deployment.predict import OnnxModel, compare, load_run, predict
from helpers.models.pretrained import Classifier
from helpers.runs import recipes
from helpers.runs.recipes import RunConfig
from lessons.ch08 import static_int8

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "export.json"
CHOICE_ROWS, SINGLE, PASSES = 1000, 60, 3
KEPT = (
    "plain dynamic",
    "dynamic, one scale per column",
    "dynamic, one scale per column, embeddings too",
    "scales per block and row (chosen)",
)


def seconds(model, batches: list[dict]) -> float:
    """Median CPU seconds of one thread for all batches; a first pass over some of them does not count."""

    def once(some):
        start = time.process_time()
        with torch.inference_mode():
            for batch in some:
                model(**batch)
        return time.process_time() - start

    once(batches[:: max(1, len(batches) // 5)])
    return statistics.median(once(batches) for _ in range(PASSES))


def text_batches(classifier: Classifier, texts: list[str], size: int) -> list[dict]:
    """Padded batches of texts of similar length."""
    ids = classifier.preprocessor(
        [clean_text(text) for text in texts], truncation=True, max_length=MAX_TOKENS
    )["input_ids"]
    ids.sort(key=len)
    pad = classifier.preprocessor.pad
    return [
        dict(pad({"input_ids": ids[start : start + size]}, return_tensors="pt"))
        for start in range(0, len(ids), size)
    ]


def describe(classifier: Classifier, model, file: Path, inputs: list, expected: np.ndarray) -> dict:
    """How far a model differs from PyTorch on the inputs, and its size in MB."""
    other = Classifier(classifier.task, classifier.name, model, classifier.classes, classifier.preprocessor)
    comparison = compare(expected, predict(other, inputs))
    return {
        "rows": comparison.rows,
        "max_difference": comparison.max_difference,
        "agreement": comparison.agreement,
        "megabytes": file.stat().st_size / 1e6,
    }


def candidates(source: Path, folder: Path) -> dict[str, Path]:
    """The ways of quantising that were tried, as files."""
    files = {name: folder / f"{number}.onnx" for number, name in enumerate(KEPT)}
    plain, columns, embeddings, chosen = files.values()
    quantize_dynamic(source, plain, weight_type=QuantType.QInt8)
    quantize_dynamic(source, columns, op_types_to_quantize=["MatMul"], per_channel=True)
    quantize_dynamic(source, embeddings, op_types_to_quantize=["MatMul", "Gather"], per_channel=True)
    chosen.write_bytes(source.read_bytes())
    export.quantise(chosen)
    return files


def measure_texts(run: Path, folder: Path) -> dict:
    """The choice on validation rows, then both exports on the test rows."""
    classifier = load_run(run)
    parts = recipes.prepare(RunConfig(task="sentiment", limit=0)).splits
    validation = parts["validation"]["text"].sample(CHOICE_ROWS, random_state=0).tolist()
    test = parts["test"]["text"].tolist()
    source = export.export_onnx(classifier, folder / "float32", validation[:200]).file
    expected, batches = predict(classifier, validation), text_batches(classifier, validation, 64)
    choice = {}
    for name, file in {"float32": source, **candidates(source, folder)}.items():
        model = OnnxModel(file, threads=1)
        choice[name] = describe(classifier, model, file, validation, expected) | {
            "seconds": seconds(model, batches)
        }
        print(name, choice[name], flush=True)
    expected, batches, single = (
        predict(classifier, test),
        text_batches(classifier, test, 64),
        text_batches(classifier, test[:SINGLE], 1),
    )
    weights = run / "model" / "model.safetensors"
    tested = {"torch": {"megabytes": weights.stat().st_size / 1e6}}
    times = lambda model: {
        "seconds": seconds(model, batches),
        "ms_single": 1000 * seconds(model, single) / SINGLE,
    }
    tested["torch"] |= times(classifier.model)
    for name, file in {"onnx": source, "int8": folder / f"{len(KEPT) - 1}.onnx"}.items():
        model = OnnxModel(file, threads=1)
        tested[name] = describe(classifier, model, file, test, expected) | times(model)
    for name, row in tested.items():
        print(name, row, flush=True)
    return {"choice_validation": choice, "test": tested}


WAYS = {  # of fixing the scales of the activations, and how many training pictures show them
    "one scale per matrix, min-max": (200, {"per_channel": False}),
    "min-max": (500, {}),
    "percentile": (200, {"calibrate_method": CalibrationMethod.Percentile}),
    "entropy": (100, {"calibrate_method": CalibrationMethod.Entropy}),
    "min-max, 7-bit weights": (500, {"reduce_range": True}),
}


def measure_images(run: Path, folder: Path) -> dict:
    """The image model with static int8: the way is chosen on validation rows, and tested once."""
    classifier = load_run(run)
    parts = recipes.prepare(RunConfig(task="images", limit=2000)).splits
    transform = evaluation_preset(classifier.preprocessor)
    shown = torch.stack([transform(open_image(image)) for image in parts["train"]["image"][:500]])
    inputs = {name: parts[name]["image"].tolist() for name in ("validation", "test")}
    batches = {
        name: [
            {"images": torch.stack([transform(open_image(image)) for image in images[start : start + 64]])}
            for start in range(0, len(images), 64)
        ]
        for name, images in inputs.items()
    }
    source = export.export_onnx(classifier, folder / "images", inputs["validation"][:50]).file
    files = {"float32": source}
    for number, (name, (count, options)) in enumerate(WAYS.items()):
        files[name] = folder / f"images{number}.onnx"
        static_int8.quantise_pictures(source, files[name], shown[:count], **options)

    def measured(name: str, part: str, expected: np.ndarray) -> dict:
        model = OnnxModel(files[name], threads=1)
        row = describe(classifier, model, files[name], inputs[part], expected)
        given = predict(replace(classifier, model=model), inputs[part]).argmax(1)
        targets = encode_labels(parts[part], classifier.classes)
        row |= {"accuracy": float((given == targets).mean()), "seconds": seconds(model, batches[part])}
        print(part, name, row, flush=True)
        return row

    expected = predict(classifier, inputs["validation"])
    choice = {name: measured(name, "validation", expected) for name in files}
    best = max(WAYS, key=lambda name: choice[name]["agreement"])
    expected = predict(classifier, inputs["test"])
    tested = {name: measured(name, "test", expected) for name in ("float32", best)}
    return {"choice_validation": choice, "test": tested}


def trained(command: str, folder: Path) -> Path:
    """A run folder, freshly trained by a command of the course."""
    subprocess.run(
        [sys.executable, "-m", "helpers", "train", *command.split(), "--output", str(folder)],
        cwd=ROOT,
        check=True,
    )
    return folder


def main(arguments: list[str]) -> None:
    """Measure what the results file does not hold yet."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the quantisers advise on every call
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    runs = {"texts": arguments[0] if arguments else None, "images": os.environ.get("RUN_IMAGES")}
    jobs = {
        "texts": (measure_texts, "sentiment --limit 2000 --epochs 2"),
        "images": (measure_images, "images --limit 2000"),
    }
    for name, (measure, command) in jobs.items():
        if name in content:
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = Path(runs[name]) if runs[name] else trained(command, Path(folder) / "run")
            content |= {name: measure(run, Path(folder)), "versions": environment.versions()}
        RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
