"""The exercise of chapter 07 that builds: rows, batches and a head, which are then trained and scored."""

import itertools

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers import assets
from helpers.data.sources import SENTIMENTS
from helpers.models.classifier import quiet_transformers
from helpers.training.metrics import macro_f1
from lessons.ch07 import answers
from lessons.ch07.choosing import hidden_rows
from lessons.exercise import Exercise

TEXTS = ["Good.", "It broke after two days, and nobody answers my letters.", "It opens at nine.", "Bad!"] * 5
LABELS = ["positive", "negative", "neutral", "negative"] * 5
BATCH, WIDTH, EPOCHS = 16, 32, 2
ENCODER_RATE, HEAD_RATE = 1.5e-4, 3e-3


def _tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets.path("minilm"))


def small_encoder(vocabulary: int) -> nn.Module:
    """An encoder with random weights: enough to look at shapes."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    return BertModel(BertConfig(vocab_size=vocabulary, **sizes), add_pooling_layer=False)


def large_encoder() -> nn.Module:
    """MiniLM without its pooler."""
    from transformers import AutoModel

    with quiet_transformers():
        return AutoModel.from_pretrained(assets.path("minilm"), add_pooling_layer=False, dtype=torch.float32)


def _verify_prepared(attempt):
    tokenizer = _tokenizer()
    _verify_shapes(attempt, tokenizer)
    return _verify_learning(attempt, tokenizer, large_encoder())


def _verify_shapes(attempt, tokenizer):
    encoder = small_encoder(len(tokenizer))
    found = attempt(list(TEXTS), list(LABELS), tokenizer, encoder)
    if not isinstance(found, tuple) or len(found) != 2:
        raise AssertionError(f"expected two things, a loader and a model, found {type(found).__name__}")
    loader, model = found
    if not isinstance(loader, DataLoader) or not isinstance(model, nn.Module):
        raise AssertionError(
            "expected a torch DataLoader and an nn.Module, found "
            f"{type(loader).__name__} and {type(model).__name__}"
        )
    batches = list(loader)
    for batch in batches:
        _verify_batch(batch)
    if sum(len(batch["labels"]) for batch in batches) != len(TEXTS):
        raise AssertionError(f"an epoch should hold each of the {len(TEXTS)} rows once")
    _verify_rows(batches, tokenizer)
    order = [batch["input_ids"][:, 1].tolist() for batch in (*batches, *loader)]
    if order[: len(batches)] == order[len(batches) :]:
        raise AssertionError("two epochs have the same order; shuffle the training rows")
    _verify_head(model.eval(), max(batches, key=lambda batch: int((batch["attention_mask"] == 0).sum())))


def _verify_batch(batch):
    names = {"input_ids", "attention_mask", "labels"}
    if not isinstance(batch, dict) or set(batch) != names:
        raise AssertionError("a batch should be a dictionary with exactly input_ids, attention_mask, labels")
    rows, length = len(batch["labels"]), int(batch["attention_mask"].sum(1).max())
    for name in ("input_ids", "attention_mask"):
        tensor = batch[name]
        if tensor.dtype != torch.int64 or tensor.shape != (rows, length):
            raise AssertionError(
                f"{name} should be int64 of shape (B, L) = ({rows}, {length}), L the longest text of the "
                f"batch, found {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
    if batch["labels"].dtype != torch.int64 or not set(batch["labels"].tolist()) <= {0, 1, 2}:
        raise AssertionError("labels should be int64 numbers 0, 1, 2 of negative, neutral, positive")
    if rows > BATCH:
        raise AssertionError(f"a batch should have at most {BATCH} rows, found {rows}")


def _verify_rows(batches, tokenizer):
    right = {
        tuple(tokenizer(text)["input_ids"]): SENTIMENTS.index(label) for text, label in zip(TEXTS, LABELS)
    }
    for batch in batches:
        for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"].tolist()):
            text = tuple(ids[mask == 1].tolist())
            if text not in right:
                raise AssertionError(
                    f"under the mask stands {tokenizer.decode(list(text))!r}, which is none of the texts"
                )
            if right[text] != label:
                raise AssertionError(
                    f"{tokenizer.decode(list(text), skip_special_tokens=True)!r} lost its label: expected "
                    f"{right[text]}, found {label}"
                )


def _verify_head(model, batch):
    with torch.no_grad():
        together = model(batch["input_ids"], batch["attention_mask"])
        shortest = int(batch["attention_mask"].sum(1).argmin())
        length = int(batch["attention_mask"][shortest].sum())
        alone = model(batch["input_ids"][[shortest], :length], batch["attention_mask"][[shortest], :length])
    if together.shape != (len(batch["labels"]), len(SENTIMENTS)):
        raise AssertionError(
            f"expected logits of shape (B, 3) = ({len(batch['labels'])}, 3), found {tuple(together.shape)}"
        )
    if not torch.allclose(together[shortest], alone[0], atol=1e-4):
        raise AssertionError(
            "a text alone and beside longer ones gets different logits: padding is read somewhere, in the "
            "encoder (pass the mask), in the mean, or in the maximum"
        )
    if 2 * WIDTH not in [layer.in_features for layer in model.modules() if isinstance(layer, nn.Linear)]:
        raise AssertionError(
            f"no layer reads {2 * WIDTH} numbers, mean and maximum side by side (the small encoder has "
            f"{WIDTH})"
        )


def _verify_learning(attempt, tokenizer, encoder):
    rows = hidden_rows()
    torch.manual_seed(0)
    loader, model = attempt(list(rows["train_texts"]), list(rows["train_labels"]), tokenizer, encoder)
    inner = set(encoder.parameters())
    groups = [
        {"params": [p for p in model.parameters() if p in inner], "lr": ENCODER_RATE},
        {"params": [p for p in model.parameters() if p not in inner], "lr": HEAD_RATE},
    ]
    optimizer = torch.optim.AdamW(groups)
    model.train()
    for batch in itertools.chain(*[loader] * EPOCHS):
        loss = F.cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    targets = rows["labels"][: len(rows["texts"])]
    score = macro_f1(targets, _guesses(model.eval(), tokenizer, rows["texts"]), 3)
    words = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(class_weight="balanced"))
    words.fit(rows["train_texts"], [SENTIMENTS.index(label) for label in rows["train_labels"]])
    baseline = macro_f1(targets, words.predict(rows["texts"]), 3)
    found = (
        f"after {EPOCHS * len(loader)} steps macro-F1 on {len(targets)} hidden comments is {score:.3f}, "
        f"of TF-IDF {baseline:.3f}"
    )
    if score <= baseline:
        raise AssertionError(f"{found}; do gradients reach both the head and the encoder?")
    return f"{found[0].upper()}{found[1:]}."


@torch.no_grad()
def _guesses(model, tokenizer, texts):
    guesses = []
    for start in range(0, len(texts), 60):
        batch = tokenizer(texts[start : start + 60], padding=True, truncation=True, return_tensors="pt")
        guesses += model(batch["input_ids"], batch["attention_mask"]).argmax(1).tolist()
    return guesses


prepared = Exercise(
    verify=_verify_prepared,
    hints=(
        "Three parts: a Dataset that gives token ids and a number, a collate function that pads and makes "
        "the mask, a module that pools and has one Linear of twice the encoder's width.",
        "The mean multiplies by the mask and divides by its sum. For the maximum a zero is not low enough: "
        "`hidden.masked_fill(mask == 0, float('-inf')).max(1).values`.",
        "`torch.cat([mean, maximum], 1)` has 2 * encoder.config.hidden_size numbers; DataLoader(..., "
        "batch_size=16, shuffle=True, collate_fn=...).",
    ),
    answer=answers.prepared,
    praise="Your rows, your batches and your head learn, and padding changes no answer.",
)
