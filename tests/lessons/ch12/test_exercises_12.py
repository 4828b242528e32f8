"""Chapter 12's exercises refuse the typical wrong attempts with a sentence that helps."""

import json

import pytest
from torch.utils.data import IterableDataset, get_worker_info

from lessons.ch12 import answers, choosing
from lessons.ch12 import exercises as ch12


class Repeated(answers.Shares):
    """Knows nothing of workers."""

    def __iter__(self):
        number = 0
        for file in self.files:
            for line in file.read_text(encoding="utf-8").splitlines():
                if number >= self.start and number % self.processes == self.process:
                    yield json.loads(line)
                number += 1


class WorkersAlone(answers.Shares):
    """Knows nothing of processes."""

    def __init__(self, files, process=0, processes=1, start=0):
        super().__init__(files, start=start)


class WithoutStart(answers.Shares):
    def __init__(self, files, process=0, processes=1, start=0):
        super().__init__(files, process, processes)


class CountedInEachFile(IterableDataset):
    """Begins to count anew in each file, so that `start` skips the head of each."""

    def __init__(self, files, process=0, processes=1, start=0):
        self.files, self.process, self.processes, self.start = files, process, processes, start

    def __iter__(self):
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        for file in self.files:
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()):
                if number >= self.start and number % (self.processes * workers) == (
                    self.process * workers + worker
                ):
                    yield json.loads(line)


class SpentAfterOnePass(answers.Shares):
    """Opens its rows when it is made, as a generator would."""

    def __init__(self, files, process=0, processes=1, start=0):
        super().__init__(files, process, processes, start)
        self.rows = super().__iter__()

    def __iter__(self):
        return self.rows


def mean_of_means(loss_sum, tokens, add_up, processes):
    add_up(tokens)
    return loss_sum / tokens.clamp(min=1)


def not_multiplied(loss_sum, tokens, add_up, processes):
    return loss_sum / add_up(tokens)


def divided_by_none(loss_sum, tokens, add_up, processes):
    add_up(tokens)
    return loss_sum / tokens


def asked_by_some(loss_sum, tokens, add_up, processes):
    return loss_sum * processes / (add_up(tokens) if tokens > 0 else 1)


def without_gradient(loss_sum, tokens, add_up, processes):
    return (loss_sum * processes / add_up(tokens)).detach()


def swapped_logs():
    return answers.three_logs() | {"a": "uneven ends", "c": "rank 0 alone"}


def sampler_log():
    return answers.three_logs() | {"b": "no set_epoch"}


def bad_luck():
    return answers.three_logs() | {"b": "bad luck"}


def just_fits():
    return answers.cluster_plan() | {"cards": 12, "rows": 32}  # rows of 2,048 tokens fit, longer ones do not


def not_shared():
    return answers.cluster_plan() | {"shard": False}


def again():
    return answers.cluster_plan() | {"activation_checkpointing": True}


def too_few_cards():
    return {"cards": 4, "rows": 16, "shard": True, "activation_checkpointing": True}


def too_few_rows():
    return answers.cluster_plan() | {"cards": 8, "rows": 8}


def too_many_cards():
    return answers.cluster_plan() | {"cards": 64, "rows": 64}


WRONG = [
    (ch12.shares, Repeated, "came more than once"),
    (ch12.shares, WorkersAlone, "came more than once"),
    (ch12.shares, WithoutStart, "done before the start"),
    (ch12.shares, CountedInEachFile, "never came"),
    (ch12.shares, SpentAfterOnePass, "second pass"),
    (ch12.shares, list, "inherits from IterableDataset"),
    (ch12.to_backward, mean_of_means, "still a mean of means"),
    (ch12.to_backward, not_multiplied, "0.50 times as long"),
    (ch12.to_backward, divided_by_none, "mean of means"),
    (ch12.to_backward, asked_by_some, "each calls it once"),
    (ch12.to_backward, without_gradient, "has a gradient"),
    (ch12.three_logs, swapped_logs, "1 of 3 are right"),
    (ch12.three_logs, sampler_log, "2 of 3 are right"),
    (ch12.three_logs, bad_luck, "the faults are"),
    (ch12.cluster_plan, just_fits, "leave a margin in memory"),
    (ch12.cluster_plan, not_shared, "of the room"),
    (ch12.cluster_plan, again, "the budget is"),
    (ch12.cluster_plan, too_few_cards, "the deadline is"),
    (ch12.cluster_plan, too_few_rows, "too small"),
    (ch12.cluster_plan, too_many_cards, "there are 1 to 16 cards"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.parametrize(("cards", "rows"), [(15, 16), (16, 16), (16, 24), (16, 32)])
def test_a_band_of_plans_passes(cards, rows, capsys):
    plan = {"cards": cards, "rows": rows, "shard": True, "activation_checkpointing": False}
    ch12.cluster_plan.check(lambda: plan)
    assert capsys.readouterr().out.startswith("Right. ")


def test_the_hidden_cases_lie_around_what_the_notebook_says():
    efficiencies, lengths = zip(*choosing.HIDDEN)
    assert min(efficiencies) < 0.35 < max(efficiencies)
    assert min(lengths) == 2048 < max(lengths)
