"""How good the comments are that the language model has written for `chat.py`: labels, copies, samples."""

import re

import numpy as np

from chat_compare import Judge
from chat_models import MIDDLE, Bench
from helpers.data.sources import SENTIMENTS

SAMPLES = 4  # generated comments of each sentiment to read
NEAR = 0.8  # words that two comments share, of all that either has
GRAM = 8  # words in a row that a generated comment has from one it learned
FIDELITY = "MiniLM of 2,000 rows; no better one was at hand, so read it beside its share on people's comments"


def of_texts(bench: Bench, judge: Judge, run: dict) -> dict:
    """Generated comments: whether others find the wanted sentiment in them, copies, and some to read."""
    seed, texts = run["key"]["seed"], run["texts"]
    learned = [words_of(text) for text in bench.drawn(MIDDLE, seed)["text"]]
    made = [words_of(text) for text, _ in texts]
    known_grams = {gram for words in learned for gram in grams(words)}
    shared = [bool(grams(words) & known_grams) for words in made]
    alike = [any(jaccard(words, other) > NEAR for other in learned) for words in made]
    entry = {
        "kind": "generated texts", "seed": seed, "rows": MIDDLE, "wanted": run["wanted"],
        "kept": run["kept"], "empty": run["empty"], "same_letters": run["copies_of_training"],
        "eight_words_in_common": float(np.mean(shared)), "words_alike": float(np.mean(alike)),
        "near_duplicates": float(np.mean(np.array(shared) | alike)),
        "of_the_rows_learned": len(learned), "distinct": len({" ".join(words) for words in made}),
        "samples": [
            row for name in SENTIMENTS for row in [one for one in texts if one[1] == name][:SAMPLES]
        ],
    }  # fmt: skip
    for found in (one for one in judge.own if one["key"] == {"part": "fidelity", "seed": seed}):
        entry |= {"fidelity": found["minilm"], "fidelity_vader": found["vader"], "fidelity_by": FIDELITY}
        for name, runs in (
            ("minilm", judge.find(part="minilm", rows=2000)[:1]),
            ("vader", judge.find(rung="vader")),
        ):
            entry[f"{name}_on_peoples_comments"] = balanced(judge.answers(runs[0]), judge.targets)
    return entry


def balanced(answers: np.ndarray, targets: np.ndarray) -> float:
    """Mean over the classes of the share that is found: accuracy where all classes are wanted as often."""
    return float(np.mean([(answers[targets == label] == label).mean() for label in np.unique(targets)]))


def words_of(text: str) -> list[str]:
    """Words in lower case."""
    return re.findall(r"\w+", text.lower())


def grams(words: list[str]) -> set[tuple]:
    """Every eight words in a row."""
    return {tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)}


def jaccard(first: list[str], second: list[str]) -> float:
    """Share of the different words of both that both have."""
    either = len(set(first) | set(second))
    return len(set(first) & set(second)) / either if either else 0.0
