"""What chapter 12 writes by hand in its cells does what its prose says, on other data than the chapter's."""

import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from helpers.files import ROOT
from lessons.notebook_workers import in_workers

NOTEBOOK = ROOT / "notebooks" / "12_beyond_one_machine.ipynb"
CELLS = ("stream", "split-stream", "buffer", "stateful", "ac")


@pytest.fixture(scope="module")
def cells():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    sources = {cell["id"].removeprefix("12-"): "".join(cell["source"]) for cell in book["cells"]}
    names = {"itertools": itertools, "json": json, "IterableDataset": IterableDataset, "nn": torch.nn}
    names |= {"get_worker_info": get_worker_info, "checkpoint": torch.utils.checkpoint.checkpoint}
    names["in_workers"] = in_workers
    for name in CELLS:
        exec(sources[name], names)
    return names


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("shards"), itertools.count()
    made = [folder / f"{number}.jsonl" for number in range(5)]
    for file, size in zip(made, (4, 0, 9, 1, 6)):
        rows = [json.dumps({"id": next(numbers)}) for _ in range(size)]
        file.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return made


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_no_row_comes_earlier_than_the_buffer_allows(cells, size):
    order = list(cells["shuffled"](range(300), size, np.random.default_rng(0)))
    assert sorted(order) == list(range(300))
    assert all(row - place <= size for place, row in enumerate(order))
    assert (order == list(range(300))) == (size == 1)


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_the_split_gives_each_row_once(cells, files, processes):
    shares = [list(cells["SplitLines"](files, process, processes)) for process in range(processes)]
    assert sorted(row["id"] for share in shares for row in share) == list(range(20))


@pytest.mark.parametrize("done", [0, 1, 4, 19, 20])
def test_the_stateful_stream_goes_on_behind_what_it_gave(cells, files, done):
    first = cells["StatefulLines"](files)
    given = list(itertools.islice(first, done))
    second = cells["StatefulLines"](files)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert [row["id"] for row in given + rest] == list(range(20))
    assert len(list(second)) == 20  # the next epoch is whole


def test_workers_repeat_the_naive_stream(cells, files):
    loader = DataLoader(cells["Lines"](files), num_workers=2, collate_fn=list, multiprocessing_context="fork")
    assert sorted(row["id"] for batch in loader for row in batch) == sorted([*range(20), *range(20)])


def test_a_layer_computed_again_has_the_same_gradient(cells):
    torch.manual_seed(0)
    layer, gradients = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)), []
    for model in (layer, cells["Again"](layer)):
        layer.zero_grad()
        model(torch.ones(3, 4)).sum().backward()
        gradients.append(layer[0].weight.grad.clone())
    assert torch.equal(*gradients)


def test_a_class_of_a_cell_reaches_the_workers_where_they_are_spawned(cells, files):
    options = {"batch_size": 4, "num_workers": 2, "collate_fn": list, "multiprocessing_context": "spawn"}
    batches = list(DataLoader(cells["SplitLines"](files), **options))
    assert sorted(row["id"] for batch in batches for row in batch) == list(range(20))

    class Undecorated(cells["Lines"]):
        pass

    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(DataLoader(Undecorated(files), **options))
