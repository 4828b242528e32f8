"""The model of `preference.py`: with adapters, as a quick writer, and looked at before and after training."""

import copy
import functools
import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft.tuners.lora import LoraLayer
from torch.utils.data import DataLoader

import grpo
from chat_models import written
from helpers import environment
from helpers.data.pairs import PairCollate, PairDataset
from helpers.data.sources import SENTIMENTS
from helpers.models.language import LanguageModel, language_model
from helpers.training.loop import to_device
from helpers.training.losses import pair_log_probabilities
from helpers.training.metrics import macro_f1
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import evaluating
from helpers.tuning.lora import add_lora
from preference_rows import REWARDS, asked, best_and_worst, load, read, sentiments, spread

RANK, BATCH = 16, 32  # of the trainings behind the start; rows or pairs of a step


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    start: int = 200  # rows of a start
    pairs: int = 1200
    drawn: int = 256  # comments whose answers are drawn to measure drift and length
    watched: int = 256  # validation pairs and rows that are looked at on the way
    own: int = 4  # answers of the start to a comment, of which a pair is made
    own_chunk: int = 128  # comments that are answered at once for that
    steps: int = 50
    broken_steps: int = 30
    comments: int = 16  # of a step of GRPO
    group: int = 8  # answers to each
    new_tokens: int = 32  # of an answer that is drawn to learn from, at most
    most_tokens: int = 48  # of one that is looked at
    every: int = 10  # steps of GRPO between two looks at held-out rows
    chunk: int = 64  # rows or pairs whose log-probabilities are computed at once


QUICK = Scale(
    start=6,
    pairs=8,
    drawn=3,
    watched=4,
    own=2,
    steps=2,
    broken_steps=2,
    comments=3,
    group=3,
    new_tokens=5,
    most_tokens=6,
    every=1,
    own_chunk=5,
    chunk=4,
)


class Lab:
    """Rows, the untuned model on the device, and the starts that were made of it."""

    def __init__(self, rows: Path, model: str, work: Path, quick: bool):
        self.scale, self.work = QUICK if quick else Scale(), work
        self.batch, self.parts = 4 if quick else BATCH, load(rows)
        self.lm = language_model(model)
        self.lm.model.to(environment.device())
        self.pairs = functools.cache(self.tokenised)

    def policy(self, seed: int) -> "Policy":
        """The start of this seed with fresh adapters, which change nothing yet."""
        lm = replace(self.lm, model=copy.deepcopy(self.lm.model))
        state = torch.load(self.work / f"start-{seed}.pt", map_location=lm.model.device, weights_only=True)
        lm.model.load_state_dict(state)
        return Policy(lm, RANK, seed)

    def keep_start(self, weights: dict[str, torch.Tensor], seed: int) -> None:
        """Write the weights of a start, whole or not at all."""
        file = self.work / f"start-{seed}.pt"
        torch.save(weights, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def tokenised(self, part: str, count: int) -> PairDataset:
        """The first made pairs of a part; `pairs` keeps them."""
        return as_pairs(self.parts[part].head(count), self.lm.tokenizer)

    def own_test(self, seed: int) -> pd.DataFrame:
        """Pairs of the start's own answers to test rows, see `start`."""
        return pd.DataFrame(json.loads((self.work / f"own-{seed}.json").read_text(encoding="utf-8")))


class Policy:
    """A model with adapters, and a plain copy in half precision that writes quickly what it would write."""

    def __init__(self, lm: LanguageModel, rank: int, seed: int):
        self.writer = copy.deepcopy(lm.model).eval()
        if lm.model.device.type == "cuda":
            for parameter in self.writer.parameters():  # not the buffers: positions stay exact
                parameter.data = parameter.data.bfloat16()
        environment.seed_everything(seed)
        add_lora(lm.model, rank=rank, alpha=2 * rank)
        self.lm, self.model, self.tokenizer = lm, lm.model, lm.tokenizer
        self.runtime = Runtime(lm.model)

    def layers(self) -> dict[str, LoraLayer]:
        """The layers that have an adapter."""
        return {name: part for name, part in self.model.named_modules() if isinstance(part, LoraLayer)}

    @torch.no_grad()
    def refresh(self):
        """The writer as the model is now."""
        for name, layer in self.layers().items():
            weight = layer.get_base_layer().weight + layer.get_delta_weight("default")
            self.writer.get_submodule(name).weight.copy_(weight)
        return self.writer

    @contextmanager
    def without_adapters(self):
        """The reference inside: the model as it was before the first step."""
        for layer in self.layers().values():
            layer._disable_adapters = True  # `enable_adapters` would freeze them, too
        try:
            yield
        finally:
            for layer in self.layers().values():
                layer._disable_adapters = False

    def answers(self, rows: pd.DataFrame, most: int) -> list[str]:
        """The likeliest answers."""
        return written(
            replace(self.lm, model=self.refresh()), asked(rows), max_new_tokens=most, do_sample=False
        )

    def log_probabilities(self, ids, mask, count: int) -> torch.Tensor:
        """See `grpo.token_log_probabilities`."""
        with self.runtime.autocast():
            return grpo.token_log_probabilities(self.model, ids, mask, count)

    def pair_table(self, pairs: PairDataset, size: int) -> np.ndarray:
        """Log-probabilities (N, 2) of chosen and rejected answers."""
        found = np.zeros((len(pairs), 2))
        with evaluating(self.model), self.runtime.autocast():
            for batch in DataLoader(pairs, size, collate_fn=PairCollate(self.tokenizer.pad_token_id)):
                batch = to_device(batch, self.model.device)
                found[batch["indices"].cpu()] = pair_log_probabilities(self.model, batch).float().cpu()
        return found


def as_pairs(rows: pd.DataFrame, tokenizer) -> PairDataset:
    """Pairs of rows with `chosen` and `rejected`."""
    answer = lambda prompt, text: [*prompt, {"role": "assistant", "content": text}]
    both = zip(asked(rows), rows["chosen"], rows["rejected"])
    pairs = [(answer(prompt, chosen), answer(prompt, rejected)) for prompt, chosen, rejected in both]
    return PairDataset(pairs, tokenizer, 1024)


def drawn(policy: Policy, rows: pd.DataFrame, count: int, most: int) -> tuple[list[str], tuple]:
    """`count` answers to each row at temperature 1, as texts and as `grpo.sample` gives them."""
    with torch.no_grad():
        ids, mask, is_answer = grpo.sample(policy.writer, policy.tokenizer, asked(rows), count, most)
    kept = zip(ids[:, -is_answer.shape[1] :].cpu(), is_answer.cpu())
    texts = [policy.tokenizer.decode(row[chosen], skip_special_tokens=True) for row, chosen in kept]
    return texts, (ids, mask, is_answer)


def own_pairs(policy: Policy, rows: pd.DataFrame, scale: Scale, seed: int) -> tuple[list[dict], dict]:
    """Pairs of the policy's own drawn answers, see `best_and_worst`, and what these answers earn."""
    records, found, earned = rows.to_dict("records"), [], []
    environment.seed_everything(seed)
    for first in range(0, len(rows), scale.own_chunk):
        part = slice(first, first + scale.own_chunk)
        texts, _ = drawn(policy, rows[part], scale.own, scale.new_tokens)
        pairs, rewards = best_and_worst(texts, records[part], scale.own)
        found += [pair | {"place": first + pair["place"]} for pair in pairs]
        earned += rewards
    return found, {"reward": float(np.mean(earned)), "comments": len(rows), "pairs": len(found)}


def look(lab: Lab, policy: Policy) -> dict:
    """Validation rows on the way: both answers' log-probabilities, and of drawn answers drift and length."""
    table = policy.pair_table(lab.pairs("validation", lab.scale.watched), lab.scale.chunk)
    policy.refresh()
    some = lab.parts["validation"].head(lab.scale.drawn)
    texts, (ids, mask, is_answer) = drawn(policy, some, 1, lab.scale.most_tokens)
    drift = 0.0
    with evaluating(policy.model):
        for first in range(0, len(ids), lab.scale.chunk):
            part = slice(first, first + lab.scale.chunk)
            now = policy.log_probabilities(ids[part], mask[part], is_answer.shape[1])
            with policy.without_adapters():
                before = policy.log_probabilities(ids[part], mask[part], is_answer.shape[1])
            drift += float(((now - before) * is_answer[part]).sum())
    tokens = int(is_answer.sum())
    return {
        "chosen": float(table[:, 0].mean()), "rejected": float(table[:, 1].mean()),
        "pair_accuracy": float((table[:, 0] > table[:, 1]).mean()),
        "kl_token": drift / tokens, "kl_answer": drift / len(ids), "length": tokens / len(ids),
        "reward": float(np.mean(REWARDS["exact"](texts, some.to_dict("records")))),
    } | spread(texts)  # fmt: skip


def exam(lab: Lab, policy: Policy, seed: int) -> dict:
    """After the training: validation scores, which may choose among runs, and what test rows are kept by."""
    rows = lab.parts["validation"]
    answers, table = (
        policy.answers(rows, lab.scale.most_tokens),
        policy.pair_table(lab.pairs("validation", len(rows)), lab.scale.chunk),
    )
    validation = scores(answers, rows) | {"pair_accuracy": float((table[:, 0] > table[:, 1]).mean())}
    test, own = lab.parts["test"], lab.own_test(seed)
    answers, kept = policy.answers(test, lab.scale.most_tokens), {}
    for name, pairs in (("made", test), ("own", own)):
        if len(pairs) == 0:  # a start that answers everything alike
            continue
        dataset = lab.pairs("test", len(test)) if name == "made" else as_pairs(own, policy.tokenizer)
        table = policy.pair_table(dataset, lab.scale.chunk)
        with policy.without_adapters():
            before = policy.pair_table(dataset, lab.scale.chunk)
        moved = table - before
        places = pairs["place"].tolist() if name == "own" else None  # of the test rows; all of them
        kept[name] = {
            "places": places,
            "right": bits(table[:, 0] > table[:, 1]), "moved_right": bits(moved[:, 0] > moved[:, 1]),
            "chosen": float(table[:, 0].mean()), "rejected": float(table[:, 1].mean()),
        }  # fmt: skip
    found = [read(answer) or {} for answer in answers]
    strengths = [one.get("strength") if type(one.get("strength")) is int else None for one in found]
    lengths = [len(ids) for ids in policy.tokenizer(answers)["input_ids"]]
    answered = "".join(str(SENTIMENTS.index(word)) if word else "-" for word in sentiments(answers))
    told = {"answers": answered, "strengths": strengths, "length": float(np.mean(lengths)), "pairs": kept}
    return {"validation": validation, "test": told, "samples": answers[:6]}


def held_out(lab: Lab, policy: Policy) -> dict:
    """The task on validation rows, by the likeliest answers."""
    rows = lab.parts["validation"].head(2 * lab.scale.watched)
    answers = policy.answers(rows, lab.scale.most_tokens)
    return scores(answers, rows) | {"most_frequent": spread(answers)["most_frequent"]}


def scores(answers: list[str], rows: pd.DataFrame) -> dict:
    """Accuracy and macro-F1 of the stated sentiments; an answer without one is wrong."""
    words = (*SENTIMENTS, None)
    stated = np.array([words.index(word) for word in sentiments(answers)])
    targets = rows["label"].map(SENTIMENTS.index).to_numpy()
    # Of four classes the last is no target; its F1 is 0, so the mean over three is 4 / 3 of that over four.
    found = {"accuracy": float((stated == targets).mean()), "macro_f1": macro_f1(targets, stated, 4) * 4 / 3}
    return found | {"valid_json": float((stated < 3).mean())}


def bits(right: np.ndarray) -> str:
    """One digit a row."""
    return "".join("01"[int(value)] for value in right)
