"""A folder of shards as a stream: every row once, in an order of seed and epoch alone, in flat memory."""

import csv
import itertools
import json
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from helpers.data import shards as shards_module
from helpers.data.shards import Shards
from helpers.data.streams import RowStream, stream_loader
from helpers.errors import DataError, InputError

FORMATS = ("jsonl", "csv", "parquet")


def write(folder, kind, counts, group=7):
    """Files of numbered rows, with quotation marks, line breaks and blank lines where the format has them."""
    folder.mkdir(parents=True)
    numbers = itertools.count()
    for place, count in enumerate(counts):
        rows = [{"text": f'row {next(numbers)}, "so"\nsaid', "label": "a"} for _ in range(count)]
        file = folder / f"part-{place:03d}.{kind}"
        if kind == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" * (1 + n % 2) for n, row in enumerate(rows)))
        elif kind == "csv":
            with file.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, ["text", "label"])
                writer.writeheader()
                writer.writerows(rows)
        else:
            schema = pa.schema([("text", pa.string()), ("label", pa.string())])
            parquet.write_table(pa.Table.from_pylist(rows, schema), file, row_group_size=group)
    return folder


def number_of(row):
    return {"number": int(row["text"].split(",")[0].removeprefix("row "))}


def batches_of(shards, size, *, epoch=0, start=0, workers=0, processes=1, **options):
    """The numbers in each batch, put together from all processes."""
    parts = []
    for process in range(processes):
        sharding = {"num_processes": processes, "process_index": process}
        stream = RowStream(shards, size, transform=number_of, **options, **sharding)
        loader = stream_loader(stream, list, workers)
        stream.set_epoch(epoch, start)
        parts.append(list(loader))
        assert len(parts[-1]) == len(loader) - start
        assert all(sample["number"] == sample["index"] for batch in parts[-1] for sample in batch)
        assert all(parts[-1])  # no process is ever left without a row
    batches = [[None] * sum(map(len, shares)) for shares in zip(*parts)]
    for batch, shares in zip(batches, zip(*parts)):
        for process, share in enumerate(shares):
            batch[process::processes] = [sample["number"] for sample in share]
    return batches


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(kind, counts): written once, as a property asks for many."""
    made = {}

    def folder(kind, counts):
        if (kind, counts) not in made:
            made[kind, counts] = write(tmp_path_factory.mktemp("shards") / "rows", kind, counts)
        return made[kind, counts]

    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(FORMATS),
    counts=st.lists(st.integers(0, 25), min_size=1, max_size=4).filter(sum).map(tuple),
    size=st.integers(1, 12),
    buffer=st.integers(1, 60),
    processes=st.integers(1, 3),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_every_row_comes_once_in_the_same_batches(
    folders, monkeypatch, kind, counts, size, buffer, processes, shuffle, epoch, data
):
    monkeypatch.setattr(shards_module, "BLOCK", 5)
    shards = Shards(folders(kind, counts))
    options = {"buffer": buffer, "shuffle": shuffle, "seed": 1, "epoch": epoch}
    whole = batches_of(shards, size, **options)
    assert sorted(number for batch in whole for number in batch) == list(range(sum(counts)))
    assert all(len(batch) == size for batch in whole[:-2])
    assert max(map(len, whole)) <= size
    if sum(counts) < processes or (size < 2 * processes and processes > 1):
        with pytest.raises(InputError, match="cannot be split among"):
            batches_of(shards, size, processes=processes, **options)
        return
    start = data.draw(st.integers(0, len(whole) - 1))
    assert batches_of(shards, size, processes=processes, start=start, **options) == whole[start:]
    assert (
        not shuffle or sum(counts) < 9 or whole != batches_of(shards, size, **options | {"epoch": epoch + 1})
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_workers_change_nothing(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shards_module, "BLOCK", 5)
    shards = Shards(write(tmp_path / "rows", kind, (17, 0, 20)))
    whole = batches_of(shards, 6, buffer=9)
    for workers, processes, start in ((1, 2, 0), (2, 1, 3), (3, 2, 2)):
        assert (
            batches_of(shards, 6, buffer=9, workers=workers, processes=processes, start=start)
            == whole[start:]
        )


def test_the_buffer_and_the_blocks_mix_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "BLOCK", 5)
    shards = Shards(write(tmp_path / "rows", "jsonl", (100,)))
    order = sum(batches_of(shards, 10, buffer=20), [])  # noqa: RUF017
    groups = [set(order[begin : begin + 20]) for begin in range(0, 100, 20)]
    assert all(len({number // 5 for number in group}) == 4 for group in groups)
    assert max(order[:10]) - min(order[:10]) > 20


@pytest.mark.parametrize("kind", FORMATS)
def test_memory_is_flat(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shards_module, "BLOCK", 100)

    def peak(count):
        shards = Shards(write(tmp_path / str(count), kind, (count,) * 2, group=100))
        stream = RowStream(shards, 32, transform=number_of, buffer=200)
        tracemalloc.start()
        assert sum(map(len, stream)) == 2 * count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(4000) < 1.3 * peak(400)


def test_bad_rows_are_named_or_left_out_for_all(tmp_path):
    file = write(tmp_path / "rows", "jsonl", (4,)) / "part-001.jsonl"
    file.write_text('{"text": "row 4, x"}\n{"text": \n[1]\n{"text": "row 5, x", "text": ""}\n{"other": 1}\n')
    shards = Shards(tmp_path / "rows")
    with pytest.raises(InputError, match=r"part-001.jsonl:2: is no JSON object"):
        list(RowStream(shards, 3, transform=number_of, shuffle=False))

    def visit(row):
        if "text" not in row:
            raise InputError("has no 'text'")
        return True

    with pytest.raises(DataError, match="4 bad entries") as raised:
        shards.checked(visit)
    places = [str(problem) for problem in raised.value.problems]
    assert [place.split(":")[1] for place in places] == ["2", "3", "4", "5"]
    assert places[3] == "part-001.jsonl:5: has no 'text'"
    good = shards.checked(visit, "skip")
    assert (len(good), good.num_bad, [block.rows for block in good.blocks]) == (5, 4, [4, 1])
    assert sorted(row for batch in batches_of_all(good) for row in batch) == [0, 1, 2, 3, 4]
    assert good[4] == "part-001.jsonl:1"


def batches_of_all(shards):
    return [[one["number"] for one in batch] for batch in RowStream(shards, 2, transform=number_of)]


def test_a_transform_that_fails_names_file_and_row(tmp_path):
    shards = Shards(write(tmp_path / "rows", "csv", (4,)))
    stream = RowStream(shards, 2, transform=lambda row: {"x": row["comment"]}, shuffle=False)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"^part-000.csv:2 cannot be used \(KeyError: 'comment'\)"):
            list(stream_loader(stream, list, workers))


FAULTS = {
    "is no folder": {},
    "holds no shard": {"_SUCCESS": "", ".hidden.jsonl": "{}"},
    "mixes kinds of files": {"a.jsonl": "{}", "b.csv": "x\n1\n"},
    "is compressed": {"a.jsonl.gz": "x"},
    "is no shard": {"a.jsonl": "{}", "notes.txt": "x"},
    "hold no row": {"a.jsonl": "\n\n", "b.jsonl": ""},
    r"has other columns than a.csv \(label, mark\)": {
        "a.csv": "text,label\na,b\n",
        "b.csv": "text,mark\na,b\n",
    },
    "stands twice": {"a.csv": "text,text\na,b\n"},
    "no readable Parquet file": {"a.parquet": "PAR1 no"},
    r"a.csv:2: a quotation mark does not fit": {"a.csv": 'text,label\n"a,b\nc,d\n'},
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_folder_that_is_none_is_one_sentence(tmp_path, sentence):
    for name, content in FAULTS[sentence].items():
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / name).write_text(content)
    with pytest.raises(InputError, match=sentence) as raised:
        Shards(tmp_path / "rows")
    assert "\n" not in str(raised.value)


def test_a_file_that_changed_since_is_refused(tmp_path):
    shards = Shards(write(tmp_path / "rows", "jsonl", (4,)))
    with (tmp_path / "rows" / "part-000.jsonl").open("a") as lines:
        lines.write('{"text": "row 4, x"}\n')
    with pytest.raises(InputError, match="has changed since its rows were counted"):
        list(RowStream(shards, 2, transform=number_of))


def test_a_large_row_group_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "BLOCK", 5)
    monkeypatch.setattr(shards_module, "HELD_BYTES", 10)
    shards = Shards(write(tmp_path / "rows", "parquet", (23,), group=23))
    assert [len(shards.read(block)) for block in shards.blocks] == [5, 5, 5, 5, 3]
    assert sorted(sum(batches_of(shards, 4), [])) == list(range(23))  # noqa: RUF017
