"""The exercises of chapter 08: cut heads out, choose for a budget, find what is wrong with services."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from lessons.ch08 import answers, measured
from lessons.exercise import Exercise, check_diagnosis

WIDTH, HEADS, INNER = 4, 5, 12


def attend(x, query, key, value, output, width):
    """Self-attention of x (B, L, D) by heads of `width` numbers each."""
    q, k, v = (layer(x).unflatten(-1, (-1, width)).transpose(1, 2) for layer in (query, key, value))
    mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, L, width)
    return output(mixed.transpose(1, 2).flatten(2))


def _verify_keep_heads(attempt):
    torch.manual_seed(0)
    layers = [nn.Linear(INNER, HEADS * WIDTH) for _ in range(3)] + [nn.Linear(HEADS * WIDTH, INNER)]
    x = torch.randn(2, 3, INNER)
    before = copy.deepcopy(layers)
    for kept in ([0, 3, 4], [2]):
        found = attempt(*layers, kept, WIDTH)
        if not isinstance(found, tuple | list) or not all(isinstance(layer, nn.Linear) for layer in found):
            raise AssertionError("return four layers of nn.Linear: query, key, value, output")
        if any(not torch.equal(a.weight, b.weight) for a, b in zip(layers, before)):
            raise AssertionError("the layers that were given were changed; make new ones")
        rows = len(kept) * WIDTH
        shapes = [tuple(layer.weight.shape) for layer in found]
        expected = [(rows, INNER)] * 3 + [(INNER, rows)]
        if shapes != expected:
            raise AssertionError(
                f"with {len(kept)} of {HEADS} heads of {WIDTH} numbers expected weights of the shapes "
                f"{expected}, found {shapes}: zeros are not smaller, rows that are gone are"
            )
        _compare_outputs(x, before, found, kept)


def _compare_outputs(x, layers, found, kept):
    silent = copy.deepcopy(layers)
    with torch.no_grad():
        gone = [head for head in range(HEADS) if head not in kept]
        silent[3].weight.view(INNER, HEADS, WIDTH)[:, gone] = 0
        expected, result = attend(x, *silent, WIDTH), attend(x, *found, WIDTH)
    if torch.allclose(expected, result, atol=1e-5):
        return
    if torch.allclose(expected - result, (expected - result)[0, 0].expand_as(result), atol=1e-5):
        raise AssertionError("the output differs by the same vector everywhere: its bias belongs to no head")
    raise AssertionError(
        f"with the heads {kept} the output differs from that of the whole layer with the other heads "
        f"silenced: head h owns the rows h * width to (h + 1) * width, weights and biases"
    )


keep_heads = Exercise(
    verify=_verify_keep_heads,
    hints=(
        "Which numbers of the query's output belong to head 3? Make a list of all rows that stay.",
        "Query, key and value lose rows (and the biases of these rows), the output layer loses columns.",
        "`rows = torch.cat([torch.arange(h * width, (h + 1) * width) for h in kept])`; then `weight[rows]` "
        "three times and `weight[:, rows]` once.",
    ),
    answer=answers.keep_heads,
    praise="Fewer rows and the same answer as with silenced heads: this one is smaller on disk, too.",
)

# (what the budget is for, MB, ms per tweet of one thread)
BUDGETS = (
    ("a phone", 30.0, 60.0),
    ("a watch", 6.0, 60.0),
    ("a server that answers at once", 200.0, 3.0),
    ("a server without a hurry", 200.0, 60.0),
    ("a small and fast one", 20.0, 4.0),
)
HIDDEN_SEEDS, LARGEST_LOSS = 2, 0.03


def shown_and_hidden():
    """The points of all seeds but the last two, and of those two."""
    runs = measured.compression_runs()
    hidden = sorted(runs["seed"].unique())[-HIDDEN_SEEDS:]
    return tuple(
        measured.points(runs[part]) for part in (~runs["seed"].isin(hidden), runs["seed"].isin(hidden))
    )


def _verify_choose_model(attempt):
    shown, hidden = shown_and_hidden()
    sentences = []
    for what, megabytes, milliseconds in BUDGETS:
        name = attempt(shown.copy(), megabytes, milliseconds)
        budget = f"{what} ({megabytes:g} MB, {milliseconds:g} ms)"
        if name not in shown.index:
            raise AssertionError(f"for {budget} expected the name of a method, found {name!r}")
        row = shown.loc[name]
        if row["MB"] > megabytes or row["ms"] > milliseconds:
            raise AssertionError(
                f"for {budget} you chose {name!r}, which takes {row['MB']:.1f} MB and {row['ms']:.1f} ms"
            )
        fits = shown[(shown["MB"] <= megabytes) & (shown["ms"] <= milliseconds)].index
        score, best = hidden.loc[name, "macro_f1"], hidden.loc[fits, "macro_f1"].max()
        if score < best - LARGEST_LOSS:
            raise AssertionError(
                f"for {budget} you chose {name!r}: {score:.3f} with the hidden seeds, and {best:.3f} was "
                "to be had within the budget"
            )
        sentences.append(f"{what}: {name} ({score:.3f})")
    return f"With the hidden seeds: {'; '.join(sentences)}."


choose_model = Exercise(
    verify=_verify_choose_model,
    hints=(
        "Two limits: a model that breaks one of them is out, however good it is.",
        "`fits = points[(points['MB'] <= megabytes) & ...]`; which row of `fits` do you take?",
        "`fits['macro_f1'].idxmax()` is the name of the best one. Is a smaller one within its interval?",
    ),
    answer=answers.choose_model,
    praise="Every choice keeps its budget, and holds on trainings that you have not seen.",
)


def _verify_services(attempt):
    check_diagnosis(attempt(), answers.three_services(), "which column tells the others apart?")


three_services = Exercise(
    verify=_verify_services,
    hints=(
        "One of them is right as long as it reads one text at a time. What do texts share in a batch?",
        "One is as sure as the trained model, and nearly always wrong. Compare its shares of labels with "
        "those of the trained model.",
        "The last one is wrong for each text by itself: it reads something else than the trained model read.",
    ),
    answer=answers.three_services,
    praise="Three faults without an error message, told apart by four numbers that any service can log.",
)
