"""Chapter 02's batch explorer: the computation on the real comments, and the widget's reaction."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from helpers import assets
from helpers.data import sources
from helpers.data.datasets import TextDataset
from lessons.ch02 import batch_explorer


@pytest.fixture(scope="module")
def lengths():
    from transformers import AutoTokenizer

    return TextDataset(
        sources.comments().head(1000), AutoTokenizer.from_pretrained(assets.path("minilm"))
    ).lengths


@pytest.mark.parametrize("order", batch_explorer.ORDERS)
def test_every_row_is_in_exactly_one_batch(lengths, order):
    rows = np.concatenate(batch_explorer.epoch_batches(lengths, 32, order))
    assert sorted(rows) == list(range(len(lengths)))


def test_batches_in_order_are_those_of_a_data_loader(lengths):
    loader = [batch.tolist() for batch in DataLoader(range(len(lengths)), batch_size=32)]
    assert [
        rows.tolist() for rows in batch_explorer.epoch_batches(lengths, 32, batch_explorer.IN_ORDER)
    ] == loader


def test_drop_last_leaves_out_the_ragged_batch_only(lengths):
    assert len(lengths) % 32
    kept = batch_explorer.epoch_batches(lengths, 32, batch_explorer.SHUFFLED, drop_last=True)
    assert {len(rows) for rows in kept} == {32}
    assert len(kept) == len(batch_explorer.epoch_batches(lengths, 32, batch_explorer.SHUFFLED)) - 1
    few = batch_explorer.epoch_batches(lengths[:10], 32, batch_explorer.IN_ORDER, drop_last=True)
    assert len(few) == 1  # never an epoch without a batch


def test_share_counts_the_padding_of_the_whole_epoch(lengths):
    report = batch_explorer.explore(lengths, batch_size=32, order=batch_explorer.IN_ORDER)
    positions = sum(
        len(lengths[start : start + 32]) * lengths[start : start + 32].max()
        for start in range(0, len(lengths), 32)
    )
    assert report.share == pytest.approx(1 - lengths.sum() / positions)
    assert (report.mask.sum(1) == lengths[:32]).all()
    assert report.mask.shape == (32, lengths[:32].max())


def test_bucketing_saves_most_of_the_padding_and_a_batch_of_one_all_of_it(lengths):
    shuffled = batch_explorer.explore(lengths, order=batch_explorer.SHUFFLED).share
    assert batch_explorer.explore(lengths, order=batch_explorer.BUCKETING).share < shuffled / 3
    assert batch_explorer.explore(lengths, batch_size=1, order=batch_explorer.SHUFFLED).share == 0


@pytest.mark.parametrize(
    ("num_workers", "number", "worker", "waiting"),
    [(0, 3, None, 1), (2, 1, 0, 4), (2, 4, 1, 4), (3, 4, 0, 6)],
)
def test_batches_are_made_by_the_workers_in_turn(lengths, num_workers, number, worker, waiting):
    report = batch_explorer.explore(lengths, num_workers=num_workers, number=number)
    assert (report.worker, report.waiting) == (worker, waiting)


def controls(widget):
    return {child.description: child for child in widget.children[:-1]}, widget.children[-1]


def test_widget_reacts_to_every_control(lengths):
    widget = batch_explorer.batch_explorer(lengths)
    by_name, output = controls(widget)
    changes = [
        ("batch_size", 64),
        ("order of the rows", batch_explorer.BUCKETING),
        ("num_workers", 2),
        ("batch number", 2),
        ("seed", 3),
    ]
    for name, value in changes:
        before = output.value
        by_name[name].value = value
        assert output.value != before, name
    by_name["order of the rows"].value = batch_explorer.IN_ORDER
    before = output.value
    by_name["drop_last"].value = True
    assert output.value != before


def test_widget_says_what_the_computation_says(lengths):
    by_name, output = controls(batch_explorer.batch_explorer(lengths))
    by_name["batch_size"].value = 8
    by_name["order of the rows"].value = batch_explorer.BUCKETING
    sentence = batch_explorer.explore(lengths, batch_size=8, order=batch_explorer.BUCKETING).sentence(1)
    assert f">{sentence}</p>" in output.value
    assert f'alt="{sentence}"' in output.value


def test_batch_number_stays_inside_the_epoch(lengths):
    by_name, output = controls(batch_explorer.batch_explorer(lengths))
    by_name["batch_size"].value = 4
    by_name["batch number"].value = 200
    by_name["batch_size"].value = 128
    assert by_name["batch number"].value == by_name["batch number"].max == 8
    assert "Batch 8 of 8" in output.value
