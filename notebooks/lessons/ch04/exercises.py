"""The exercises of chapter 04: a schedule, freezing that includes BatchNorm, merging LoRA's matrices."""

import math

import torch
from torch import nn

from helpers.tuning.optimization import make_schedule
from lessons.ch04 import answers
from lessons.exercise import Exercise


def _verify_factor(attempt):
    for num_steps, warmup in ((100, 10), (60, 0)):
        scheduler = make_schedule(
            "cosine",
            torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0),
            num_steps,
            warmup_share=warmup / num_steps,
        )
        for step, what in (
            (0, "the first step"),
            (warmup // 2, "half of the warm-up"),
            (warmup, "the end of the warm-up"),
            ((num_steps + warmup) // 2, "half of what follows the warm-up"),
            (num_steps, "the end"),
            (num_steps - 5, "shortly before the end"),
        ):
            expected, found = scheduler.lr_lambdas[0](step), attempt(step, num_steps, warmup)
            if not isinstance(found, int | float):
                raise AssertionError(
                    f"factor({step}, {num_steps}, {warmup}) should be a number, found {found!r}"
                )
            if not math.isclose(expected, found, abs_tol=1e-6):
                raise AssertionError(
                    f"factor({step}, {num_steps}, {warmup}) is {what}: expected {expected:.4f}, found "
                    f"{found:.4f}"
                )


factor = Exercise(
    verify=_verify_factor,
    hints=(
        "Two cases: while `step < warmup` the answer is a straight line; otherwise it depends on how much of "
        "the rest is done.",
        "Share of the rest: `(step - warmup) / (num_steps - warmup)`, from 0 to 1. It does not start at "
        "`step / num_steps`.",
        "`math.cos` takes radians: at share 0 its argument is 0, at share 1 it is `math.pi`. Move the result "
        "from -1..1 to 0..1.",
    ),
    answer=answers.factor,
    praise="Your function agrees with the scheduler that trains the models of this course.",
)


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def _verify_freeze(attempt):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _verify_frozen(attempt, _network())


def _verify_frozen(attempt, model):
    attempt(model.eval(), model[-1])
    if not all(parameter.requires_grad for parameter in model[-1].parameters()):
        raise AssertionError("the head's weights should move, but requires_grad is False for some of them")
    moving = [name for name, parameter in model[:-1].named_parameters() if parameter.requires_grad]
    if moving:
        raise AssertionError(
            f"{len(moving)} parameters below the head still have requires_grad=True, for example {moving[0]}"
        )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.01
    )
    for _ in range(3):
        images, labels = torch.rand(8, 1, 12, 12), torch.arange(8)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    drifted = sorted(name for name in changed if not name.startswith("6."))
    if drifted:
        raise AssertionError(
            f"after three training steps {', '.join(drifted)} changed: a layer still collects statistics"
        )
    if not changed:
        raise AssertionError("after three training steps the head has not changed")
    if not model[3].training:
        raise AssertionError("dropout is switched off: only BatchNorm should be in evaluation mode")


freeze = Exercise(
    verify=_verify_freeze,
    hints=(
        "Two things change a layer: the optimizer (for weights), and the forward pass in training mode (for "
        "BatchNorm's running statistics).",
        "`model.requires_grad_(False)` freezes all weights; then open the head again. `model.train()` first, "
        "then `eval()` for some modules.",
        "Loop over `model.modules()` and call `eval()` on those that are `nn.BatchNorm2d`.",
    ),
    answer=answers.freeze,
    praise="Weights and statistics stay, the head learns, and dropout still works.",
)


def _verify_merge(attempt):
    generator = torch.Generator().manual_seed(0)
    for out, inner, rank, alpha in ((5, 7, 2, 2.0), (6, 6, 3, 12.0)):
        weight, a, b = (
            torch.randn(*shape, generator=generator) for shape in ((out, inner), (rank, inner), (out, rank))
        )
        x = torch.randn(4, inner, generator=generator)
        expected = x @ weight.T + alpha / rank * (x @ a.T) @ b.T  # (4, out)
        copies = [tensor.clone() for tensor in (weight, a, b)]
        merged = attempt(weight, a, b, alpha)
        if not isinstance(merged, torch.Tensor) or merged.shape != (out, inner):
            raise AssertionError(
                f"expected a tensor of shape ({out}, {inner}), found {getattr(merged, 'shape', merged)!r}"
            )
        if not all(torch.equal(tensor, kept) for tensor, kept in zip((weight, a, b), copies)):
            raise AssertionError("an argument was changed in place; make a new matrix")
        if not torch.allclose(x @ merged.T, expected, atol=1e-4):
            raise AssertionError(
                f"with rank {rank} and alpha {alpha:g} the merged matrix gives other outputs than the two "
                "paths together; check the factor before the correction"
            )


merge = Exercise(
    verify=_verify_merge,
    hints=(
        "Write the outputs of both paths for one input, and take the input out of the sum.",
        "The correction is a product of the two thin matrices with shape (out, in), times alpha / rank. The "
        "rank is `a.shape[0]`.",
    ),
    answer=answers.merge,
    praise="One matrix, the same answers: LoRA costs nothing any more once it is merged.",
)
