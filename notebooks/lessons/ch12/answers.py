"""One right answer to each exercise of chapter 12, written as a learner would write it."""

import json

from torch.utils.data import IterableDataset, get_worker_info


class Shares(IterableDataset):
    def __init__(self, files, process=0, processes=1, start=0):
        self.files, self.process, self.processes, self.start = list(files), process, processes, start

    def __iter__(self):
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        mine, readers = self.process * workers + worker, self.processes * workers
        number = 0
        for file in self.files:
            with open(file, encoding="utf-8") as lines:
                for line in lines:
                    if number >= self.start and number % readers == mine:
                        yield json.loads(line)
                    number += 1


def to_backward(loss_sum, tokens, add_up, processes):
    return loss_sum * processes / add_up(tokens)


def three_logs():
    # a: process 0 evaluates behind `if rank == 0`; b: signal 9; c: one process has a batch more.
    return {"a": "rank 0 alone", "b": "killed", "c": "uneven ends"}


def cluster_plan():
    # One row on each card: no layer need be computed twice, which would cost a third more.
    return {"cards": 16, "rows": 16, "shard": True, "activation_checkpointing": False}
