"""The rows, the language model and the store of `chat.py`: train, score by labels, let it write."""

import json
import os
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

KEPT = ROOT / "runs" / "chat_benchmark"  # what runs leave: their figures, and logits of every row
MEASURED = KEPT / "runs.json"
SEEDS = (1, 2, 3)
SIZES = (200, 600, 2000)
MIDDLE = 600
STATED = 1000  # validation rows that are answered in full, for valid JSON
OPENING = '{"sentiment": "'
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
        self.kept = KEPT / "quick" if quick else KEPT
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

    def keep(self, key: dict, logits: np.ndarray) -> None:
        """Keep the answers of a run, (N, 3), for pairs."""
        self.kept.mkdir(parents=True, exist_ok=True)
        np.save(self.kept / f"{name_of(key)}.npy", logits.astype(np.float16))


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
    return scored(logits.argmax(1), targets_of(frame))


def scored(chosen: np.ndarray, targets: np.ndarray) -> dict:
    """Accuracy and macro-F1 of classes (N,)."""
    accuracy = float((targets == chosen).mean())
    return {"accuracy": accuracy, "macro_f1": macro_f1(targets, chosen, 3), "n": len(targets)}


def targets_of(frame: pd.DataFrame) -> np.ndarray:
    """Class numbers (N,)."""
    return frame["label"].map(SENTIMENTS.index).to_numpy()


def name_of(key: dict) -> str:
    """A run's file name."""
    return "_".join(f"{name}-{value}" for name, value in key.items()).replace("/", "-")


class Store:
    """Results that grow run by run."""

    def __init__(self, file: Path):
        self.file = file
        self.content = self.read()
        cuda = torch.cuda.is_available()
        self.card = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"

    def read(self) -> dict:
        """What is in the file."""
        return json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else {"runs": []}

    def measure(self, key: dict, function) -> None:
        """Run `function` unless it is done: {figures}."""
        if any(run["key"] == key for run in self.content["runs"]):
            return
        start = time.perf_counter()
        found = function()
        run = {"key": key, "device": self.card, "versions": versions()} | found
        run["seconds_all"] = round(time.perf_counter() - start, 1)
        self.content = self.read()  # another call may have measured another part meanwhile
        self.content["runs"].append(run)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, (json.dumps(self.content, indent=1) + "\n").encode())
        print(json.dumps(run)[:400], flush=True)


def versions() -> dict:
    """Of what computes here."""
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}


def seeds(bench: Bench) -> tuple:
    return QUICK["seeds"] if bench.quick else SEEDS


def sizes(bench: Bench) -> tuple:
    return QUICK["sizes"] if bench.quick else SIZES
