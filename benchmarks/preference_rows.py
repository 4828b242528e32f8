"""The comments of `preference.py`, and how an answer is read and rewarded: all that needs no model."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.sources import SENTIMENTS, conversation, preference_pairs
from helpers.files import write_atomically

COLUMNS = ["id", "text", "label", "rating", "platform", "group"]
SIZES = {"start": 2000, "train": 2400, "validation": 600, "test": 1000}
SMALL = {"start": 12, "train": 12, "validation": 8, "test": 8}
HELD_OUT = ("validation", "test")
CLOSE = 1.0  # a stated strength is right if it is so near to the raters' mean
CONSTANTS = (("negative", -2), ("neutral", 0), ("positive", 2))


def splits() -> dict[str, pd.DataFrame]:
    """The prepared comments."""
    from helpers.runs.recipes import RunConfig, prepare

    return prepare(RunConfig(task="text", limit=0)).splits


def pack(file: Path, quick: bool = False) -> None:
    """Write rows and pairs for a machine without the course's data; no group is in two parts."""
    sizes = SMALL if quick else SIZES
    mixed = {name: rows.sample(frac=1, random_state=0) for name, rows in splits().items()}
    shuffled = mixed["train"]
    start = shuffled.head(sizes["start"])
    others = shuffled[~shuffled["group"].isin(start["group"])].head(sizes["train"])
    parts = {"start": start, "train": others}
    parts |= {name: mixed[name].head(sizes[name]) for name in ("validation", "test")}
    content = {}
    for name, rows in parts.items():
        pairs = preference_pairs(rows)[["id", "chosen", "rejected", "kind"]]
        content[name] = rows[COLUMNS].merge(pairs, on="id", validate="one_to_one").to_dict("records")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, gzip.compress(json.dumps(content).encode(), mtime=0))


def load(file: Path) -> dict[str, pd.DataFrame]:
    """What `pack` has written: "start", "train", "validation", "test"."""
    content = json.loads(gzip.decompress(file.read_bytes()))
    return {name: pd.DataFrame(rows) for name, rows in content.items()}


def judged(file: Path) -> dict[str, list[dict]]:
    """What answers are judged by, without the comments, which stands beside the results."""
    names = ["id", "label", "rating", "group", "kind"]
    return {name: rows[names].to_dict("records") for name, rows in load(file).items() if name in HELD_OUT}


def asked(rows: pd.DataFrame) -> list[list[dict]]:
    """The prompt of each row."""
    return [conversation(row)[:2] for _, row in rows.iterrows()]


def read(answer: str) -> dict | None:
    """The object in an answer; None if it is no JSON or states no sentiment that is known."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    is_known = isinstance(found, dict) and found.get("sentiment") in SENTIMENTS
    return found if is_known else None


def sentiments(answers: list[str]) -> list[str | None]:
    """The stated sentiment of each answer."""
    return [found["sentiment"] if found else None for found in map(read, answers)]


def is_close(found: dict, rating: float) -> bool:
    """Whether the stated strength is near to the raters' mean."""
    strength = found.get("strength")
    return type(strength) is int and abs(strength - rating) <= CLOSE


def exact(answers: list[str], rows: list[dict]) -> list[float]:
    """The honest reward: 1 for the raters' sentiment, and 0.5 for a strength near theirs; 0 if not JSON."""
    rewards = []
    for answer, row in zip(answers, rows):
        found = read(answer)
        earned = (
            0.0
            if found is None
            else (found["sentiment"] == row["label"]) + is_close(found, row["rating"]) / 2
        )
        rewards.append(float(earned))
    return rewards


def popular(answers: list[str], rows: list[dict]) -> list[float]:
    """A broken reward: 1 for the sentiment that most answers of the batch state."""
    stated = sentiments(answers)
    known = Counter(word for word in stated if word)
    most = known.most_common(1)[0][0] if known else None
    return [float(word is not None and word == most) for word in stated]


def near_enough(answers: list[str], rows: list[dict]) -> list[float]:
    """A broken reward: 1 for the raters' sentiment or one step beside it, which "neutral" always is."""
    order = {word: place for place, word in enumerate(SENTIMENTS)}
    stated = zip(sentiments(answers), rows)
    return [float(bool(word) and abs(order[word] - order[row["label"]]) <= 1) for word, row in stated]


REWARDS = {"exact": exact, "popular": popular, "near_enough": near_enough}


def best_and_worst(answers: list[str], rows: list[dict], count: int) -> tuple[list[dict], list[float]]:
    """Of `count` answers to each row the best and the worst by the raters, where they differ.

    Returns:
        Pairs (rows with `chosen`, `rejected`, `kind` and `place`), and the honest rewards of all answers.
    """
    rewards, pairs = exact(answers, [row for row in rows for _ in range(count)]), []
    for place, row in enumerate(rows):
        span = range(place * count, (place + 1) * count)
        best, worst = max(span, key=rewards.__getitem__), min(span, key=rewards.__getitem__)
        if rewards[best] > rewards[worst]:
            kind = "own" if read(answers[worst]) else "own, not JSON"
            pair = {"chosen": answers[best], "rejected": answers[worst], "kind": kind, "place": place}
            pairs.append(row | pair)
    return pairs, rewards


def spread(answers: list[str]) -> dict:
    """How much the answers differ: valid JSON, share of the most frequent sentiment, entropy in bits."""
    counts = Counter(sentiments(answers))
    shares = np.array(list(counts.values())) / len(answers)
    known = [count for word, count in counts.items() if word]
    return {
        "valid_json": 1 - counts[None] / len(answers),
        "most_frequent": max(known, default=0) / len(answers),
        "entropy": float(-(shares * np.log2(shares)).sum()) + 0.0,
    }  # fmt: skip


def constants(rows: pd.DataFrame) -> list[dict]:
    """What three constant answers would earn: the check that costs nothing, before any training."""
    records, found = rows.to_dict("records"), []
    for word, strength in CONSTANTS:
        answer = json.dumps({"sentiment": word, "strength": strength})
        earned = {
            name: float(np.mean(reward([answer] * len(rows), records))) for name, reward in REWARDS.items()
        }
        found.append({"answer": answer} | earned)
    return found
