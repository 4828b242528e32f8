"""Measure what a language model learns of the comments: chapter 10's ladder, its comparisons, all comments.

usage: python benchmarks/chat.py [PART ...] [--output FILE] [--packed FOLDER] [--quick]
       python benchmarks/chat.py pack FOLDER
       python benchmarks/chat.py finish

Parts: ladder, rank, ways, generated, all (the language model: hours on two cores, minutes on a GPU), minilm,
distilled, rungs (minutes on two cores). None named: all of them. Each run is stored when it is done, so a
call that was stopped goes on where it was. `pack` writes what a machine without the course's data needs, and
`--packed` reads it there. `finish` compares the runs that are paired, from the answers kept in
runs/chat_benchmark, and writes the page's figures: benchmarks/results/chat.json.

The seed decides which training rows are drawn, their order and the adapter's first weights; both models of a
pair get the same rows. Everything is scored on all 4,680 validation rows; the recipe for all comments is
chosen there, and the test rows are touched once, by the chosen one.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from helpers import environment
from helpers.data.chat import IGNORED, AnswerCollate, ChatDataset, prompt_ids
from helpers.data.loaders import make_loader
from helpers.data.sources import SENTIMENTS, conversation, rater_shares
from helpers.files import ROOT, write_atomically
from helpers.models.language import LanguageModel, language_model
from helpers.models.low_bit import to_low_bit
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit, mean_loss
from helpers.training.losses import CausalLM
from helpers.training.metrics import macro_f1
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import evaluating
from helpers.tuning.lora import add_lora

RESULTS = ROOT / "benchmarks" / "results" / "chat.json"
KEPT = ROOT / "runs" / "chat_benchmark"  # answers of every run, for pairs
SEEDS = (1, 2, 3)
SIZES = (200, 600, 2000)
MIDDLE = 600
LORA = {"way": "lora", "rank": 8, "rate": 1e-3, "epochs": 2, "batch": 16, "votes": False}
FULL = LORA | {"way": "full", "rank": None, "rate": 1e-4}
ALL = (  # recipes for all comments, and with how many seeds
    (LORA | {"rate": 5e-4, "batch": 32, "votes": True, "rank": 16}, 3),
    (FULL | {"rate": 1e-4, "batch": 32, "votes": True}, 3),
    (FULL | {"rate": 1e-4, "batch": 32, "votes": False}, 1),
    (FULL | {"rate": 5e-5, "batch": 32, "votes": True, "epochs": 3}, 1),
    (FULL | {"rate": 2e-4, "batch": 32, "votes": True}, 1),
)
STATED = 1000  # validation rows that are answered in full, for valid JSON
OPENING = '{"sentiment": "'
PER_LABEL = 200  # generated comments
QUICK = {"seeds": (1,), "sizes": (16,), "rows": 40}


class Votes(CausalLM):
    """Answers with raters' votes: at the sentiment's word, half of the target is what the raters said."""

    def __init__(self, targets: torch.Tensor, words: list[int]):
        self.targets, self.words = targets, torch.tensor(words)  # (N, 3), and the labels' first tokens

    def of_logits(self, logits, labels, batch):
        words = self.words.to(logits.device)
        places = (batch["labels"][:, 1:] != IGNORED).nonzero()[:, 0]  # the row in the batch of each label
        rows = batch["indices"].cpu()[places.cpu()]
        is_word = torch.isin(labels, words)
        plain = F.cross_entropy(logits[~is_word], labels[~is_word], reduction="sum")
        shares = self.targets[rows[is_word.cpu()]].to(logits.device)
        return plain - (shares * logits[is_word].log_softmax(-1)[:, words]).sum()


class Bench:
    """Rows, and the model by name."""

    def __init__(self, packed: Path | None, quick: bool):
        self.quick, self.model = quick, "smollm2"
        if packed is None:
            from helpers.runs.recipes import RunConfig, prepare

            self.parts = prepare(RunConfig(task="text", limit=0)).splits
        else:
            names = ("train", "validation", "test")
            self.parts = {name: pd.read_json(packed / f"{name}.jsonl", lines=True) for name in names}
            self.model = str(packed / "smollm2")
        if quick:
            self.parts = {name: part.head(QUICK["rows"]) for name, part in self.parts.items()}

    def drawn(self, size: int, seed: int) -> pd.DataFrame:
        """Training rows of a run, the same for every model."""
        frame = self.parts["train"]
        return frame.sample(min(size or len(frame), len(frame)), random_state=seed).reset_index(drop=True)

    def load(self) -> LanguageModel:
        """The untuned model."""
        return language_model(self.model)


def conversations(frame: pd.DataFrame) -> list[list[dict]]:
    """The course's job for each row."""
    return [conversation(row) for _, row in frame.iterrows()]


def word_ids(tokenizer) -> list[int]:
    """The first token of each sentiment behind the answer's opening."""
    opening = tokenizer(OPENING)["input_ids"]
    rows = [tokenizer(f'{OPENING}{word}"')["input_ids"] for word in SENTIMENTS]
    assert all(row[: len(opening)] == opening for row in rows)
    return [row[len(opening)] for row in rows]


def tune(bench: Bench, lm: LanguageModel, frame: pd.DataFrame, recipe: dict, seed: int, texts=None) -> dict:
    """Train `lm` in place on the rows; returns seconds, weights that moved, and tokens."""
    environment.seed_everything(seed)
    if recipe["way"] == "lora-4bit":
        to_low_bit(lm.model)
    if recipe["way"] != "full":
        add_lora(lm.model, rank=recipe["rank"], alpha=2 * recipe["rank"])
    dataset = ChatDataset(texts or conversations(frame), lm.tokenizer, 1024)
    collate, runtime = AnswerCollate(lm.tokenizer.pad_token_id), Runtime(lm.model)
    loader = make_loader(dataset, recipe["batch"], collate, shuffle=True, seed=seed)
    some = ChatDataset(conversations(bench.parts["validation"].head(256)), lm.tokenizer, 1024)
    scored = make_loader(some, 32, collate)
    strategy = "full" if recipe["way"] == "full" else "lora"
    config = TrainingConfig(
        epochs=recipe["epochs"], batch_size=recipe["batch"], learning_rate=recipe["rate"], seed=seed,
        schedule="one-cycle", strategy=strategy, select="-loss", evaluate_every=10**9, weight_decay=0.0,
    )  # fmt: skip
    loss, plain = CausalLM(), CausalLM()
    if recipe["votes"]:
        labels = np.stack([frame["label"] == word for word in SENTIMENTS], axis=1)
        targets = torch.from_numpy((labels + rater_shares(frame["ratings"])) / 2).float()
        loss = Votes(targets, word_ids(lm.tokenizer))
    score = lambda model: mean_loss(model, scored, plain, runtime)
    if runtime.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start, last = time.perf_counter(), None
    for step in fit(lm.model, loader, config, loss=loss, score=score, runtime=runtime):
        last = step
    moved = sum(p.numel() for p in lm.model.parameters() if p.requires_grad)
    tokens = int(dataset.lengths.sum()) * recipe["epochs"]
    measured = {"seconds_training": round(time.perf_counter() - start, 1), "trainable": moved}
    if runtime.device.type == "cuda":
        measured["peak_bytes"] = torch.cuda.max_memory_allocated()
    return measured | {"tokens": tokens, "validation_loss": last.validation["loss"]}


def label_logits(lm: LanguageModel, frame: pd.DataFrame, system: str | None = None, shots=()) -> np.ndarray:
    """Log-probabilities (N, 3) of the sentiments at the answer's place; one pass, nothing is written."""
    opening, words = lm.tokenizer(OPENING)["input_ids"], word_ids(lm.tokenizer)
    device, found = lm.model.device, np.zeros((len(frame), 3), dtype=np.float32)
    rows = []
    for _, row in frame.iterrows():
        asked = [*shots, *conversation(row)[1:2]]
        asked = [{"role": "system", "content": system or conversation(row)[0]["content"]}, *asked]
        rows.append(prompt_ids(asked, lm.tokenizer) + opening)
    order = np.argsort([len(row) for row in rows], kind="stable")
    size = 128 if device.type == "cuda" else 16
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    with evaluating(lm.model), half:
        for start in range(0, len(rows), size):
            chosen = order[start : start + size]
            ids = [torch.tensor(rows[place]) for place in chosen]
            ends = torch.tensor([len(row) - 1 for row in ids], device=device)
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(device)
            mask = (torch.arange(padded.shape[1], device=device) <= ends[:, None]).long()
            hidden = lm.model.base_model(input_ids=padded, attention_mask=mask)[0]  # (B, L, D)
            last = hidden[torch.arange(len(ids), device=device), ends]
            logits = lm.model.get_output_embeddings()(last).float().log_softmax(-1)[:, words]
            found[chosen] = logits.cpu().numpy()
    return found


def written(lm: LanguageModel, conversations: list[list[dict]], **options) -> list[str]:
    """What the model writes, in order."""
    tokenizer, texts = lm.tokenizer, [""] * len(conversations)
    prompts = [prompt_ids(messages, tokenizer) for messages in conversations]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    size = 512 if lm.model.device.type == "cuda" else 32
    half = torch.autocast(lm.model.device.type, torch.bfloat16, enabled=lm.model.device.type == "cuda")
    with evaluating(lm.model), half:
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            longest = max(len(prompts[place]) for place in chosen)
            ids = torch.full((len(chosen), longest), tokenizer.pad_token_id)
            mask = torch.zeros_like(ids)
            for row, place in enumerate(chosen):  # padding on the left: all go on from the last column
                ids[row, longest - len(prompts[place]) :] = torch.tensor(prompts[place])
                mask[row, longest - len(prompts[place]) :] = 1
            out = lm.model.generate(
                input_ids=ids.to(lm.model.device), attention_mask=mask.to(lm.model.device),
                pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, **options,
            )  # fmt: skip
            for place, row in zip(chosen, out[:, longest:].cpu()):
                texts[place] = tokenizer.decode(row, skip_special_tokens=True)
    return texts


def stated(lm: LanguageModel, frame: pd.DataFrame) -> dict:
    """How the first rows are answered in full: valid JSON, exact, right, how far the strength is off."""
    frame, start = frame.head(STATED), time.perf_counter()
    asked = [conversation(row)[:2] for _, row in frame.iterrows()]
    answers = written(lm, asked, max_new_tokens=32, do_sample=False)
    seconds, valid, exact, right, distance = time.perf_counter() - start, 0, 0, 0, []
    for answer, (_, row) in zip(answers, frame.iterrows()):
        try:
            found = json.loads(answer)
        except ValueError:
            continue
        if not isinstance(found, dict) or found.get("sentiment") not in SENTIMENTS:
            continue
        valid += 1
        exact += answer == conversation(row)[2]["content"]
        right += found["sentiment"] == row["label"]
        if isinstance(found.get("strength"), int):
            distance.append(abs(found["strength"] - row["rating"]))
    n = len(frame)
    return {
        "valid_json": valid / n, "exact": exact / n, "accuracy_stated": right / n, "stated": n,
        "strength_error": float(np.mean(distance)) if distance else None,
        "ms_per_answer": 1000 * seconds / n,
    }  # fmt: skip


def scores(logits: np.ndarray, frame: pd.DataFrame) -> dict:
    """Accuracy and macro-F1 of (N, 3)."""
    targets, chosen = targets_of(frame), logits.argmax(1)
    return {
        "accuracy": float((targets == chosen).mean()),
        "macro_f1": macro_f1(targets, chosen, 3),
        "n": len(frame),
    }


def targets_of(frame: pd.DataFrame) -> np.ndarray:
    """Class numbers (N,)."""
    return frame["label"].map(SENTIMENTS.index).to_numpy()


def keep(key: dict, logits: np.ndarray) -> None:
    """Keep the answers of a run for `finish`."""
    KEPT.mkdir(parents=True, exist_ok=True)
    np.save(KEPT / f"{name_of(key)}.npy", logits.astype(np.float16))


def name_of(key: dict) -> str:
    """A run's file name."""
    return "_".join(f"{name}-{value}" for name, value in key.items()).replace("/", "-")


class Store:
    """Results that grow run by run."""

    def __init__(self, file: Path):
        self.file = file
        self.content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"runs": []}
        cuda = torch.cuda.is_available()
        self.card = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"

    def measure(self, key: dict, function) -> None:
        """Run `function` unless it is done: {figures}."""
        if any(run["key"] == key for run in self.content["runs"]):
            return
        start = time.perf_counter()
        found = function()
        run = {"key": key, "device": self.card, "versions": versions()} | found
        run["seconds_all"] = round(time.perf_counter() - start, 1)
        self.content["runs"].append(run)
        write_atomically(self.file, (json.dumps(self.content, indent=1) + "\n").encode())
        print(json.dumps(run)[:400], flush=True)


def versions() -> dict:
    """Of what computes here."""
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}


def tuned_run(bench: Bench, key: dict, recipe: dict, *, size: int, seed: int, state: bool) -> dict:
    """Train and score one run."""
    lm = bench.load()
    measured = tune(bench, lm, bench.drawn(size, seed), recipe, seed)
    validation = bench.parts["validation"]
    logits = label_logits(lm, validation)
    keep(key, logits)
    if size == max(SIZES):  # to teach another model
        keep(key | {"rows_of": "train"}, label_logits(lm, bench.parts["train"]))
    return recipe | measured | scores(logits, validation) | (stated(lm, validation) if state else {})


def ladder(bench: Bench, store: Store) -> None:
    """Zero-shot, few-shot, and LoRA with more and more rows."""
    validation, lm = bench.parts["validation"], None
    system = 'Is the comment negative, neutral or positive? Answer in JSON, like {"sentiment": "neutral"}.'
    examples = bench.parts["train"].groupby("label").head(2).sort_values("text")
    shots = [message for _, row in examples.iterrows() for message in conversation(row)[1:]]
    for rung, options in {"zero-shot": {}, "few-shot": {"shots": shots}}.items():
        key = {"part": "ladder", "rung": rung, "rows": 0, "seed": 0}

        def run(options=options, key=key):
            lm = bench.load()
            lm.model.to(environment.device())
            logits = label_logits(lm, validation, system, **options)
            keep(key, logits)
            return scores(logits, validation)

        store.measure(key, run)
    del lm
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
                keep(key, logits)
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
                keep(key, logits)
                keep(key | {"rows_of": "test"}, label_logits(lm, bench.parts["test"]))
                more = stated(lm, bench.parts["validation"])
                return recipe | measured | scores(logits, bench.parts["validation"]) | more

            store.measure(key, run)


def seeds(bench: Bench) -> tuple:
    return QUICK["seeds"] if bench.quick else SEEDS


def sizes(bench: Bench) -> tuple:
    return QUICK["sizes"] if bench.quick else SIZES


def pack(folder: Path) -> None:
    """The prepared rows for a machine without the course's data."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["id", "text", "label", "rating", "ratings", "platform", "group"]
    for name, part in Bench(None, False).parts.items():
        part[columns].to_json(folder / f"{name}.jsonl", orient="records", lines=True)


PARTS = {"ladder": ladder, "rank": rank, "ways": ways, "generated": generated, "all": all_comments}


def main(arguments: list[str]) -> None:
    """Measure the named parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--packed", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    if options.parts[:1] == ["pack"]:
        pack(Path(options.parts[1]))
        return
    bench, store = Bench(options.packed, options.quick), Store(options.output)
    for name in options.parts or PARTS:
        part, *chosen = name.split(":")  # "all:1:2" is recipe 1 with seed 2
        numbers = [int(number) for number in chosen]
        more = {"recipes": [numbers[0]], "only": numbers[1]} if numbers else {}
        PARTS[part](bench, store, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
