"""The embedded rows: comments with human ratings, and animal silhouettes (chapters 02, 05); and those of full
scale, photographs and tweets, which are downloaded (see `full`).

Rows are a DataFrame with `id` (str, unique), `group` (str: rows that must stay on one side of a split),
`label` (str, a word), and either `text` (str), `image` (uint8 array (H, W)) or `path` (str).
"""

import ast
import gzip
import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import assets
from helpers.data import full
from helpers.errors import InputError

PLATFORMS = {
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "movies": "movieReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
TOPICS = {"amazon": "product", "movies": "film", "nyt": "news"}  # of a tweet it is not known
CHAT_SYSTEM = "Rate the comment as JSON."
SENTIMENTS = ("negative", "neutral", "positive")
STRENGTHS = {"negative": (-3, -2, -1), "neutral": (0,), "positive": (1, 2, 3)}  # that go with each, usually
FAR_OFF = 3  # of 8: a strength that nobody could call about right
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")


def comments() -> pd.DataFrame:
    """23,703 comments from 4 platforms, each rated from -4 to +4 by 15 to 99 people.

    Returns:
        Columns `id` ("amazon:12_3"), `platform`, `group` ("amazon:12": one review, one article, one tweet),
        `text` (raw), `rating` (float, published mean), `ratings` (list of int), `label` (see `sentiment`).

    Source: Hutto and Gilbert, "VADER", ICWSM 2014 (MIT licence). Chapter 07.
    """
    frame = pd.concat([_platform(name, stem) for name, stem in PLATFORMS.items()], ignore_index=True)
    frame["label"] = sentiment(frame["rating"])
    return frame


def sentiment(ratings) -> np.ndarray:
    """Mean ratings (N,) on -4..4 as words: negative up to -0.5, positive from +0.5, neutral between them."""
    ratings = np.asarray(ratings, dtype=float)
    return np.select([ratings <= -0.5, ratings >= 0.5], ["negative", "positive"], "neutral")


def conversation(row) -> list[dict[str, str]]:
    """A row of `comments` as the course's job for a language model: comment in, JSON out (chapter 10).

    The answer has the sentiment, its strength (the raters' mean, rounded, -4 to 4), and what the comment is
    about where the platform tells it.
    """
    answer = {"sentiment": row["label"], "strength": round(row["rating"])}
    if row["platform"] in TOPICS:
        answer["topic"] = TOPICS[row["platform"]]
    return [
        {"role": "system", "content": CHAT_SYSTEM},
        {"role": "user", "content": row["text"]},
        {"role": "assistant", "content": json.dumps(answer)},
    ]


def preference_pairs(comments: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Two answers to each of `comments`, of which the raters make one the better (chapter 11).

    The chosen answer is that of `conversation`; the rejected one is worse in one way, its `kind`: "sentiment"
    (another one), "guess" (a sentiment where people find none), "strength" (off by 3 or more, all else right)
    or "format" (the right content, but no JSON, or talk around it). A row's draws depend on its id and the
    seed alone.

    Returns:
        Columns `id`, `prompt` (messages as JSON), `chosen`, `rejected` (texts), `kind`, `group`.
    """
    rows = []
    for _, row in comments.iterrows():
        *prompt, answer = conversation(row)
        kind, rejected = _worse(answer["content"], random.Random(f"{seed} {row['id']}"))
        answers = {"chosen": answer["content"], "rejected": rejected, "kind": kind}
        asked = json.dumps(prompt, ensure_ascii=False)
        rows.append({"id": row["id"], "prompt": asked, **answers, "group": row["group"]})
    return pd.DataFrame(rows)


def _worse(answer: str, draw: random.Random) -> tuple[str, str]:
    """A kind of mistake, and `answer` with it."""
    right = json.loads(answer)
    sentiment, strength = right["sentiment"], right["strength"]
    kind = draw.choice(("guess" if sentiment == "neutral" else "sentiment", "strength", "format"))
    if kind == "format":
        said = f"The comment is {sentiment}, with a strength of {strength}."
        around = f"Sure! Here is my rating: {answer}"
        return kind, draw.choice((answer[:-1], answer.replace('"', "'"), around, said))
    if kind == "strength":
        wrong = {"strength": draw.choice([n for n in range(-4, 5) if abs(n - strength) >= FAR_OFF])}
    else:
        other = draw.choice([name for name in SENTIMENTS if name != sentiment])
        wrong = {"sentiment": other, "strength": draw.choice(STRENGTHS[other])}
    return kind, json.dumps(right | wrong)


def rater_shares(ratings) -> np.ndarray:
    """Shares of the raters for each of `SENTIMENTS`, float32 (N, 3), from one list of ratings per comment."""
    words = [sentiment(row) for row in ratings]
    return np.array([[(row == name).mean() for name in SENTIMENTS] for row in words], dtype=np.float32)


def _platform(name: str, stem: str) -> pd.DataFrame:
    texts = _tab_separated(f"comments/{stem}_GroundTruth.txt", ["id", "rating", "text"])
    raters = _tab_separated(f"comments/{stem}_anonDataRatings.txt", ["id", "mean", "std", "ratings"])
    # The two files of one platform do not share an order (Amazon): joined by id, and no row may be lost.
    frame = texts.merge(raters[["id", "ratings"]], on="id", how="left", validate="one_to_one")
    frame["rating"] = frame["rating"].astype(float)
    frame["ratings"] = frame["ratings"].map(ast.literal_eval)
    frame["group"] = name + ":" + frame["id"].str.split("_").str[0]
    frame["id"] = name + ":" + frame["id"]
    frame["platform"] = name
    return frame[["id", "platform", "group", "text", "rating", "ratings"]]


def _tab_separated(target: str, columns: list[str]) -> pd.DataFrame:
    # Not read_csv: comments hold quotation marks that are text. utf-8-sig drops one file's byte-order mark.
    lines = assets.path(target).read_bytes().decode("utf-8-sig").split("\r\n")
    return pd.DataFrame([line.split("\t") for line in lines if line], columns=columns)


def animals() -> pd.DataFrame:
    """10,000 animal silhouettes, 10 classes of 1,000.

    Returns:
        Columns `id`, `group` (each image its own), `image` (uint8 array (28, 28), 0 = background), `label`.

    Source: the package animal-mnist 0.4 (MIT licence). Chapter 06.
    """
    files = [assets.path(f"animals/{name}.pickle.gz") for name in ("images", "labels")]
    images, labels = (assets.load_pickled_array(gzip.decompress(file.read_bytes())) for file in files)
    ids = [f"animals:{number}" for number in range(len(images))]
    words = [ANIMALS[label] for label in labels]
    return pd.DataFrame({"id": ids, "group": ids, "image": list(images), "label": words})


def photographs(name: str) -> pd.DataFrame:
    """Oxford-IIIT "pets" (7,349 rows, 37 breeds) or "flowers" (8,189 rows, 102 species), by torchvision.

    Returns:
        Columns `id` ("pets:Abyssinian_1"), `group` (each its own: nobody noted which photographs show the
        same animal or plant), `path`, `label`, and `part` (the published split; `splits.split` makes another
        one, so scores do not compare with published ones).

    Raises InputError: it is not on this machine, or files of it are missing.
    """
    from torchvision import datasets

    kind, parts = {
        "pets": (datasets.OxfordIIITPet, ("trainval", "test")),
        "flowers": (datasets.Flowers102, ("train", "val", "test")),
    }[name]
    (folder,) = full.paths(name)
    frames = []
    for part in parts:
        try:
            found = kind(folder.parent, split=part)
            files = (
                found._images if name == "pets" else found._image_files
            )  # torchvision names them nowhere else
            labels = [found.classes[label] for label in found._labels]
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{folder} is damaged ({error}); delete it, and fetch it again") from error
        frames.append(pd.DataFrame({"path": [str(file) for file in files], "label": labels, "part": part}))
    frame = pd.concat(frames, ignore_index=True)
    stems = frame["path"].map(lambda path: Path(path).stem)
    missing = [path for path in frame["path"] if not Path(path).is_file()]
    if missing:
        what = f"{len(missing):,} photographs are missing (first: {missing[0]})"
        raise InputError(f"{what}; delete {folder}, and fetch it again")
    frame.insert(0, "id", f"{name}:" + stems)
    frame.insert(1, "group", frame["id"])
    return frame


def tweets() -> pd.DataFrame:
    """59,899 tweets of TweetEval's part sentiment: SemEval 2017, task 4 (Rosenthal et al.).

    Returns:
        Columns `id` ("tweet_eval:train:7"), `group` (each tweet its own: no author is told), `text` (users as
        "@user"), `label` (of `SENTIMENTS`), and `part` (the published split, see `photographs`). No ratings:
        one label a tweet, chosen by several people.

    Raises InputError: it is not on this machine, or is not of this form.
    """
    frames = []
    for file in full.paths("tweet_eval"):
        frame, part = pd.read_parquet(file), file.name.split("-")[0]
        if not {"text", "label"} <= set(frame) or not frame["label"].isin(range(len(SENTIMENTS))).all():
            raise InputError(
                f"{file} must hold a column text and labels 0, 1, 2; delete it, and fetch it again"
            )
        ids = [f"tweet_eval:{part}:{number}" for number in range(len(frame))]
        labels = [SENTIMENTS[label] for label in frame["label"]]
        frames.append(
            pd.DataFrame({"id": ids, "group": ids, "text": frame["text"], "label": labels, "part": part})
        )
    return pd.concat(frames, ignore_index=True)


NAMED = {  # data that `--data` takes by name: the task, and the rows
    "pets": ("images", partial(photographs, "pets")),
    "flowers": ("images", partial(photographs, "flowers")),
    "tweet_eval": ("text", tweets),
}


def one_person(ratings) -> dict[str, float]:
    """How well ONE person predicts the others: {"accuracy", "macro_f1", "n" (comments)}. A baseline, no
    ceiling: a model of what people think on average may score above it.

    Each rater in turn plays the model; the target is the sentiment of the mean of all other raters of that
    comment. Every comment counts the same, whatever its number of raters.

    Args:
        ratings: one list of integer ratings (-4..4) per comment, at least two each.
    """
    rows = [np.asarray(row, dtype=float) for row in ratings]
    targets = np.concatenate([(row.sum() - row) / (len(row) - 1) for row in rows])
    weights = np.concatenate([np.full(len(row), 1 / len(row)) for row in rows])
    return _agreement(targets, np.concatenate(rows), weights) | {"n": len(rows)}


def split_half(ratings, *, seed: int = 0) -> dict[str, float]:
    """How well the mean of a random half of the people predicts the others' mean: see `one_person`."""
    rng = np.random.default_rng(seed)
    halves = [rng.permutation(row)[: len(row) // 2 * 2].reshape(2, -1).mean(1) for row in ratings]  # (2,)
    return _agreement(*np.transpose(halves), np.ones(len(halves))) | {"n": len(halves)}


def _agreement(targets, guesses, weights) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    words, weighted = (sentiment(targets), sentiment(guesses)), {"sample_weight": weights}
    macro_f1 = f1_score(*words, labels=list(SENTIMENTS), average="macro", zero_division=0, **weighted)
    return {"accuracy": float(accuracy_score(*words, **weighted)), "macro_f1": float(macro_f1)}
