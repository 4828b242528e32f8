import numpy as np
import pytest

from helpers.data.samplers import BucketBatchSampler
from helpers.errors import InputError

LENGTHS = np.random.default_rng(0).integers(3, 80, size=1003)


def flat(batches):
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [1, 32, 1003, 5000])
def test_every_row_once_in_even_batches(shuffle, size):
    sampler = BucketBatchSampler(LENGTHS, size, shuffle=shuffle)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(flat(batches)) == list(range(1003))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_similar_lengths_meet():
    def padding(batches):
        return sum(len(b) * LENGTHS[b].max() for b in batches) / LENGTHS.sum() - 1

    random = BucketBatchSampler(np.ones(1003), 32)
    assert padding(BucketBatchSampler(LENGTHS, 32)) < 0.1 < padding(random)


def test_order_depends_on_seed_and_epoch_alone():
    one, two = BucketBatchSampler(LENGTHS, 32, seed=5), BucketBatchSampler(LENGTHS, 32, seed=5)
    assert list(one) == list(one) == list(two)
    two.set_epoch(1)
    assert list(one) != list(two)
    assert list(BucketBatchSampler(LENGTHS, 32, seed=6)) != list(one)


def test_a_resumed_epoch_goes_on_with_the_next_batch():
    sampler = BucketBatchSampler(LENGTHS, 32)
    whole = list(sampler)
    sampler.set_epoch(0, start=10)
    assert list(sampler) == whole[10:]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_each_batch(processes):
    alone = list(BucketBatchSampler(LENGTHS, 32))
    shares = [
        list(BucketBatchSampler(LENGTHS, 32, num_processes=processes, process_index=i))
        for i in range(processes)
    ]
    assert all(len(share) == len(alone) for share in shares)
    for number, batch in enumerate(alone):
        assert sorted(flat(share[number] for share in shares)) == sorted(batch)


@pytest.mark.parametrize(
    ("rows", "size", "processes", "sentence"),
    [
        (0, 32, 1, "the dataset has no rows"),
        (1, 32, 2, "1 rows in batches of 32 cannot be split among 2 processes"),
        (100, 2, 2, "100 rows in batches of 2 cannot be split among 2 processes"),
        (10, 0, 1, "batch_size must be at least 1, found 0"),
    ],
)
def test_impossible_batches_are_refused(rows, size, processes, sentence):
    with pytest.raises(InputError, match=sentence):
        BucketBatchSampler(np.ones(rows), size, num_processes=processes)
