"""How good a language model's run is: loss, bits per byte, and what it writes (chapter 10)."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader, Dataset

from helpers.data.chat import AnswerCollate, ChatDataset, prompt_ids
from helpers.data.loaders import make_loader
from helpers.data.sources import SENTIMENTS
from helpers.generation import Sampling, generate
from helpers.models.language import LanguageModel
from helpers.safety.values import MOST
from helpers.training.loop import mean_loss
from helpers.training.losses import CausalLM
from helpers.training.metrics import f1_scores
from helpers.training.runtime import Runtime

EVALUATION_BATCH = 16
WRITTEN = 200  # rows that are answered in full: writing takes longer than reading
LONGEST_ANSWER = 512  # tokens


def conversations(frame: pd.DataFrame) -> list[list[dict]]:
    """The messages of each row."""
    return [json.loads(text) for text in frame["text"]]


def dataset(lm: LanguageModel, frame: pd.DataFrame) -> ChatDataset:
    """The rows as tokens."""
    names = frame["id"].tolist()
    return ChatDataset(conversations(frame), lm.tokenizer, lm.max_length, lm.system, names)


def loader_of(lm: LanguageModel, rows: Dataset, collate: type = AnswerCollate, **options) -> DataLoader:
    """A loader of rows in a fixed order."""
    return make_loader(rows, EVALUATION_BATCH, collate(lm.tokenizer.pad_token_id), **options)


def measured(lm: LanguageModel, frame: pd.DataFrame, rows: ChatDataset, runtime: Runtime) -> dict:
    """Loss in nats a token, perplexity, and bits per byte of the answers, which no tokenizer changes.

    `rows` are those of `frame` as tokens, see `dataset`.
    """
    loss = mean_loss(lm.model, loader_of(lm, rows, **runtime.sharding), CausalLM(), runtime)["loss"]
    tokens = rows.num_learnt
    spoken = [message for messages in conversations(frame) for message in messages]
    size = sum(len(m["content"].encode()) for m in spoken if m["role"] == "assistant")
    bits = loss * tokens / math.log(2) / size
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),  # beyond it there is no such number
        "bits_per_byte": bits,
        "tokens": tokens,
        "n": len(frame),
    }


def answers(lm: LanguageModel, frame: pd.DataFrame, *, own_data: bool) -> tuple[pd.DataFrame, dict]:
    """What the model writes, greedy, for the first rows: a table, and how often it is right.

    `exact_match` and `stopped` are shares of the answered rows, `answer_tokens` the mean length; `valid_json`
    where every wanted answer is JSON; accuracy and macro-F1 of the sentiment for the course's own job.
    """
    frame = frame.head(WRITTEN)
    asked = [messages[:-1] for messages in conversations(frame)]
    longest = max(len(lm.tokenizer(label)["input_ids"]) for label in frame["label"])
    context = getattr(lm.model.config, "max_position_embeddings", MOST)
    room = context - max(len(prompt_ids(messages, lm.tokenizer, lm.system)) for messages in asked)
    sampling = Sampling(max_new_tokens=max(1, min(2 * longest + 16, LONGEST_ANSWER, room)))
    written = generate(replace(lm, max_length=context), asked, sampling)
    texts, wanted = [answer.text for answer in written], frame["label"].tolist()
    shares = {
        "answered": len(texts),
        "exact_match": float(np.mean([a.strip() == b.strip() for a, b in zip(texts, wanted)])),
        "answer_tokens": float(np.mean([answer.new_tokens for answer in written])),
        "stopped": float(np.mean([answer.finish == "stop" for answer in written])),
    }
    values = [(parsed(text), parsed(answer)) for text, answer in zip(texts, wanted)]
    if all(value is not None for _, value in values):
        shares["valid_json"] = float(np.mean([value is not None for value, _ in values]))
    if not own_data:
        shares |= sentiment_scores([value for value, _ in values], [value for _, value in values])
    table = pd.DataFrame({"id": frame["id"], "target": wanted, "prediction": texts})
    return table, shares


def parsed(text: str) -> dict | list | None:
    """The JSON object or list that a text is; None for any other."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def sentiment_scores(found: list, wanted: list) -> dict[str, float]:
    """Accuracy and macro-F1 of the course's job; an answer without a known sentiment is wrong."""
    names = SENTIMENTS

    def number(value) -> int:
        word = value.get("sentiment") if isinstance(value, dict) else None
        return names.index(word) if word in names else len(names)

    targets, predictions = (np.array([number(value) for value in side]) for side in (wanted, found))
    f1 = f1_scores(targets, predictions, len(names) + 1)[: len(names)]
    return {"accuracy": float((targets == predictions).mean()), "macro_f1": float(f1.mean())}
