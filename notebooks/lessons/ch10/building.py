"""Exercises of chapter 10 that build: rows of a conversation, a collate function, a layer, a step."""

import functools
import json

import torch
from torch import nn
from torch.nn import functional as F

from helpers import assets
from lessons.ch10 import answers
from lessons.exercise import Exercise


@functools.cache
def _tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets.path("smollm2"))


CONVERSATIONS = (
    [
        {"role": "system", "content": "Rate."},
        {"role": "user", "content": "Lovely."},
        {"role": "assistant", "content": "positive"},
    ],
    [
        {"role": "system", "content": "Rate."},
        {"role": "user", "content": "It broke."},
        {"role": "assistant", "content": "negative"},
        {"role": "user", "content": "And this: It opens at nine."},
        {"role": "assistant", "content": "neutral, I think"},
    ],
)


def _verify_conversations(attempt):
    tokenizer = _tokenizer()
    dataset, expected = (
        attempt(list(CONVERSATIONS), tokenizer),
        answers.Conversations(CONVERSATIONS, tokenizer),
    )
    if len(dataset) != 2:
        raise AssertionError(f"expected len(dataset) == 2 for two conversations, found {len(dataset)}")
    for index, right in enumerate(expected[number] for number in range(2)):
        sample = dataset[index]
        if not isinstance(sample, dict) or set(sample) != {"input_ids", "labels"}:
            raise AssertionError("a sample should be a dictionary with exactly the keys input_ids and labels")
        ids, labels = (list(map(int, sample[name])) for name in ("input_ids", "labels"))
        if ids != right["input_ids"]:
            text = tokenizer.decode(ids)
            raise AssertionError(
                f"the tokens of conversation {index} differ from what the template writes; yours read "
                f"{text!r}"
            )
        if len(labels) != len(ids):
            raise AssertionError(f"expected one label per token, found {len(labels)} for {len(ids)} tokens")
        _compare_labels(tokenizer, ids, labels, right["labels"], index)


def _compare_labels(tokenizer, ids, labels, right, index):
    given, wanted = ({place for place, label in enumerate(row) if label != -100} for row in (labels, right))
    if any(labels[place] != ids[place] for place in given):
        raise AssertionError(
            f"in conversation {index} a label is not the token at its own place; the model shifts by itself"
        )
    for places, what in ((wanted - given, "has no label"), (given - wanted, "should have no label")):
        if places:
            token = tokenizer.decode([ids[min(places)]])
            raise AssertionError(
                f"in conversation {index} token {min(places)}, {token!r}, {what}: each answer with its end "
                "sign "
                "is learnt, and nothing else"
            )


conversations = Exercise(
    verify=_verify_conversations,
    hints=(
        "Walk through the messages. At each one of the assistant there are two texts: what stands before the "
        "answer, "
        "with the generation prompt, and what stands after it.",
        "`apply_chat_template(messages[:place], tokenize=False, add_generation_prompt=True)` is the first, "
        "`apply_chat_template(messages[:place + 1], tokenize=False)` the second; the answer is what the "
        "second has more.",
        "Keep what is done already: a second question begins after the first answer, not at the beginning.",
    ),
    answer=answers.Conversations,
    praise="Every answer of a conversation is learnt, and each with its end.",
)


def _verify_collate(attempt):
    samples = [
        {"input_ids": [5, 6, 7, 2], "labels": [-100, -100, 7, 2]},
        {"input_ids": [8, 2], "labels": [-100, 2]},
    ]
    kept = json.dumps(samples)
    batch = attempt(samples, 2)
    if not isinstance(batch, dict) or set(batch) != {"input_ids", "attention_mask", "labels"}:
        raise AssertionError("expected a dictionary with exactly input_ids, attention_mask and labels")
    for name, tensor in batch.items():
        if not torch.is_tensor(tensor) or tensor.shape != (2, 4) or tensor.dtype != torch.int64:
            raise AssertionError(f"{name} should be an int64 tensor of shape (2, 4), found {tensor!r}")
    if json.dumps(samples) != kept:
        raise AssertionError("the samples were changed; they belong to the dataset")
    expected = {
        "input_ids": [[5, 6, 7, 2], [8, 2, 2, 2]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "labels": [[-100, -100, 7, 2], [-100, 2, -100, -100]],
    }
    for name, rows in expected.items():
        found = batch[name].tolist()
        if found == rows:
            continue
        if name == "labels" and found[0][3] == -100:
            raise AssertionError(
                "the end sign (2) of the first row has lost its label: padding is known by its place"
            )
        raise AssertionError(f"expected {name} {rows}, found {found}; the padding stands on the right")


collate = Exercise(
    verify=_verify_collate,
    hints=(
        "Make three tensors full of what padding has: the padding's id, 0 and -100. Then write each row over "
        "them.",
        "`labels = torch.full((rows, length), -100)`; then `labels[row, :end] = "
        "torch.tensor(sample['labels'])`.",
    ),
    answer=answers.collate,
    praise="The end sign is learnt although it looks like padding: you went by place.",
)


def _verify_low_rank(attempt):
    torch.manual_seed(0)
    for inner, out, rank, alpha in ((12, 8, 2, 4.0), (6, 10, 3, 3.0)):
        _verify_layer(attempt, nn.Linear(inner, out), rank, alpha)


def _verify_layer(attempt, layer, rank, alpha):
    x, before = torch.randn(5, layer.in_features), layer.weight.detach().clone()
    with torch.no_grad():
        plain = layer(x)
    adapted = attempt(layer, rank, alpha)
    if not isinstance(adapted, nn.Module):
        raise AssertionError("expected a class that inherits from nn.Module")
    trained = [p for p in adapted.parameters() if p.requires_grad]
    if any(p is layer.weight or p is layer.bias for p in trained):
        raise AssertionError("the layer's own weights should be frozen: requires_grad_(False)")
    shapes = sorted(tuple(p.shape) for p in trained)
    if shapes != sorted([(rank, layer.in_features), (layer.out_features, rank)]):
        raise AssertionError(
            f"expected two trained matrices, (rank, in) and (out, rank), found the shapes {shapes}"
        )
    if not torch.allclose(adapted(x), plain, atol=1e-6):
        raise AssertionError("before training the layer should compute what it did before: B starts at zero")
    a = next(p for p in trained if p.shape == (rank, layer.in_features))
    b = next(p for p in trained if p.shape == (layer.out_features, rank))
    if not a.detach().abs().max() > 0:
        raise AssertionError("A is zero as well as B, so neither ever gets a gradient; start A at random")
    with torch.no_grad():
        b.normal_()
    found, correction = adapted(x).detach() - plain, x @ (b @ a).detach().T
    if torch.allclose(found, correction, atol=1e-4) and alpha != rank:
        raise AssertionError("the correction lacks its factor alpha / rank")
    if not torch.allclose(found, alpha / rank * correction, atol=1e-4):
        raise AssertionError("the correction should be alpha / rank times B A x")
    if not torch.equal(layer.weight, before):
        raise AssertionError("the layer's own matrix was changed")


low_rank = Exercise(
    verify=_verify_low_rank,
    hints=(
        "The output is that of the frozen layer plus a correction made by two thin matrices.",
        "x (N, in) times A.T (in, rank) is (N, rank); that times B.T (rank, out) is (N, out).",
        "`nn.Parameter(torch.zeros(out, rank))` for B and random numbers for A; the factor is alpha / rank.",
    ),
    answer=answers.LowRank,
    praise="Two thin matrices, and training starts exactly from the pretrained model.",
)


def _verify_accumulate(attempt):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, length, 4, generator=generator) for length in (3, 9)]
    labels = [torch.tensor([[-100, 1, 0], [-100, -100, 2]]), torch.randint(0, 3, (2, 9), generator=generator)]
    batches = [{"inputs": x, "labels": y} for x, y in zip(inputs, labels)]
    model = nn.Linear(4, 3)

    def sum_of_losses(batch):
        logits = model(batch["inputs"])[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")

    moved = {}
    for name, step in (("right", answers.accumulate), ("attempt", attempt)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
                parameter.grad = torch.ones_like(parameter)  # left over from a step before
        before = model.weight.detach().clone()
        count = step(sum_of_losses, batches, torch.optim.SGD(model.parameters(), lr=0.1))
        moved[name] = model.weight.detach() - before
    if not moved["attempt"].abs().max() > 0:
        raise AssertionError(
            "the weights did not move; backward() for every batch, then one optimizer.step()"
        )
    if torch.allclose(moved["attempt"] + 0.1, moved["right"], atol=1e-5):
        raise AssertionError(
            "gradients of the step before were still there; optimizer.zero_grad() comes first"
        )
    ratio = (moved["attempt"] / moved["right"]).mean()
    if torch.allclose(moved["attempt"], ratio * moved["right"], atol=1e-5) and abs(ratio - 1) > 1e-3:
        raise AssertionError(
            f"the direction is right, the step is {ratio:.2f} times as long as it should be: divide by the "
            "tokens that "
            "have a label after the shift, of all batches together"
        )
    if not torch.allclose(moved["attempt"], moved["right"], atol=1e-5):
        raise AssertionError(
            "the step differs from that of one large batch: each batch was divided by a count of its own, or "
            "the weights moved between the batches"
        )
    if count != 19:
        raise AssertionError(
            f"return the number of tokens that were learnt from, expected 19, found {count!r}"
        )


accumulate = Exercise(
    verify=_verify_accumulate,
    hints=(
        "Count first: how many labels of all batches together are not -100? Those in the first column "
        "predict "
        ""
        ""
        ""
        ""
        ""
        "nothing.",
        "`(sum_of_losses(batch) / tokens).backward()` adds to the gradients of the batches before.",
        "zero_grad once before the loop, step once after it.",
    ),
    answer=answers.accumulate,
    praise="Any cut into batches now gives the gradient of one large batch.",
)
