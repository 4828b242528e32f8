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
from pkgutil import resolve_name

from chat_models import MEASURED, Bench, Store

COLUMNS = ["id", "text", "label", "rating", "ratings", "platform", "group"]
HERE = {  # by name, because a GPU's machine need not have what the others import
    "minilm": "chat_small:minilm",
    "distilled": "chat_small:distilled",
    "baselines": "chat_small:baselines",
    "fidelity": "chat_small:fidelity",
    "rungs": "chat_rungs:rungs",
    "finish": "chat_finish:finish",
}
PARTS = HERE | {
    "ladder": "chat_parts:ladder",
    "rank": "chat_parts:rank",
    "ways": "chat_parts:ways",
    "generated": "chat_parts:generated",
    "all": "chat_parts:all_comments",
}


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
    if options.parts[:1] == ["pack"]:
        pack(Path(options.parts[1]))
        return
    if options.parts[:1] == ["gather"]:
        resolve_name("chat_compare:gather")(Path(options.parts[1]))
        return
    names = options.parts or [name for name in HERE if name != "finish" or not options.quick]
    unknown = [name for name in names if name.split(":")[0] not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}, only {', '.join(PARTS)}")
    if options.quick and "finish" in names:
        parser.error("finish reads whole runs; leave out --quick")
    bench = Bench(options.packed, options.quick)
    store = Store(options.runs or (bench.kept / "runs.json" if options.quick else MEASURED))
    for name in names:
        part, *chosen = name.split(":")  # "all:1:2" is recipe 1 with seed 2
        numbers = [int(number) for number in chosen]
        more = {"recipes": [numbers[0]], "only": numbers[1]} if numbers else {}
        resolve_name(PARTS[part])(bench, store, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
