"""Exercises of chapter 12 that build: a stream that is split and resumed, and the loss of all processes."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from lessons.ch12 import answers
from lessons.exercise import Exercise
from lessons.notebook_workers import CONTEXT, in_workers

SIZES = (7, 0, 23, 1, 12)  # rows of the hidden shards
TRIED = ((0, 1, 0), (0, 1, 17), (3, 1, 0), (2, 2, 0), (3, 2, 11), (0, 3, 30), (2, 1, 43))


def _verify_shares(attempt):
    if not (isinstance(attempt, type) and issubclass(attempt, IterableDataset)):
        raise AssertionError("expected a class that inherits from IterableDataset")
    in_workers(attempt)
    with tempfile.TemporaryDirectory() as folder:
        files, first = [], 0
        for number, size in enumerate(SIZES):
            files.append(Path(folder, f"part-{number}.jsonl"))
            lines = [json.dumps({"id": first + row}) for row in range(size)]
            files[-1].write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            first += size
        for num_workers, processes, start in TRIED:
            _try_readers(attempt, files, num_workers, processes, start)


def _try_readers(attempt, files, num_workers, processes, start):
    options = {"num_workers": num_workers, "multiprocessing_context": CONTEXT} if num_workers else {}
    shares = []
    for process in range(processes):
        dataset = attempt(files, process=process, processes=processes, start=start)
        for _epoch in range(2):  # the second must give the same as the first
            loader = DataLoader(dataset, batch_size=4, collate_fn=list, **options)
            shares.append([row["id"] for batch in loader for row in batch])
        if sorted(shares[-1]) != sorted(shares[-2]):
            raise AssertionError(
                "a second pass over the dataset gives other rows than the first; keep no counts in it"
            )
        del shares[-1]
    seen = Counter(row for share in shares for row in share)
    where = f"{processes} processes x {num_workers} workers, start {start}"
    expected = range(start, sum(SIZES))
    for problem, rows in {
        "came more than once": [row for row in seen if seen[row] > 1],
        "came although it was done before the start": [row for row in seen if row < start],
        "never came": [row for row in expected if row not in seen],
    }.items():
        if rows:
            raise AssertionError(f"{where}: row {min(rows)} {problem} ({len(rows)} such rows)")


shares = Exercise(
    verify=_verify_shares,
    hints=(
        "Walk through all rows of all files, count them, and decide for each whether it is yours.",
        "`number, readers = reader(self.process, self.processes)`, called in `__iter__`, where a worker "
        "knows that it is one; then row n is yours if n % readers == number.",
        "Count over the borders of files, and give out a row only if its number is at least `start`.",
    ),
    answer=answers.Shares,
    praise="Each row once, for every number of readers and from every start.",
)

COUNTS = ((3, 5), (1, 9, 2), (4, 4), (0, 6), (7,))  # tokens of each process


def _verify_to_backward(attempt):
    for counts in COUNTS:
        _try_counts(attempt, counts)


def _try_counts(attempt, counts):
    generator = torch.Generator().manual_seed(sum(counts))
    inputs = [torch.randn(count, 4, generator=generator) for count in counts]
    targets = [torch.randint(3, (count,), generator=generator) for count in counts]
    model, gradients = nn.Linear(4, 3, bias=False), []
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 12).reshape(3, 4))

    def gradient_of(loss):
        (gradient,) = torch.autograd.grad(loss, model.weight)
        return gradient

    sums = lambda x, y: F.cross_entropy(model(x), y, reduction="sum")
    truth = gradient_of(sums(torch.cat(inputs), torch.cat(targets)) / sum(counts))
    added = []  # what `add_up` was asked for

    def add_up(tensor):
        added.append(tensor)
        return torch.tensor(float(sum(counts)))

    for x, y in zip(inputs, targets):
        loss = attempt(sums(x, y), torch.tensor(len(y)), add_up, len(counts))
        if not torch.is_tensor(loss) or loss.shape != () or loss.grad_fn is None:
            raise AssertionError(f"expected a loss () that has a gradient, found {loss!r}")
        if not torch.isfinite(loss):
            raise AssertionError(f"with {counts} tokens the loss of a process is {loss.item()}")
        gradients.append(gradient_of(loss))
    if len(added) != len(counts):
        raise AssertionError(
            f"add_up was called {len(added)} times by {len(counts)} processes; each calls it once, for its "
            "tokens"
        )
    found = torch.stack(gradients).mean(0)  # what DDP makes of them
    if torch.allclose(found, truth, atol=1e-5):
        return
    ratio = float((found * truth).sum() / (truth * truth).sum())
    if torch.allclose(found, ratio * truth, atol=1e-5):
        raise AssertionError(
            f"with {counts} tokens the gradient points right, but is {ratio:.2f} times as long: DDP "
            "takes the mean over the processes, and a sum is wanted"
        )
    raise AssertionError(
        f"with {counts} tokens the averaged gradient is not that of one process with all of them: it is "
        "still a mean of means"
    )


to_backward = Exercise(
    verify=_verify_to_backward,
    hints=(
        "One process would divide the sum of all losses by the number of all tokens.",
        "DDP divides the sum of the gradients by the number of processes; undo that.",
        "`loss_sum * processes / add_up(tokens)`.",
    ),
    answer=answers.to_backward,
    praise="Sums are added, counts are added, and the division comes once.",
)
