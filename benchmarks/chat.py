"""Measure what a language model learns of the comments: chapter 10's ladder, its comparisons, all comments.

usage: python benchmarks/chat.py [PART ...] [--runs FILE] [--packed FOLDER] [--quick]
       python benchmarks/chat.py pack FOLDER
       python benchmarks/chat.py gather FOLDER

Parts of two cores, an hour together, which are those that run when none is named: minilm, distilled,
baselines, fidelity, rungs, finish. `finish` reads all runs and writes the page's figures,
benchmarks/results/chat.json.

Parts of a GPU, minutes there and many hours here: ladder, rank, ways, generated, all; one recipe with one
seed is `all:RECIPE:SEED`. Their runs are stored with the course, in benchmarks/results/gpu_chat.jsonl.gz:
made once on an NVIDIA H100 by 7 to 13 processes side by side, so their seconds are those of a shared card. To
make them again: `pack` writes the rows into a folder, to which the model's folder is added as `smollm2`;
there, `python benchmarks/chat.py ladder rank ways generated all --packed FOLDER --runs OUT/runs.json`; back
here, with what was left in runs/chat_benchmark, `gather OUT`.

Each run is stored when it is done, with its answers, in runs/chat_benchmark; a call that was stopped goes on
where it was, and `--runs` names another file. `--quick` tries a part with a few rows.

The seed decides which training rows are drawn, their order and the fresh weights; both models of a pair get
the same rows. Everything is scored on all 4,680 validation rows with its last weights, so no validation row
chose an epoch. The test rows were touched once, by the one recipe for all rows that was finished.
"""

import argparse
import sys
from pathlib import Path

from chat_compare import gather
from chat_finish import finish
from chat_models import MEASURED, Bench, Store
from chat_parts import all_comments, generated, ladder, rank, ways
from chat_rungs import rungs
from chat_small import baselines, distilled, fidelity, minilm

COLUMNS = ["id", "text", "label", "rating", "ratings", "platform", "group"]
HERE = {
    "minilm": minilm,
    "distilled": distilled,
    "baselines": baselines,
    "fidelity": fidelity,
    "rungs": rungs,
    "finish": finish,
}
PARTS = HERE | {"ladder": ladder, "rank": rank, "ways": ways, "generated": generated, "all": all_comments}


def pack(folder: Path) -> None:
    """The prepared rows for a machine without the course's data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in Bench(None, False).parts.items():
        part[COLUMNS].to_json(folder / f"{name}.jsonl", orient="records", lines=True)


def main(arguments: list[str]) -> None:
    """Measure the named parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--packed", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    if options.parts[:1] in (["pack"], ["gather"]):
        {"pack": pack, "gather": gather}[options.parts[0]](Path(options.parts[1]))
        return
    bench = Bench(options.packed, options.quick)
    store = Store(options.runs or (bench.kept / "runs.json" if options.quick else MEASURED))
    for name in options.parts or HERE:
        part, *chosen = name.split(":")  # "all:1:2" is recipe 1 with seed 2
        numbers = [int(number) for number in chosen]
        more = {"recipes": [numbers[0]], "only": numbers[1]} if numbers else {}
        PARTS[part](bench, store, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
