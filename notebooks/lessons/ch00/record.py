"""Record what the exercises of chapter 00 show and hide: `python -m lessons.ch00.record`, three minutes.

Writes recorded.json beside this file: three short trainings, each with one fault, and the probabilities that
the chapter's own model gives to validation comments that the chapter does not show.
"""

import json
from pathlib import Path

import numpy as np

from helpers import environment
from helpers.deployment.predict import predict
from helpers.files import write_atomically
from helpers.runs import recipes
from helpers.training import loop

FILE = Path(__file__).with_name("recorded.json")
HIDDEN, MORE = 400, 2400  # comments that stay hidden; a larger limit, whose validation rows hold others


def trained(rows, validation, classes, *, epochs: int, learning_rate: float):
    """A classifier like the chapter's after training, and the mean error of each quarter of its steps."""
    environment.seed_everything(0)
    classifier = recipes.build_classifier(recipes.RunConfig("sentiment"), classes)
    training = recipes.default_training("sentiment", "full", epochs=epochs, learning_rate=learning_rate)
    loader = recipes.training_loader(classifier, rows, training)
    checked = recipes.evaluation_loader(classifier, validation)
    steps = loop.fit_classifier(classifier.model, loader, checked, training)
    errors = np.array_split([step.train_loss for step in steps], 4)
    return classifier, [round(float(np.mean(part)), 2) for part in errors]


def accuracy(classifier, rows, classes) -> float:
    """Share of the rows (their texts and labels) whose label is the most probable class."""
    found = np.array(classes)[predict(classifier, rows["text"].tolist()).argmax(1)]
    return round(float(np.mean(found == rows["label"].to_numpy())), 2)


def main() -> None:
    """Train three times and write the file."""
    prepared = recipes.prepare(recipes.RunConfig("sentiment", limit=800))
    train, validation, classes = prepared.splits["train"], prepared.splits["validation"], prepared.classes
    more = recipes.prepare(recipes.RunConfig("sentiment", limit=MORE)).splits["validation"]
    hidden = more[~more["text"].isin({*validation["text"], *train["text"]})].head(HIDDEN)
    few = train.head(48)
    runs = {}
    for name, rows, epochs, rate in (("a", few, 12, 3e-2), ("b", few, 24, 2e-4), ("c", train, 2, 2e-4)):
        classifier, errors = trained(rows, validation, classes, epochs=epochs, learning_rate=rate)
        read_as = classes[::-1] if name == "c" else classes
        shares = {"learnt from": accuracy(classifier, rows, read_as)}
        shares["put aside"] = accuracy(classifier, validation, read_as)
        runs[name] = {"errors": errors, **shares}
        print(name, runs[name])
    probabilities = predict(classifier, hidden["text"].tolist())
    labels = [classes.index(label) for label in hidden["label"]]
    rounded = [[round(float(p), 3) for p in row] for row in probabilities]
    recorded = {"runs": runs, "classes": list(classes), "labels": labels, "probabilities": rounded}
    write_atomically(FILE, (json.dumps(recorded) + "\n").encode())


if __name__ == "__main__":
    main()
