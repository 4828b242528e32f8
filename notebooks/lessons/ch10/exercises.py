"""The exercises of chapter 10: build the rows, a layer and a step; diagnose runs; choose, and be scored on hidden rows."""

import functools
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from helpers import assets
from helpers.training import metrics
from lessons.ch10 import answers
from lessons.exercise import Exercise

HIDDEN = Path(__file__).with_name("hidden_rows.json")
CLASSES = ("negative", "neutral", "positive")


@functools.cache
def hidden_rows() -> dict[str, np.ndarray]:
    """Validation comments that the chapter does not show: `labels` (N,), `lengths` (N,) in tokens with the answer, and
    `zero_shot` and `tuned`, logits (N, 3) of the label words.
    """
    return {name: np.array(values) for name, values in json.loads(HIDDEN.read_text(encoding="utf-8")).items()}


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
                f"the tokens of conversation {index} differ from what the template writes; yours read {text!r}"
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
                f"in conversation {index} token {min(places)}, {token!r}, {what}: each answer with its end sign "
                "is learnt, and nothing else"
            )


conversations = Exercise(
    verify=_verify_conversations,
    hints=(
        "Walk through the messages. At each one of the assistant there are two texts: what stands before the answer, "
        "with the generation prompt, and what stands after it.",
        "`apply_chat_template(messages[:place], tokenize=False, add_generation_prompt=True)` is the first, "
        "`apply_chat_template(messages[:place + 1], tokenize=False)` the second; the answer is what the second has more.",
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
        "Make three tensors full of what padding has: the padding's id, 0 and -100. Then write each row over them.",
        "`labels = torch.full((rows, length), -100)`; then `labels[row, :end] = torch.tensor(sample['labels'])`.",
    ),
    answer=answers.collate,
    praise="The end sign is learnt although it looks like padding: you went by place.",
)


def _verify_low_rank(attempt):
    with torch.random.fork_rng(devices=[]):
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
            f"the direction is right, the step is {ratio:.2f} times as long as it should be: divide by the tokens that "
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
        "Count first: how many labels of all batches together are not -100? Those in the first column predict nothing.",
        "`(sum_of_losses(batch) / tokens).backward()` adds to the gradients of the batches before.",
        "zero_grad once before the loop, step once after it.",
    ),
    answer=answers.accumulate,
    praise="Any cut into batches now gives the gradient of one large batch.",
)


def _same(found, expected: dict, what: str) -> None:
    if not isinstance(found, dict) or set(found) != set(expected):
        raise AssertionError(f"expected a dictionary with the keys {sorted(expected)}, found {found!r}")
    if any(value not in expected.values() for value in found.values()):
        raise AssertionError(
            f"the {what} are {sorted(expected.values())}, found {sorted(map(str, found.values()))}"
        )
    right = sum(found[key] == expected[key] for key in expected)
    if right < len(expected):
        raise AssertionError(
            f"{right} of {len(expected)} are right; read each again and ask what it never learnt"
        )


def _verify_adapters(attempt):
    _same(attempt(), answers.three_adapters(), "faults")


three_adapters = Exercise(
    verify=_verify_adapters,
    hints=(
        "Which of the three was never told where an answer ends? It cannot stop.",
        "A label that is shifted once too often makes the first position learn what comes second: look for an answer "
        "that lacks its first token.",
        "What would a model write that was also trained to write questions?",
    ),
    answer=answers.three_adapters,
    praise="The text alone gave the fault away: read what a model writes before you read its loss.",
)


def _verify_prompts(attempt):
    _same(attempt(), answers.four_prompts(), "names")


four_prompts = Exercise(
    verify=_verify_prompts,
    hints=(
        "Compare each with the picture of section 10.2, sign by sign, from the end.",
        "The model must find the place where an assistant begins to speak.",
    ),
    answer=answers.four_prompts,
    praise="One line of a template is a change of the model's input like any other.",
)


def _verify_runs(attempt):
    _same(attempt(), answers.three_runs(), "faults")


three_runs = Exercise(
    verify=_verify_runs,
    hints=(
        "A mean over nothing is not a number.",
        "Which loss is low at once, on rows of which most tokens are easy to guess?",
        "The third begins well and then explodes: what moves every weight too far?",
    ),
    answer=answers.three_runs,
    praise="Three log files, three causes: the number of labelled tokens and the rate belong into every log.",
)

WORSE, LEAST_GAIN = 0.0, 0.02


def _verify_offsets(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != set(CLASSES):
        raise AssertionError(f"expected a dictionary with the keys {CLASSES}, found {found!r}")
    rows = hidden_rows()
    added = np.array([float(found[name]) for name in CLASSES])
    before = metrics.macro_f1(rows["labels"], rows["zero_shot"].argmax(1), 3)
    after = metrics.macro_f1(rows["labels"], (rows["zero_shot"] + added).argmax(1), 3)
    gain = f"on {len(rows['labels'])} hidden comments macro-F1 goes from {before:.3f} to {after:.3f}"
    if after <= before + WORSE:
        raise AssertionError(f"{gain}; choose the offsets on `zero_shot` and `y_check`, not by feeling")
    if after < before + LEAST_GAIN:
        raise AssertionError(f"{gain}; at least {LEAST_GAIN:.2f} more can be had with one offset alone")
    print(f"{gain}.")


offsets = Exercise(
    verify=_verify_offsets,
    hints=(
        "Which word does the untuned model hardly ever choose? Give that one more.",
        "Only differences matter: leave two offsets at zero, and try the third on a grid with `macro_f1(zero_shot + ...)`.",
    ),
    answer=answers.offsets,
    praise="Three numbers, no training: always the next baseline of a prompted model.",
)


def _verify_hand_over(attempt):
    limit = attempt()
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise AssertionError(f"expected one number between 0 and 1, found {limit!r}")
    rows = hidden_rows()
    p = np.exp(rows["tuned"] - np.logaddexp.reduce(rows["tuned"], axis=1, keepdims=True))
    kept = p.max(1) >= limit
    if not kept.any():
        raise AssertionError(f"above {limit:.2f} not one hidden comment is answered")
    right = (p.argmax(1) == rows["labels"])[kept].mean()
    found = f"above {limit:.2f}, {kept.mean():.0%} of {len(kept)} hidden comments are answered, {right:.0%} of them right"
    if right < WANTED_RIGHT:
        raise AssertionError(f"{found}; {WANTED_RIGHT:.0%} were promised")
    if kept.mean() < FEWEST_ANSWERED:
        raise AssertionError(f"{found}; at least {FEWEST_ANSWERED:.0%} should not go to a person")
    print(f"{found}.")


WANTED_RIGHT, FEWEST_ANSWERED = 0.75, 0.35
hand_over = Exercise(
    verify=_verify_hand_over,
    hints=(
        "Sort the checked comments by the probability of their word. From where on is the promise kept?",
        "Keep a margin: a limit that just fits the shown rows fails on half of all hidden ones.",
    ),
    answer=answers.hand_over,
    praise="A promise with its price, kept on rows that you have not seen.",
)

MOST_BYTES, SMALLEST_SHARE, SMALLEST_BATCH = 1.5e9, 0.99, 4
BYTES_PER_TOKEN = 1.4e6  # kept for the backward pass with the base frozen, in float32 (section 10.6)


def _verify_limits(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"max_tokens", "batch_size"}:
        raise AssertionError(
            f"expected a dictionary with the keys max_tokens and batch_size, found {found!r}"
        )
    lengths = hidden_rows()["lengths"]
    fits = (lengths <= found["max_tokens"]).mean()
    bytes_kept = BYTES_PER_TOKEN * found["max_tokens"] * found["batch_size"]
    if fits < SMALLEST_SHARE:
        raise AssertionError(
            f"only {fits:.1%} of the hidden comments fit {found['max_tokens']} tokens; a refused comment is lost"
        )
    if bytes_kept > MOST_BYTES:
        raise AssertionError(
            f"a batch of the longest rows keeps {bytes_kept / 1e9:.1f} GB for its backward pass, {MOST_BYTES / 1e9:.1f} are there"
        )
    if found["batch_size"] < SMALLEST_BATCH:
        raise AssertionError(f"steps of {found['batch_size']} rows are noisy; at least {SMALLEST_BATCH} fit")
    print(f"{fits:.1%} of the hidden comments fit, and the worst batch keeps {bytes_kept / 1e9:.2f} GB.")


limits = Exercise(
    verify=_verify_limits,
    hints=(
        "The worst batch decides, not the mean: all its rows may be as long as you allow.",
        "Look at the 99th percentile of `dataset` lengths first, then at what one token keeps (section 10.6).",
    ),
    answer=answers.limits,
    praise="The longest row and the memory were chosen together, and hidden rows agree.",
)
