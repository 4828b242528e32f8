"""Rows a second of a stream from shards against a local list of the same rows, and the memory of both.

usage: python benchmarks/streaming.py [--rows N]

1,000,000 short comments (the embedded ones with a number behind each) stand in 20 shards, as JSON Lines and
as Parquet (row groups of 10,000 rows). Each measurement is a process of its own, which loads shuffled batches
of 32 for some seconds, with 0 and with 2 workers, collated as in training, once with the text alone and once
with tokenising in the transform. Beyond it: seconds of the pass that counts the rows. Results go to
benchmarks/results/streaming.json; under four minutes on 2 cores.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from helpers import environment
from helpers.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results" / "streaming.json"
SHARDS, GROUP, BATCH, SECONDS, WARM_UP = 20, 10_000, 32, 6, 20  # the last one in batches
KINDS = ("jsonl", "parquet")


def write_shards(folder: Path, rows: int) -> None:
    """The same rows as folder/jsonl and folder/parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    from helpers.data import sources

    comments = sources.comments()
    texts, labels = comments["text"].tolist(), comments["label"].tolist()
    for kind in KINDS:
        (folder / kind).mkdir()
    for shard in range(SHARDS):
        numbers = range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS)
        places = [number % len(texts) for number in numbers]
        made = [{"text": f"{texts[p]} {n}", "label": labels[p]} for n, p in zip(numbers, places)]
        name = f"part-{shard:03d}"
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
        (folder / "jsonl" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        parquet.write_table(
            pa.Table.from_pylist(made), folder / "parquet" / f"{name}.parquet", row_group_size=GROUP
        )


class Transform:
    """A row as a sample: its text and its label, or with a tokenizer its token ids."""

    def __init__(self, tokenizer=None):
        self.tokenizer, self.numbers = tokenizer, {"negative": 0, "neutral": 1, "positive": 2}

    def __call__(self, row: dict) -> dict:
        label = self.numbers[row["label"]]
        if self.tokenizer is None:
            return {"text": row["text"], "label": label}
        ids = self.tokenizer(row["text"], truncation=True, max_length=128)["input_ids"]
        return {"input_ids": ids, "label": label}


class Listed:
    """The same rows as a list in memory."""

    def __init__(self, rows: list[dict], transform: Transform):
        self.rows, self.transform = rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return {"index": index, **self.transform(self.rows[index])}


def collate_texts(samples: list[dict]) -> dict:
    """Texts, labels and indices of a batch."""
    import torch

    columns = {name: torch.tensor([sample[name] for sample in samples]) for name in ("index", "label")}
    return columns | {"text": [sample["text"] for sample in samples]}


def measured(folder: str, kind: str, workers: int, tokens: bool, seconds: float) -> dict:
    """Rows a second after the warm-up, and megabytes of this process beyond its imports."""
    import torch

    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import AutoTokenizer

    from helpers import assets
    from helpers.data.collate import PadCollate
    from helpers.data.loaders import make_loader
    from helpers.data.shards import Shards
    from helpers.data.streams import RowStream, stream_loader

    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm")) if tokens else None
    collate, before = PadCollate(0) if tokens else collate_texts, peak_megabytes(resource.RUSAGE_SELF)
    start = time.perf_counter()
    shards = Shards(Path(folder) / ("jsonl" if kind == "list" else kind))
    counting = time.perf_counter() - start
    if kind == "list":
        rows = [row for block in shards.blocks for row in shards.read(block)]
        loader = make_loader(
            Listed(rows, Transform(tokenizer)), BATCH, collate, shuffle=True, num_workers=workers
        )
    else:
        loader = stream_loader(RowStream(shards, BATCH, transform=Transform(tokenizer)), collate, workers)
    count, begun = 0, None
    for number, batch in enumerate(loader):
        if number == WARM_UP:
            begun = time.perf_counter()
        if begun is not None:
            count += len(batch.get("label", batch.get("labels")))
            if time.perf_counter() - begun > seconds:
                break
    rate = count / (time.perf_counter() - begun)
    peak = peak_megabytes(resource.RUSAGE_SELF) - before
    return {"rows_per_second": round(rate), "mb": peak, "counting_seconds": round(counting, 2)}


def peak_megabytes(who: int) -> int:
    """The largest memory so far."""
    return round(resource.getrusage(who).ru_maxrss / 1e3)


def in_child(*arguments) -> dict:
    """`measured` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, *arguments).result()


def readme_row(found: dict) -> str:
    """The line of README's table."""
    tokens, texts = found["tokens, 0 workers"], found["texts, 0 workers"]
    shares = [f"{tokens[kind]['share_of_list']:.0%} ({kind})" for kind in KINDS]
    alone = " and ".join(f"{texts[kind]['share_of_list']:.0%}" for kind in KINDS)
    what = f"{found['rows']:,} rows streamed from shards, shuffled and tokenised"
    rates = f"{' and '.join(shares)} of the rows/s of a list in memory; {alone} without tokenising"
    memory = f"{tokens['jsonl']['mb']:,} MB where the list takes {tokens['list']['mb']:,} MB"
    counted = f"counted in {tokens['jsonl']['counting_seconds']:.1f} s"
    return f"| {what} | {rates}; {memory}; {counted} | `benchmarks/streaming.py` |"


def main() -> None:
    """Measure everything, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = {"rows": options.rows, "batch_size": BATCH, "versions": environment.versions()}
    found["cores"] = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), options.rows)
        for what, tokens in (("texts", False), ("tokens", True)):
            for workers in (0, 2):
                part = {}
                for kind in ("list", *KINDS):
                    part[kind] = in_child(folder, kind, workers, tokens, options.seconds)
                for kind in KINDS:
                    share = part[kind]["rows_per_second"] / part["list"]["rows_per_second"]
                    part[kind]["share_of_list"] = round(share, 2)
                found[f"{what}, {workers} workers"] = part
                print(what, workers, part, flush=True)
    print(readme_row(found))
    write_atomically(options.output, json.dumps(found, indent=2).encode())


if __name__ == "__main__":
    main()
