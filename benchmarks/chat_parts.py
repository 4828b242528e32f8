"""What `chat.py` measures of the language model: hours on two cores, minutes on a GPU."""

import json

from chat_models import (
    MIDDLE,
    SIZES,
    Bench,
    Store,
    label_logits,
    scores,
    seeds,
    sizes,
    stated,
    tune,
    written,
)
from helpers import environment
from helpers.data.sources import SENTIMENTS, conversation

LORA = {"way": "lora", "rank": 8, "rate": 1e-3, "epochs": 2, "batch": 16, "votes": False}
FULL = LORA | {"way": "full", "rank": None, "rate": 1e-4}
ALL = (  # recipes for all comments, and with how many seeds
    (LORA | {"rate": 5e-4, "batch": 32, "votes": True, "rank": 16}, 3),
    (FULL | {"rate": 1e-4, "batch": 32, "votes": True}, 3),
    (FULL | {"rate": 1e-4, "batch": 32, "votes": False}, 1),
    (FULL | {"rate": 5e-5, "batch": 32, "votes": True, "epochs": 3}, 1),
    (FULL | {"rate": 2e-4, "batch": 32, "votes": True}, 1),
)
ZERO_SHOT = 'Is the comment negative, neutral or positive? Answer in JSON, like {"sentiment": "neutral"}.'
PER_LABEL = 200  # generated comments


def tuned_run(bench: Bench, key: dict, recipe: dict, *, size: int, seed: int, state: bool) -> dict:
    """Train and score one run."""
    lm = bench.load()
    measured = tune(bench, lm, bench.drawn(size, seed), recipe, seed)
    validation = bench.parts["validation"]
    logits = label_logits(lm, validation)
    bench.keep(key, logits)
    if size == max(SIZES):  # to teach another model
        bench.keep(key | {"rows_of": "train"}, label_logits(lm, bench.parts["train"]))
    return recipe | measured | scores(logits, validation) | (stated(lm, validation) if state else {})


def ladder(bench: Bench, store: Store) -> None:
    """Zero-shot, few-shot, and LoRA with more and more rows."""
    validation = bench.parts["validation"]
    examples = bench.parts["train"].groupby("label").head(2).sort_values("text")
    shots = [message for _, row in examples.iterrows() for message in conversation(row)[1:]]
    for rung, options in {"zero-shot": {}, "few-shot": {"shots": shots}}.items():
        key = {"part": "ladder", "rung": rung, "rows": 0, "seed": 0}

        def run(options=options, key=key):
            lm = bench.load()
            lm.model.to(environment.device())
            logits = label_logits(lm, validation, ZERO_SHOT, **options)
            bench.keep(key, logits)
            return scores(logits, validation)

        store.measure(key, run)
    for size in sizes(bench):
        for seed in seeds(bench):
            key = {"part": "ladder", "rung": "lora", "rows": size, "seed": seed}
            run = lambda key=key, size=size, seed=seed: tuned_run(
                bench, key, LORA, size=size, seed=seed, state=True
            )
            store.measure(key, run)


def rank(bench: Bench, store: Store) -> None:
    """LoRA of rank 2 and 32 beside the ladder's 8."""
    for number in (2, 32):
        for seed in seeds(bench):
            key = {"part": "rank", "rank": number, "rows": MIDDLE, "seed": seed}
            recipe = LORA | {"rank": number}
            run = lambda key=key, recipe=recipe, seed=seed: tuned_run(
                bench, key, recipe, size=MIDDLE, seed=seed, state=False
            )
            store.measure(key, run)


def ways(bench: Bench, store: Store) -> None:
    """All weights, and LoRA on a base in 4 bits, beside the ladder's LoRA."""
    for recipe in (FULL, LORA | {"way": "lora-4bit"}):
        for seed in seeds(bench):
            key = {"part": "ways", "way": recipe["way"], "rows": MIDDLE, "seed": seed}
            run = lambda key=key, recipe=recipe, seed=seed: tuned_run(
                bench, key, recipe, size=MIDDLE, seed=seed, state=True
            )
            store.measure(key, run)


def generated(bench: Bench, store: Store) -> None:
    """A model learns to write comments of a wanted sentiment from 600 rows; 200 rows with and without its
    comments train another.
    """
    per_label = 4 if bench.quick else PER_LABEL
    for seed in seeds(bench):
        real = bench.drawn(MIDDLE if not bench.quick else 16, seed)
        few = real.head(200)

        def run(real=real, few=few, seed=seed):
            lm = bench.load()
            turned = [written_for(row["label"], row["text"]) for _, row in real.iterrows()]
            tune(bench, lm, real, LORA, seed, texts=turned)
            asked = [written_for(word, "")[:1] for word in SENTIMENTS for _ in range(per_label)]
            environment.seed_everything(seed)
            options = {"do_sample": True, "temperature": 1.0, "top_p": 0.95, "max_new_tokens": 48}
            texts = [text.strip() for text in written(lm, asked, **options)]
            words = [word for word in SENTIMENTS for _ in range(per_label)]
            rows = [(text, word) for text, word in zip(texts, words) if text]
            known = {normal(text) for text in real["text"]}
            copies = sum(normal(text) in known for text, _ in rows)
            fresh = list(dict.fromkeys((text, word) for text, word in rows if normal(text) not in known))
            return {
                "wanted": 3 * per_label, "empty": len(texts) - len(rows), "copies_of_training": copies,
                "kept": len(fresh), "texts": fresh,
            }  # fmt: skip

        key = {"part": "generated", "kind": "texts", "seed": seed}
        store.measure(key, run)
        made = next(run for run in store.content["runs"] if run["key"] == key)["texts"]
        for kind, with_made in (("real", False), ("real and generated", True)):
            key = {"part": "generated", "kind": kind, "rows": 200, "seed": seed}

            def train(few=few, made=made, with_made=with_made, key=key, seed=seed):
                lm = bench.load()
                texts = [short_answer(row["text"], row["label"]) for _, row in few.iterrows()]
                texts += [short_answer(text, word) for text, word in made] if with_made else []
                recipe = LORA | {"epochs": 2 if with_made else 2 * (len(few) + len(made)) // len(few)}
                measured = tune(bench, lm, few, recipe, seed, texts=texts)
                logits = label_logits(lm, bench.parts["validation"])
                bench.keep(key, logits)
                return (
                    recipe
                    | measured
                    | {"trained_rows": len(texts)}
                    | scores(logits, bench.parts["validation"])
                )

            store.measure(key, train)


def written_for(word: str, text: str) -> list[dict]:
    """The job turned round: a sentiment in, a comment out."""
    asked = {"role": "user", "content": f"Write a {word} comment."}
    return [asked, {"role": "assistant", "content": text}]


def short_answer(text: str, word: str) -> list[dict]:
    """A comment with its sentiment alone: nobody rated the strength of a generated one."""
    row = {"text": text, "label": word, "rating": 0.0, "platform": ""}
    system, asked, _ = conversation(row)
    return [system, asked, {"role": "assistant", "content": json.dumps({"sentiment": word})}]


def normal(text: str) -> str:
    """Letters alone."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def all_comments(bench: Bench, store: Store, recipes: list | None = None, only: int | None = None) -> None:
    """Recipes on all training rows, scored on validation rows; the logits of test rows are kept unread."""
    for number in recipes or range(len(ALL)):
        recipe, count = ALL[number]
        for seed in [only] if only else seeds(bench)[:count]:
            key = {"part": "all", "recipe": number, "seed": seed}

            def run(key=key, recipe=recipe, seed=seed):
                lm = bench.load()
                measured = tune(bench, lm, bench.drawn(0, seed), recipe, seed)
                logits = label_logits(lm, bench.parts["validation"])
                bench.keep(key, logits)
                bench.keep(key | {"rows_of": "test"}, label_logits(lm, bench.parts["test"]))
                more = stated(lm, bench.parts["validation"])
                return recipe | measured | scores(logits, bench.parts["validation"]) | more

            store.measure(key, run)
