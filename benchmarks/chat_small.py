"""What `chat.py` sets beside the language model, on the same drawn rows: the largest class, VADER, TF-IDF
with logistic regression, MiniLM, and MiniLM that learns from the language model's answers.
"""

import base64
import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from chat_compare import gpu_runs
from chat_models import KEPT, Bench, Store, scores, seeds, sizes, targets_of
from helpers import environment
from helpers.data.sources import SENTIMENTS
from helpers.models.folders import load_classifier, save_classifier
from helpers.models.pretrained import Classifier, text_classifier
from helpers.runs import recipes
from helpers.training.loop import evaluate, fit, predict_logits
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime

TAUGHT_ROWS = (2000, 6000)  # without a label, answered by the language model for MiniLM to learn from
TEACHER = {"part": "ladder", "rung": "lora", "rows": 2000, "seed": 1}
JUDGE = {"part": "minilm", "rung": "minilm", "rows": 2000, "seed": 1}  # labels what was generated
BAND = 0.05  # of VADER's score (-1 to 1) around 0, neutral as its authors advise


def vader(texts) -> np.ndarray:
    """Class numbers (N,) by a list of words and rules; it learns nothing."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    compound = np.array([analyzer.polarity_scores(text)["compound"] for text in texts])
    return np.select([compound <= -BAND, compound >= BAND], [0, 2], 1)


def tfidf(train: pd.DataFrame):
    """A fitted logistic regression on the shares of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    return model.fit(train["text"], targets_of(train))


def one_hot(chosen: np.ndarray) -> np.ndarray:
    """Logits (N, 3) of an answer that knows no doubt."""
    return np.eye(3)[chosen]


def baselines(bench: Bench, store: Store) -> None:
    """The largest class and VADER once, TF-IDF with every draw."""
    validation = bench.parts["validation"]

    def answer(key: dict, answered) -> None:
        def run():
            start = time.perf_counter()
            logits = answered()
            bench.keep(key, logits)
            return {"seconds_training": round(time.perf_counter() - start, 1)} | scores(logits, validation)

        store.measure(key, run)

    largest = int(np.bincount(targets_of(bench.parts["train"]), minlength=3).argmax())
    constant = np.full(len(validation), largest)
    answer({"part": "baselines", "rung": "majority", "rows": 0, "seed": 0}, lambda: one_hot(constant))
    key = {"part": "baselines", "rung": "vader", "rows": 0, "seed": 0}
    answer(key, lambda: one_hot(vader(validation["text"])))
    for size in sizes(bench):
        for seed in seeds(bench):
            key = {"part": "baselines", "rung": "tfidf", "rows": size, "seed": seed}
            drawn = bench.drawn(size, seed)
            answer(key, lambda drawn=drawn: tfidf(drawn).predict_log_proba(validation["text"]))


def train_minilm(bench: Bench, frame: pd.DataFrame, seed: int, loss=None) -> tuple[Classifier, Runtime, dict]:
    """MiniLM with all weights by the course's recipe, on labels without votes; its last weights are kept, as
    the language model's are: no validation row chooses an epoch.
    """
    training = recipes.default_training("text", "full", seed=seed, evaluate_every=10**9)
    environment.seed_everything(seed)
    classifier = text_classifier("minilm", SENTIMENTS)
    runtime = Runtime(classifier.model, training.precision)
    some = recipes.evaluation_loader(classifier, bench.parts["validation"].head(256))
    loader = recipes.training_loader(classifier, frame, training)
    score = partial(evaluate, loader=some, runtime=runtime)
    start = time.perf_counter()
    for _ in fit(
        classifier.model, loader, training, loss=loss or Classification(), score=score, runtime=runtime
    ):
        pass
    recipe = {"rate": training.learning_rate, "epochs": training.epochs, "batch": training.batch_size}
    return classifier, runtime, recipe | {"seconds_training": round(time.perf_counter() - start, 1)}


def minilm_run(bench: Bench, key: dict, frame: pd.DataFrame, loss=None) -> dict:
    """Train and score one MiniLM."""
    classifier, runtime, measured = train_minilm(bench, frame, key["seed"], loss)
    validation = bench.parts["validation"]
    loader = recipes.evaluation_loader(classifier, validation)
    logits = predict_logits(classifier.model, loader, runtime)
    bench.keep(key, logits)
    if key == JUDGE and not bench.quick:
        save_classifier(classifier, KEPT / "judge")
    return measured | scores(logits, validation)


def minilm(bench: Bench, store: Store) -> None:
    """MiniLM on the ladder's rows; the middle size first, which has most to be compared with."""
    for size in sorted(sizes(bench), key=lambda size: (size != 600, -size)):
        for seed in seeds(bench):
            key = {"part": "minilm", "rung": "minilm", "rows": size, "seed": seed}
            store.measure(key, partial(minilm_run, bench, key, bench.drawn(size, seed)))


def taught_rows(bench: Bench, size: int, seed: int) -> np.ndarray:
    """Places in the training rows that the teacher's training did not see, in a random order."""
    train = bench.parts["train"]
    seen = set(bench.drawn(TEACHER["rows"], TEACHER["seed"])["id"])
    unseen = np.flatnonzero(~train["id"].isin(seen))
    return np.random.default_rng(seed).permutation(unseen)[:size]


def distilled(bench: Bench, store: Store) -> None:
    """MiniLM learns the probabilities that the language model gives for comments which it never saw."""
    teacher = next(run for run in gpu_runs() if run["key"] == TEACHER)
    logits = np.frombuffer(base64.b64decode(teacher["of_train"]), np.float16).reshape(-1, 3)
    probabilities = F.softmax(torch.from_numpy(logits.astype(np.float32)), dim=1)  # (N, 3)
    for size in sizes(bench)[:1] if bench.quick else TAUGHT_ROWS:
        for seed in seeds(bench):
            places = taught_rows(bench, size, seed)
            frame = bench.parts["train"].iloc[places].reset_index(drop=True)
            key = {"part": "distilled", "rows": len(places), "seed": seed}

            def run(key=key, frame=frame, shares=probabilities[places]):
                right = float((shares.argmax(1).numpy() == targets_of(frame)).mean())
                loss = Classification(distributions=shares)
                return {"teacher_accuracy": right} | minilm_run(bench, key, frame, loss)

            store.measure(key, run)


def fidelity(bench: Bench, store: Store) -> None:
    """How often two others find the wanted sentiment in what the language model wrote: VADER, and MiniLM of
    2,000 rows, which is right on about three of four comments of people.
    """
    for made in gpu_runs():
        if made["key"].get("kind") != "texts":
            continue

        def run(made=made):
            texts, wanted = zip(*made["texts"])
            frame = pd.DataFrame({"text": texts, "label": wanted})
            classifier = load_classifier(KEPT / "judge")
            loader = recipes.evaluation_loader(classifier, frame)
            judged = predict_logits(classifier.model, loader, Runtime(classifier.model)).argmax(1)
            targets = targets_of(frame)
            shares = {"minilm": judged == targets, "vader": vader(texts) == targets}
            return {name: float(found.mean()) for name, found in shares.items()}

        store.measure({"part": "fidelity", "seed": made["key"]["seed"]}, run)
