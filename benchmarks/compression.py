"""Measure what compression costs and saves: pruning, int8 and distillation of a fine-tuned MiniLM.

usage: python benchmarks/compression.py [SEED ...]     (about an hour of one core for all 15 seeds; goes
on where it was stopped, also side by side with other seeds)

One teacher per seed is fine-tuned on 600 labelled tweets. 1,400 further training tweets stand in for
unlabelled ones: nobody reads their labels. Validation tweets are cut in two by group: the first part chooses
the best epoch, the second part is what is reported. Test rows are not touched. No rate was tuned here:
teacher and student have the same one, twice that of the course's recipe, and the student every second layer,
as DistilBERT has. Two epochs of all rows are about as many steps as five of the labelled ones.
Times are CPU times of one thread per tweet, one tweet at a time, after ten calls that do not count. Results
go to benchmarks/results/compression.json, which chapter 08 draws.
"""

import copy
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the times are those of one thread

import numpy as np
import pandas as pd
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.nn.utils import prune

from helpers import environment
from helpers.data import cleaning, sources, splits
from helpers.data.datasets import MAX_TOKENS, encode_labels
from helpers.data.sources import SENTIMENTS
from helpers.deployment import export
from helpers.deployment.predict import OnnxModel, compare, predict
from helpers.models.pretrained import Classifier, text_classifier
from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit_classifier, forward
from helpers.training.metrics import classification_metrics
from lessons.ch03.networks import RecurrentClassifier
from lessons.ch08 import cutting
from lessons.ch08.distillation import Distillation

RESULTS = Path(__file__).resolve().parent / "results" / "compression.json"
SEEDS = tuple(range(1, 16))
LABELLED, UNLABELLED, SELECTION, TIMED = 600, 1400, 250, 40
LAYERS, TEMPERATURE = (0, 2, 4), 2.0
EPOCHS = {"teacher": 5, "student, labels": 5, "student, distilled": 2, "LSTM, distilled": 6}
RATE, LSTM_RATE = 3e-4, 1e-2


@dataclass(frozen=True)
class Rows:
    """The tweets of one seed: labelled, labelled and unlabelled together, those that select, and those that
    are reported.
    """

    labelled: pd.DataFrame
    everything: pd.DataFrame
    selection: pd.DataFrame
    reported: pd.DataFrame


def rows_of(seed: int) -> Rows:
    """The seed decides which tweets are labelled; selection and reported rows are the same for all."""
    comments = sources.comments()
    cleaned = cleaning.clean_comments(comments[comments["platform"] == "tweets"], key=cleaning.letters_key)
    parts = splits.split(cleaned[0])
    everything = parts["train"].sample(LABELLED + UNLABELLED, random_state=seed).reset_index(drop=True)
    validation = parts["validation"].sort_values("group", kind="stable")
    selection = validation["group"].isin(validation["group"].unique()[:SELECTION])
    chosen, reported = (validation[rows].reset_index(drop=True) for rows in (selection, ~selection))
    return Rows(everything.head(LABELLED), everything, chosen, reported)


def milliseconds(classifier: Classifier, texts: list[str]) -> dict:
    """CPU milliseconds of one thread per text, one at a time, tokenizer included."""
    tokenizer, model, found = classifier.preprocessor, classifier.model.eval(), []
    for text in [*texts[:10], *texts]:
        start = time.process_time()
        with torch.inference_mode():
            batch = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            forward(model, dict(batch))
        found.append(1000 * (time.process_time() - start))
    return {"ms_p50": statistics.median(found[10:]), "ms_p95": float(np.percentile(found[10:], 95))}


def scores(probabilities: np.ndarray, frame: pd.DataFrame) -> dict:
    """Metrics of class probabilities (N, 3)."""
    logits = np.log(probabilities.clip(1e-7))
    return asdict(classification_metrics(logits, encode_labels(frame, SENTIMENTS)))


def describe(classifier: Classifier, data: Rows, megabytes: float | None = None) -> dict:
    """Score, size and time of a classifier."""
    texts = data.reported["text"].tolist()
    if megabytes is None:
        megabytes = cutting.stored_bytes(classifier.model) / 1e6
    found = scores(predict(classifier, texts), data.reported) | {"megabytes": megabytes}
    return found | milliseconds(classifier, texts[:TIMED])


def train(classifier: Classifier, frame: pd.DataFrame, data: Rows, config: TrainingConfig, loss=None) -> None:
    """Fit the classifier's model; it ends with the weights of the best epoch on the selection rows."""
    loaders = (
        recipes.training_loader(classifier, frame, config),
        recipes.evaluation_loader(classifier, data.selection),
    )
    for _ in fit_classifier(classifier.model, *loaders, config, loss=loss):
        pass


def recipe(name: str, seed: int) -> TrainingConfig:
    """The recipe of chapter 07 with this benchmark's epochs and rate."""
    changes = {"epochs": EPOCHS[name], "learning_rate": RATE, "patience": 99, "seed": seed}
    return recipes.default_training("text", "full", **changes)


def teacher_of(seed: int, data: Rows) -> Classifier:
    """MiniLM fine-tuned on the labelled rows."""
    environment.seed_everything(seed)
    classifier = text_classifier()
    train(classifier, data.labelled, data, recipe("teacher", seed))
    return classifier


def baselines(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The largest class, and logistic regression on the shares of words."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    targets, texts = encode_labels(data.labelled, SENTIMENTS), data.reported["text"].tolist()
    shares = np.tile(np.bincount(targets, minlength=3) / len(targets), (len(texts), 1))
    nothing = {"megabytes": 0.0, "ms_p50": 0.0, "ms_p95": 0.0}
    yield "majority", scores(shares, data.reported) | nothing
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit(data.labelled["text"], targets)
    times = []
    for text in texts[:TIMED]:
        start = time.process_time()
        model.predict_proba([text])
        times.append(1000 * (time.process_time() - start))
    with tempfile.TemporaryDirectory() as folder:
        size = Path(joblib.dump(model, Path(folder) / "model")[0]).stat().st_size / 1e6
    found = {"megabytes": size, "ms_p50": statistics.median(times), "ms_p95": np.percentile(times, 95)}
    yield "TF-IDF", scores(model.predict_proba(texts), data.reported) | found


def pruned(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The teacher as it is, with zeros, and with neurons and heads cut out, also after an epoch more."""
    yield "teacher", describe(teacher, data)
    smaller = replace(teacher, model=copy.deepcopy(teacher.model))
    for layer in smaller.model.bert.encoder.modules():
        if isinstance(layer, nn.Linear):
            prune.l1_unstructured(layer, "weight", amount=0.5)
            prune.remove(layer, "weight")
    yield "zeros 50%", describe(smaller, data)
    smaller = replace(teacher, model=copy.deepcopy(teacher.model))
    cutting.cut_neurons(smaller.model, 0.25)
    cutting.cut_heads(smaller.model, 0.25)
    yield "cut 25%", describe(smaller, data)
    again = replace(recipe("teacher", seed), epochs=1, learning_rate=1e-4)
    train(smaller, data.labelled, data, again)
    yield "cut 25%, trained on", describe(smaller, data)


def student_of(seed: int) -> Classifier:
    """Some of MiniLM's own layers, as they were pretrained, with a fresh head."""
    environment.seed_everything(seed)
    classifier = text_classifier()
    cutting.cut_layers(classifier.model, LAYERS)
    return classifier


def distilled(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The student on labels alone, and on the teacher's answers to labelled and unlabelled tweets; last the
    LSTM of chapter 03 on the same answers.
    """
    answers = predict(teacher, data.everything["text"].tolist())
    loss = Distillation(torch.from_numpy(np.log(answers.clip(1e-7))), TEMPERATURE)
    unlabelled = data.everything.assign(label=[SENTIMENTS[number] for number in answers.argmax(1)])

    name = "student, labels"
    student = student_of(seed)
    train(student, data.labelled, data, recipe(name, seed))
    yield name, describe(student, data)

    name = "student, distilled"
    student = student_of(seed)
    train(student, unlabelled, data, recipe(name, seed), loss)
    yield name, describe(student, data)
    yield "student, distilled, int8", as_int8(student, data)

    name = "LSTM, distilled"
    environment.seed_everything(seed)
    network = RecurrentClassifier(len(teacher.preprocessor), 3, width=32)
    lstm = Classifier("text", "lstm", network, SENTIMENTS, teacher.preprocessor)
    config = TrainingConfig(
        epochs=EPOCHS[name],
        batch_size=32,
        learning_rate=LSTM_RATE,
        patience=99,
        precision="no",
        seed=seed,
    )
    train(lstm, unlabelled, data, config, loss)
    yield name, describe(lstm, data)


def as_int8(classifier: Classifier, data: Rows) -> dict:
    """A classifier after the course's export with int8 weights."""
    with tempfile.TemporaryDirectory() as folder:
        checked = data.selection["text"].tolist()
        file = export.export_onnx(classifier, Path(folder) / "int8", checked, int8=True).file
        return describe_file(classifier, file, data)


def describe_file(classifier: Classifier, file: Path, data: Rows) -> dict:
    """An ONNX file, run by ONNX Runtime with one thread, and its agreement with the classifier."""
    loaded = replace(classifier, model=OnnxModel(file, threads=1))
    texts = data.reported["text"].tolist()
    agreement = compare(predict(classifier, texts), predict(loaded, texts)).agreement
    return describe(loaded, data, file.stat().st_size / 1e6) | {"agreement": agreement}


def int8(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The teacher in ONNX Runtime: float32, the plain quantiser, and the course's."""
    with tempfile.TemporaryDirectory() as folder:
        checked = data.selection["text"].tolist()
        file = export.export_onnx(teacher, Path(folder) / "float32", checked).file
        yield "ONNX float32", describe_file(teacher, file, data)
        plain = Path(folder) / "plain.onnx"
        quantize_dynamic(file, plain, weight_type=QuantType.QInt8)
        yield "plain int8", describe_file(teacher, plain, data)
        export.quantise(file)
        yield "int8", describe_file(teacher, file, data)


PARTS = {"distilled": distilled, "int8": int8, "pruned": pruned, "baselines": baselines}


def stored() -> dict:
    """What was measured so far, by this process or another one."""
    if RESULTS.exists():
        return json.loads(RESULTS.read_text(encoding="utf-8"))
    settings = {"labelled": LABELLED, "unlabelled": UNLABELLED, "layers": LAYERS, "temperature": TEMPERATURE}
    return {"settings": settings, "versions": environment.versions(), "runs": []}


def main(seeds: list[int]) -> None:
    """Measure what is not yet in the file, seed by seed."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the quantiser advises on every call
    for seed in seeds:
        done = {run["part"] for run in stored()["runs"] if run["seed"] == seed}
        missing = [part for part in PARTS if part not in done]
        if not missing:
            continue
        auto = environment.precision(convolutional=False)  # of all trainings but the LSTM's
        data, start = rows_of(seed), time.process_time()
        teacher = teacher_of(seed, data)
        print(f"seed {seed} teacher: {time.process_time() - start:.0f} CPU seconds", flush=True)
        for part in missing:
            start, found = time.process_time(), []
            for name, values in PARTS[part](teacher, seed, data):
                found.append({"part": part, "method": name, "seed": seed, "auto_precision": auto} | values)
                print(f"seed {seed} {name:<26} macro-F1 {values['macro_f1']:.3f}", end=" ")
                print(f"{values['megabytes']:6.1f} MB {values['ms_p50']:6.2f} ms", flush=True)
            results = stored()
            results["runs"] += found
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(f"seed {seed} {part}: {time.process_time() - start:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or list(SEEDS))
