"""The command `plan`: does a training fit on a GPU, what to change if not, and how long it takes."""

import json
import math
from dataclasses import asdict, fields

from helpers.errors import InputError
from helpers.files import ROOT
from helpers.planner import CARDS, SHAPES, USABLE, Memory, Workload, duration, memory, remedy, shape_of

OPTIONS = {
    "rows": (int, 8, "rows of a step, all cards together"),
    "tokens": (int, 1024, "tokens of a row"),
    "strategy": (str, "lora", "full or lora: which weights move"),
    "rank": (int, 32, "of LoRA's corrections"),
    "base_bits": (int, 32, "of the weights below LoRA: 32, 16 or 4"),
    "precision": (str, "bf16", "bf16 (autocast) or no (float32)"),
    "learnt_share": (float, 1.0, "share of the tokens that have a label"),
    "cards": (int, 1, "GPUs, with one process each"),
    "train_tokens": (float, None, "tokens of the whole training: with them, time and energy are told"),
    "efficiency": (float, None, "share of the card's peak (by default the nearest measured one)"),
    "price": (float, None, "of one card for an hour"),
}


def add_command(command) -> None:
    """The command `plan`."""
    added = command("plan", plan, "count whether a training fits on a GPU, and how long it takes")
    added.add_argument("--model", required=True, help=f"a folder of transformers, or {', '.join(SHAPES)}")
    added.add_argument("--card", choices=CARDS, default="h100", help="(default: %(default)s)")
    for name, (kind, default, text) in OPTIONS.items():
        text += "" if default is None else " (default: %(default)s)"
        added.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=text)
    added.add_argument("--shard", action="store_true", help="FSDP2: share the weights out among the cards")
    keep = "keep each layer's input alone, compute the rest again"
    added.add_argument("--activation-checkpointing", action="store_true", help=keep)
    added.add_argument("--json", action="store_true", help="print the plan as JSON")


def plan(options) -> None:
    """Print the parts of the memory, whether they fit, and with --train-tokens how long it takes."""
    shape = SHAPES.get(options.model) or shape_of(options.model)
    names = {field.name for field in fields(Workload)} & set(vars(options))
    chosen = {name: getattr(options, name) for name in names}
    workload = Workload(shape, processes=options.cards, **chosen)
    need, room = memory(workload), USABLE * CARDS[options.card].memory
    found = {"parameters": shape.parameters, "trainable": workload.trainable, "bytes": asdict(need)}
    found |= {
        "room": room,
        "fits": need.total <= room,
        "verdict": verdict(workload, need, room, options.card),
    }
    if options.train_tokens is not None:
        found |= time_and_cost(workload, options)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, size in found["bytes"].items():
        print(f"{'at once' if name == 'total' else name:<12} {size / 1e9:9.2f} GB")
    print(found["verdict"])
    if "seconds" in found:
        share = f"at {found['efficiency']:.0%} of the peak ({found['source']})"
        cost = f", {found['cost']:.2f} at your price" if "cost" in found else ""
        print(f"takes {found['seconds'] / 3600:.2f} hours {share}: {found['kwh']:.2f} kWh{cost}")


def verdict(workload: Workload, need: Memory, room: float, card: str) -> str:
    """Whether a step fits, and if not, its largest part and the nearest change that makes it fit."""
    sizes = f"{need.total / 1e9:.1f} GB at once, and one {card} has room for {room / 1e9:.1f} GB"
    if need.total <= room:
        return f"fits: {sizes}"
    parts = {name: size for name, size in asdict(need).items() if name != "total"}
    largest = max(parts, key=parts.get)
    reason = f"does not fit: {sizes}; the largest part: {largest}, {parts[largest] / 1e9:.1f} GB"
    better = remedy(workload, room)
    if better is None:
        return f"{reason}; take a smaller model, shorter rows or more cards, with --shard"
    changed = {name: value for name, value in vars(better).items() if value != getattr(workload, name)}
    words = (
        f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}" for name, value in changed.items()
    )
    return f"{reason}; change first: {' '.join(words)} ({memory(better).total / 1e9:.1f} GB)"


def time_and_cost(workload: Workload, options) -> dict:
    """Seconds, efficiency and where it is from, electricity of the cards (kWh), cost at a given price.

    Raises InputError: a number that cannot be, or an efficiency that is neither given nor measured.
    """
    efficiency = options.efficiency
    if efficiency is None:
        efficiency = measured_efficiency(workload)
        if efficiency is None:
            raise InputError("no similar training was measured yet; give --efficiency, a share of the peak")
    if not (0 < efficiency <= 1 and options.train_tokens > 0 and (options.price or 0) >= 0):
        found = f"{efficiency}, {options.train_tokens} and {options.price}"
        limits = "efficiency must be above 0 and at most 1, train tokens above 0, a price not below 0"
        raise InputError(f"{limits}, found {found}")
    card, cards = CARDS[options.card], options.cards
    seconds = duration(workload, options.train_tokens, card, cards, efficiency)
    hours = cards * seconds / 3600
    source = "as given" if options.efficiency is not None else "of the most similar training measured"
    cost = {} if options.price is None else {"cost": hours * options.price}
    return {
        "seconds": seconds,
        "efficiency": efficiency,
        "source": source,
        "kwh": hours * card.watts / 1e3,
    } | cost


def measured_efficiency(workload: Workload) -> float | None:
    """The share of its peak that a GPU reached in the most similar training of benchmarks/gpu.py, if any."""
    rows, own = [], workload.rows * workload.tokens / workload.processes
    for file in sorted((ROOT / "benchmarks" / "results").glob("gpu_*.json")):
        parts = json.loads(file.read_bytes()).get("parts", {})
        rows += [row for name in ("planner", "training") for row in parts.get(name, {}).get("rows", [])]
    precision = "float32" if workload.precision == "no" else workload.precision
    same = {"strategy": workload.strategy, "precision": precision}.items()
    rows = [row for row in rows if "efficiency" in row and same <= row.items()]

    def distance(row: dict) -> float:
        larger = SHAPES[row["model"]].parameters / workload.shape.parameters
        return abs(math.log(larger)) + abs(math.log(row["batch"] * row["tokens"] / own))

    return min(rows, key=distance)["efficiency"] if rows else None
