"""Measure what an export costs and brings: ONNX in float32 and int8 against PyTorch, on every test row of the
comments.

usage: python benchmarks/export.py [RUN]     (about 6 minutes of one core; without RUN the default run is
trained first, 4 more)

The way of quantising is chosen on 2,000 validation rows: each candidate's agreement with PyTorch, size and
time. The chosen one, which is `helpers.deployment.export.quantise`, and float32 are then compared with
PyTorch on all test rows, once. Times are CPU times of ONE thread, tokenizer not included: the median of 3
passes over the same batches of 64 texts of similar length, and of single texts. Last, the reason why int8 of
images is refused: static quantisation of the course's image model, on validation rows (without the
environment variable RUN_IMAGES it is trained first). Results go to benchmarks/results/export.json, part by
part: the script goes on where it was stopped.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the times are those of one thread

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

from helpers import environment
from helpers.data.cleaning import clean_text
from helpers.data.datasets import MAX_TOKENS
from helpers.data.pictures import open_image
from helpers.data.transforms import evaluation_preset
from helpers.deployment import export
from helpers.deployment.predict import OnnxModel, compare, load_run, predict
from helpers.models.pretrained import Classifier
from helpers.runs import recipes
from helpers.runs.recipes import RunConfig

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "export.json"
CHOICE_ROWS, SINGLE, PASSES = 2000, 60, 3
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
    quantize_dynamic(source, plain, op_types_to_quantize=["MatMul"])
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


class Calibration(CalibrationDataReader):
    """Batches of training images, from which static quantisation takes the ranges of the activations."""

    def __init__(self, images: torch.Tensor):
        self.batches = iter([{"images": part.numpy()} for part in images.split(50)])

    def get_next(self):
        """The next batch, or None."""
        return next(self.batches, None)


def measure_images(run: Path, folder: Path) -> dict:
    """The image model in float32 and with static int8, on validation rows."""
    classifier = load_run(run)
    parts = recipes.prepare(RunConfig(task="images", limit=1000)).splits
    transform = evaluation_preset(classifier.preprocessor)
    calibration = torch.stack([transform(open_image(image)) for image in parts["train"]["image"][:200]])
    inputs = parts["validation"]["image"].tolist()
    batches = [
        {"images": torch.stack([transform(open_image(image)) for image in inputs[start : start + 64]])}
        for start in range(0, len(inputs), 64)
    ]
    source, static = (
        export.export_onnx(classifier, folder / "images", inputs[:50]).file,
        folder / "static.onnx",
    )
    quantize_static(
        source,
        static,
        Calibration(calibration),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    expected = predict(classifier, inputs)
    torch_model = lambda images: classifier.model(images)
    found = {
        "torch": {
            "megabytes": (run / "model" / "model.safetensors").stat().st_size / 1e6,
            "seconds": seconds(torch_model, batches),
        }
    }
    for name, file in {"onnx": source, "int8 (refused)": static}.items():
        model = OnnxModel(file, threads=1)
        found[name] = describe(classifier, model, file, inputs, expected) | {
            "seconds": seconds(model, batches)
        }
        print("images", name, found[name], flush=True)
    return found


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
        "images": (measure_images, "images --limit 500 --epochs 2"),
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
