"""Measure how well the detectors of chapter 05 find what was planted, for six seeds of the mess.

usage: python benchmarks/cleaning.py     (about 3 minutes of one core; goes on where it was stopped)

The thresholds in notebooks/lessons/ch05/duplicates.py were chosen on the seeds 0 to 5; the seeds 31 to 36
were not looked at before and judge them. Results go to benchmarks/results/cleaning.json; chapter 05
measures one seed live and prints the summary of all.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModel, AutoTokenizer

import runs
from helpers import assets
from helpers.data import cleaning, sources
from helpers.data.pictures import open_image
from helpers.models.pretrained import image_classifier
from lessons.ch05 import duplicates, inspection, labels, planted_faults, repair
from lessons.ch08.multimodal import image_features

RESULTS = Path(__file__).resolve().parent / "results" / "cleaning.json"
SEEDS = [31, 32, 33, 34, 35, 36]
READ = [50, 100]  # suspicious labels that a person looks at


def pairs_of(table) -> set[tuple[int, int]]:
    """The pairs of a table as a set."""
    return set(zip(table["first"].tolist(), table["second"].tolist()))


def picture_scores(folder: Path, seed: int, classifier) -> tuple[dict, dict]:
    """Precision and recall of each detector for pictures; the scores of the list of suspicious labels."""
    truth = planted_faults.messy_pictures(folder, seed=seed)
    table = inspection.inspect_images(folder).merge(truth, on="file")  # labels.csv is no picture
    table = table[~table["hidden"]]
    planted = table["file"][table["kind"] == "unreadable"]
    found = {"unreadable": labels.precision_recall(table["file"][table["problem"].notna()], planted)}
    good = table[table["problem"].isna()].reset_index(drop=True)
    same_bytes = pairs_of(duplicates.equal_keys(good["sha256"]))
    found["exact"] = labels.precision_recall(
        same_bytes, pairs_of(duplicates.equal_keys(planted_faults.copied_bytes(good)))
    )
    pictures = [open_image(folder / file) for file in good["file"]]
    pairs = duplicates.near_pictures(pictures)
    planted = pairs_of(duplicates.equal_keys(good["source"])) - same_bytes
    found["near"] = labels.precision_recall(pairs_of(pairs) - same_bytes, planted)
    # One row for each picture that was found to be one; where exact copies disagree on the label, none.
    single, _ = cleaning.drop_duplicates(good.assign(picture=pictures), good["sha256"])
    twins = duplicates.groups_of_pairs(duplicates.near_pictures(single["picture"].tolist()), len(single))
    single = single.groupby(twins).head(1).reset_index(drop=True)
    features = image_features(classifier, single.assign(image=single["picture"].map(np.asarray))).numpy()
    return found, label_scores(features, single)


def comment_scores(folder: Path, seed: int, encoder) -> tuple[dict, dict]:
    """As `picture_scores`, for comments; `encoder` is a tokenizer and its model."""
    truth = planted_faults.messy_comments(folder, seed=seed)
    rows = [repair.read_table(file)[0] for file in sorted(folder.glob("*.csv")) if file.name != "labels.csv"]
    table = truth.merge(pd.concat(rows)[["id", "text", "rating"]], on="id")
    table["text"] = table["text"].map(repair.text_of_html).map(cleaning.clean_text)
    found = {
        "unreadable": labels.precision_recall(
            table["id"][table["text"] == ""], table["id"][table["kind"] == "unreadable"]
        )
    }
    good = table[table["kind"] != "unreadable"].reset_index(drop=True)
    key = good["text"].map(cleaning.letters_key)
    same_key = pairs_of(duplicates.equal_keys(key))
    planted_key = good["clean"].map(cleaning.clean_text).map(cleaning.letters_key)
    found["exact"] = labels.precision_recall(same_key, pairs_of(duplicates.equal_keys(planted_key)))
    pairs = duplicates.near_texts(good["text"].tolist())
    found["near"] = labels.precision_recall(
        pairs_of(pairs) - same_key, pairs_of(duplicates.equal_keys(good["source"])) - same_key
    )
    joined, _ = duplicates.joined_groups(good.assign(group=key), pairs)
    single, _ = cleaning.drop_duplicates(joined, joined["group"])
    planted = np.flatnonzero(single["label"] != single["true_label"])
    rated = np.flatnonzero(single["rating"] != "")
    by_rating = rated[
        sources.sentiment(single["rating"].iloc[rated].astype(float)) != single["label"].iloc[rated]
    ]
    found["labels against ratings"] = labels.precision_recall(by_rating, planted)
    return found, label_scores(labels.text_features(single["text"].tolist(), *encoder), single)


def label_scores(features: np.ndarray, single: pd.DataFrame) -> dict:
    """How many wrong labels a person finds who reads the most improbable ones, and finds by chance."""
    is_wrong = (single["label"] != single["true_label"]).to_numpy()
    probability = labels.out_of_fold(features, single["label"])
    shares = {f"precision at {count}": labels.precision_at(count, probability, is_wrong) for count in READ}
    return {"rows": len(single), "wrong": int(is_wrong.sum()), "by chance": float(is_wrong.mean())} | shares


def main() -> None:
    """Measure the seeds that are not yet in the results file."""
    torch.set_num_threads(1)
    results = runs.opened(RESULTS, {"read": READ}, ("seeds",))
    classifier = image_classifier(classes=sources.ANIMALS)
    folder = assets.path("minilm")
    encoder = (AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval())
    for seed in SEEDS:
        if seed in [run["seed"] for run in results["seeds"]]:
            continue
        with tempfile.TemporaryDirectory() as name:
            pictures, picture_labels = picture_scores(Path(name), seed, classifier)
            comments, comment_labels = comment_scores(Path(name), seed, encoder)
        suspects = {"pictures": picture_labels, "comments": comment_labels}
        results["seeds"].append(
            {"seed": seed, "pictures": pictures, "comments": comments, "labels": suspects}
        )
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(results["seeds"][-1]), flush=True)


if __name__ == "__main__":
    main()
