"""Measure what compression costs and saves: pruning, int8 and distillation of a fine-tuned MiniLM, three
seeds.

usage: python benchmarks/compression.py     (about 36 minutes of one core; goes on where it was stopped)

One teacher per seed is fine-tuned on 1,000 labelled comments. 6,000 further training comments stand in for
unlabelled ones: their labels are used by one row alone, "LSTM, 7,000 labels", which says what labelling them
would have brought. Validation rows are cut in two by group: the first part chooses the best epoch (and the
LSTM's learning rate), the second part is what is reported. Test rows are not touched. Times are CPU times of
one thread per comment, one comment at a time, after ten calls that do not count; they are what one core of an
idle machine needs. Results go to benchmarks/results/compression.json, which chapter 08 draws.
"""

import copy
import json
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the times are those of one thread

import numpy as np
import pandas as pd
import torch

from helpers import environment
from helpers.data.sources import SENTIMENTS
from helpers.deployment import export
from helpers.deployment.predict import load_onnx, predict
from helpers.models.pretrained import Classifier, text_classifier
from helpers.runs import recipes
from helpers.training.loop import fit_classifier, forward, predict_logits
from helpers.training.metrics import classification_metrics
from helpers.training.runtime import Runtime
from lessons.ch03.networks import RecurrentClassifier
from lessons.ch08 import pruning
from lessons.ch08.distillation import Distillation, labelled_by_teacher
from strategies import rows

RESULTS = Path(__file__).resolve().parent / "results" / "compression.json"
SEEDS = (1, 2, 3)
LABELLED, UNLABELLED, TIMED = 1000, 6000, 60
LSTM_WIDTH, LSTM_RATES, LSTM_EPOCHS = 32, (3e-3, 1e-2), {1000: 8, 7000: 4}
TEMPERATURE = 2.0


@dataclass(frozen=True)
class Rows:
    """The rows of one seed: what is labelled, labelled and unlabelled together, what selects, what is
    reported.
    """

    labelled: pd.DataFrame
    everything: pd.DataFrame
    selection: pd.DataFrame
    reported: pd.DataFrame


def milliseconds(answer: Callable, texts: list[str]) -> list[float]:
    """CPU milliseconds of one thread for each text, one at a time; `answer(text)` runs the model, tokenizer
    included.
    """
    for text in texts[:10]:
        answer(text)
    found = []
    for text in texts:
        start = time.process_time()
        answer(text)
        found.append(1000 * (time.process_time() - start))
    return found


def torch_answer(classifier: Classifier) -> Callable:
    """A function that labels one text with a PyTorch model in float32."""
    tokenizer, model = classifier.preprocessor, classifier.model.eval()

    def answer(text: str) -> np.ndarray:
        with torch.inference_mode():
            return forward(
                model, dict(tokenizer(text, truncation=True, max_length=128, return_tensors="pt"))
            ).numpy()

    return answer


def scores(logits: np.ndarray, frame: pd.DataFrame) -> dict:
    """Metrics of logits (N, 3) on the rows' labels."""
    return asdict(classification_metrics(logits, frame["label"].map(SENTIMENTS.index).to_numpy()))


def describe(classifier: Classifier, data: Rows) -> dict:
    """Score, size and time of a PyTorch classifier."""
    runtime = Runtime(classifier.model, "no")
    logits = predict_logits(classifier.model, recipes.evaluation_loader(classifier, data.reported), runtime)
    times = milliseconds(torch_answer(classifier), data.reported["text"].tolist()[:TIMED])
    stored = {
        "megabytes": pruning.stored_bytes(classifier.model) / 1e6,
        "zipped": pruning.stored_bytes(classifier.model, compressed=True) / 1e6,
    }
    return (
        scores(logits, data.reported)
        | stored
        | {"ms_p50": statistics.median(times), "ms_p95": float(np.percentile(times, 95))}
    )


def train(classifier: Classifier, frame: pd.DataFrame, data: Rows, config, loss=None) -> float:
    """Fit the classifier's model; returns the best macro-F1 on the selection rows."""
    loaders = (
        recipes.training_loader(classifier, frame, config),
        recipes.evaluation_loader(classifier, data.selection),
    )
    return max(
        step.validation["macro_f1"]
        for step in fit_classifier(classifier.model, *loaders, config, loss=loss)
        if step.validation
    )


def teacher_of(seed: int, data: Rows) -> Classifier:
    """MiniLM fine-tuned on the labelled rows."""
    environment.seed_everything(seed)
    classifier = text_classifier()
    train(classifier, data.labelled, data, recipes.default_training("sentiment", "full", seed=seed))
    return classifier


def baselines(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The largest class, and logistic regression on the shares of words."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    targets = data.labelled["label"].map(SENTIMENTS.index)
    counts = np.log(np.bincount(targets, minlength=3) / len(targets))
    yield (
        "majority",
        scores(np.tile(counts, (len(data.reported), 1)), data.reported)
        | {"megabytes": 0.0, "zipped": 0.0, "ms_p50": 0.0, "ms_p95": 0.0},
    )
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit(data.labelled["text"], targets)
    times = milliseconds(lambda text: model.predict_proba([text]), data.reported["text"].tolist()[:TIMED])
    with tempfile.TemporaryDirectory() as folder:
        size = [
            Path(joblib.dump(model, Path(folder) / "model", compress=level)[0]).stat().st_size / 1e6
            for level in (0, 6)
        ]
    found = {
        "megabytes": size[0],
        "zipped": size[1],
        "ms_p50": statistics.median(times),
        "ms_p95": float(np.percentile(times, 95)),
    }
    yield "TF-IDF", scores(model.predict_log_proba(data.reported["text"]), data.reported) | found


def pruned(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The teacher as it is, with zeros, and with neurons and heads cut out; each also after one more epoch of
    training.
    """
    yield "teacher", describe(teacher, data)
    again = recipes.default_training("sentiment", "full", seed=seed, epochs=1, learning_rate=1e-4)
    for sparsity in (0.3, 0.5, 0.7, 0.9):
        smaller = replace(teacher, model=copy.deepcopy(teacher.model))
        masks = pruning.prune_weights(smaller.model, sparsity)
        yield f"zeros {sparsity:.0%}", describe(smaller, data)
        if sparsity >= 0.5:
            pruning.hold_zeros(smaller.model, masks)
            train(smaller, data.labelled, data, again)
            pruning.release(smaller.model)
            yield f"zeros {sparsity:.0%}, retrained", describe(smaller, data)
    for share in (0.25, 0.5):
        smaller = replace(teacher, model=copy.deepcopy(teacher.model))
        pruning.cut_neurons(smaller.model, share)
        pruning.cut_heads(smaller.model, share)
        yield f"cut {share:.0%}", describe(smaller, data)
        train(smaller, data.labelled, data, again)
        yield f"cut {share:.0%}, retrained", describe(smaller, data)


def lstm(teacher: Classifier, seed: int, data: Rows, frame: pd.DataFrame, soft) -> dict:
    """The better of two learning rates, by the selection rows, for a network trained on labels or on the
    teacher's logits.
    """
    found = []
    for rate in LSTM_RATES:
        environment.seed_everything(seed)
        student = RecurrentClassifier(len(teacher.preprocessor), 3, width=LSTM_WIDTH)
        classifier = Classifier("text", "lstm", student, SENTIMENTS, teacher.preprocessor)
        config = recipes.TrainingConfig(
            epochs=LSTM_EPOCHS[len(frame)],
            patience=99,
            batch_size=32,
            learning_rate=rate,
            precision="no",
            seed=seed,
        )
        chosen = train(
            classifier,
            frame,
            data,
            config,
            None if soft is None else Distillation(torch.from_numpy(soft), TEMPERATURE),
        )
        found.append((chosen, rate, classifier))
    chosen, rate, classifier = max(found, key=lambda run: run[0])
    return describe(classifier, data) | {"learning_rate": rate, "selection_macro_f1": chosen}


def distilled(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The LSTM of chapter 03 on hard labels, and on the teacher's answers to labelled and to unlabelled
    comments.
    """
    logits = predict_logits(
        teacher.model, recipes.evaluation_loader(teacher, data.everything), Runtime(teacher.model)
    )
    everything = labelled_by_teacher(data.everything, logits, SENTIMENTS)
    yield "LSTM, 1,000 labels", lstm(teacher, seed, data, data.labelled, None)
    yield "LSTM, teacher on 1,000", lstm(teacher, seed, data, everything.head(LABELLED), logits[:LABELLED])
    yield "LSTM, teacher on 7,000", lstm(teacher, seed, data, everything, logits)
    yield "LSTM, teacher's hard labels on 7,000", lstm(teacher, seed, data, everything, None)
    yield "LSTM, 7,000 labels", lstm(teacher, seed, data, data.everything, None)


def int8(teacher: Classifier, seed: int, data: Rows) -> Iterator[tuple[str, dict]]:
    """The teacher as an ONNX file in float32 and with int8 weights, run by ONNX Runtime with one thread."""
    texts = data.reported["text"].tolist()
    for name, small in (("ONNX float32", False), ("ONNX int8", True)):
        with tempfile.TemporaryDirectory() as folder:
            exported = export.export_onnx(
                teacher, Path(folder) / "export", data.selection["text"].tolist(), int8=small
            )
            content = exported.file.read_bytes()
            classifier = load_onnx(exported.folder, threads=1)
            times = milliseconds(torch_answer(classifier), texts[:TIMED])
            logits = np.log(predict(classifier, texts).clip(1e-7))
        size = {"megabytes": len(content) / 1e6, "zipped": len(zlib.compress(content, level=6)) / 1e6}
        times = {"ms_p50": statistics.median(times), "ms_p95": float(np.percentile(times, 95))}
        yield name, scores(logits, data.reported) | size | times | {"agreement": exported.parity.agreement}


PARTS = {"baselines": baselines, "pruned": pruned, "distilled": distilled, "int8": int8}


def main() -> None:
    """Measure what is not yet in the file, seed by seed."""
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results = results or {
        "settings": {"labelled": LABELLED, "unlabelled": UNLABELLED, "temperature": TEMPERATURE},
        "versions": environment.versions(),
        "runs": [],
    }
    for seed in SEEDS:
        missing = [
            part
            for part in PARTS
            if not any(run["seed"] == seed and run["part"] == part for run in results["runs"])
        ]
        if not missing:
            continue
        everything, selection, reported = rows(LABELLED + UNLABELLED, seed)
        data = Rows(everything.head(LABELLED), everything, selection, reported)
        teacher = teacher_of(seed, data)
        for part in missing:
            start = time.process_time()
            found = [
                {"part": part, "method": name, "seed": seed} | values
                for name, values in PARTS[part](teacher, seed, data)
            ]
            results["runs"] += found
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            for run in found:
                print(
                    f"seed {seed} {run['method']:<38} macro-F1 {run['macro_f1']:.3f} {run['megabytes']:6.1f} "
                    f"MB {run['ms_p50']:6.2f} ms",
                    flush=True,
                )
            print(f"seed {seed} {part}: {time.process_time() - start:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    sys.exit(main())
