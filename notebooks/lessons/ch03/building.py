"""Exercise of chapter 03 that builds: an epoch with accumulation that equals the one with large batches."""

import copy

import torch
from torch import nn

from helpers.data import sources
from lessons.ch03 import answers
from lessons.ch03.silhouettes import Silhouettes
from lessons.exercise import Exercise


def _network() -> nn.Module:
    """Without BatchNorm and dropout: what a row contributes does not depend on its neighbours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, len(sources.ANIMALS))
        )


def _batches(rows: Silhouettes, order, sizes) -> list[dict]:
    labels = torch.tensor(rows.labels)
    return [{"images": rows.images[part], "labels": labels[part]} for part in order.split(sizes)]


class _Counted(torch.optim.SGD):
    """Counts its steps."""

    steps = 0

    def step(self):
        self.steps += 1
        return super().step()


def _verify(attempt):
    rows = Silhouettes(sources.animals().iloc[::60])  # 167 rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    small, groups = [20, 20, 9, 20, 20, 20, 20, 20, 18], [49, 60, 58]  # nine batches, three in a group
    cases = ((small[:8], [*groups[:2], 40], 3), (small, groups, 3), (small, small, 1))
    for sizes, merged, group in cases:
        _compare(attempt, rows, order[: sum(sizes)], sizes, merged, group)
    return _run(attempt, rows, order, small)


def _compare(attempt, rows, order, sizes, merged, group):
    large, by_hand = _network(), _network()
    right = answers.train_epoch(large, _batches(rows, order, merged), _optimizer(large), 1)
    optimizer = _optimizer(by_hand)
    for parameter in by_hand.parameters():
        parameter.grad = torch.ones_like(parameter)  # left over from whatever was done before
    start = copy.deepcopy(by_hand.state_dict())
    found = attempt(by_hand, iter(_batches(rows, order, sizes)), optimizer, group)
    if all(torch.equal(start[name], tensor) for name, tensor in by_hand.state_dict().items()):
        raise AssertionError("the weights have not moved: backward() for every batch, step() for every group")
    if optimizer.steps != len(merged):
        raise AssertionError(
            f"{len(sizes)} batches in groups of {group} are {len(merged)} steps, found {optimizer.steps}; "
            "the last group may be shorter"
        )
    gap = max((one - other).abs().max() for one, other in zip(large.parameters(), by_hand.parameters()))
    if gap > 1e-5:
        raise AssertionError(
            f"with batches of {sizes[:3]}... rows and {group} in a group the weights end {gap:.1e} away from "
            "those of the large batches; does every row of a group weigh the same, and is its gradient "
            "cleared before the first batch and only there?"
        )
    if not isinstance(found, float) or abs(found - right) > 1e-4:
        raise AssertionError(
            f"return the mean loss over all rows of the epoch, expected {right:.4f}, found {found!r}"
        )


def _run(attempt, rows, order, sizes) -> str:
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = [attempt(model, iter(_batches(rows, order, sizes)), optimizer, 3) for _ in range(20)]
    if not losses[-1] < 0.5 * losses[0]:
        raise AssertionError(f"20 epochs move the loss only from {losses[0]:.2f} to {losses[-1]:.2f}")
    return f"Twenty epochs of it bring the loss from {losses[0]:.2f} to {losses[-1]:.2f}."


def _optimizer(model: nn.Module) -> _Counted:
    return _Counted(model.parameters(), lr=0.1)


accumulation = Exercise(
    verify=_verify,
    hints=(
        "`itertools.islice(batches, accumulate)` takes the next few batches of an iterator; a list of them "
        "is empty when there are no more.",
        "Count the rows of the whole group before the first `backward()`.",
        '`F.cross_entropy(..., reduction="sum")`, divided by the rows of the group; `zero_grad()` before the '
        "group, `step()` after it.",
    ),
    answer=answers.train_epoch,
    praise="However the rows are cut into batches, your loop makes the same steps.",
)
