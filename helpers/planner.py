"""Will it fit on my GPU, and how long will it take? Both by counting, before anything runs (chapter 12).

Counted is what the course's loop does: weights, gradients and AdamW's moments in float32, autocast to bfloat16,
attention without a matrix of all pairs, logits at labels alone. benchmarks/gpu.py measures the same on a GPU.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.errors import InputError
from helpers.files import ROOT

STRATEGIES = {"full": (32,), "lora": (32, 16, 4)}  # and the bits that the weights below may have
ADAPTED = 7  # linear layers in a layer of the model: query, key, value, output, gate, up, down
LOW_BIT_BYTES = 5 / 8  # of a weight in 4 bits with its share of scale and minimum
USABLE = 0.95  # share of a card's memory; the rest is CUDA's own, and gaps between tensors


@dataclass(frozen=True)
class ModelShape:
    """A decoder of Llama's form: RMSNorm, rotary positions, grouped attention, gated MLP, no biases."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    tied: bool  # the table of words is the last layer, too

    @property
    def kv_width(self) -> int:
        """Width of the keys and of the values."""
        return self.width // self.heads * self.kv_heads

    @property
    def table(self) -> int:
        """Parameters of the table of words, and of the last layer."""
        return self.vocabulary * self.width

    @property
    def layer_matrices(self) -> int:
        """Parameters of the matrices of one layer."""
        return self.width * (2 * self.width + 2 * self.kv_width + 3 * self.mlp_width)

    @property
    def parameters(self) -> int:
        """All parameters."""
        tables = self.table * (1 if self.tied else 2)
        return tables + self.layers * (self.layer_matrices + 2 * self.width) + self.width

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA's two matrices beside every matrix of one layer."""
        return rank * (4 * self.width + 2 * (self.width + self.kv_width) + 3 * (self.width + self.mlp_width))


SHAPES = {
    shape.name: shape
    for shape in (
        ModelShape("smollm2-135m", 30, 576, 9, 3, 1536, 49152, True),
        ModelShape("smollm2-360m", 32, 960, 15, 5, 2560, 49152, True),
        ModelShape("smollm2-1.7b", 24, 2048, 32, 32, 8192, 49152, True),
        ModelShape("llama-3.2-1b", 16, 2048, 32, 8, 8192, 128256, True),
        ModelShape("llama-3.2-3b", 28, 3072, 24, 8, 8192, 128256, True),
        ModelShape("mistral-7b", 32, 4096, 32, 8, 14336, 32768, False),
        ModelShape("llama-3.1-8b", 32, 4096, 32, 8, 14336, 128256, False),
        ModelShape("llama-3.1-70b", 80, 8192, 64, 8, 28672, 128256, False),
    )
}


@dataclass(frozen=True)
class Workload:
    """One optimizer step of a training."""

    shape: ModelShape
    rows: int  # of all processes together, as TrainingConfig.batch_size
    tokens: int  # of each row
    strategy: str = "full"  # or lora
    rank: int = 32  # of LoRA's corrections
    base_bits: int = 32  # of the weights below LoRA: 32, 16 or 4
    precision: str = "bf16"  # autocast, or no
    activation_checkpointing: bool = False
    processes: int = 1  # one card each
    shard: bool = False  # FSDP2; else every process holds all weights (DDP)
    learnt_share: float = 1.0  # of the tokens, that have a label

    def __post_init__(self):
        if self.strategy not in STRATEGIES or self.precision not in ("bf16", "no"):
            problem = f"strategy must be full or lora, precision bf16 or no, found {self.strategy!r}"
            raise InputError(f"{problem} and {self.precision!r}")
        if self.base_bits not in STRATEGIES[self.strategy]:
            raise InputError(f"base bits must be 32, or below lora 32, 16 or 4, found {self.base_bits}")
        if min(self.rows, self.tokens, self.rank, self.processes) < 1 or self.rows < self.processes:
            found = f"{self.rows} rows, {self.tokens} tokens, rank {self.rank}, {self.processes} processes"
            raise InputError(
                f"rows, tokens, rank and processes must be at least 1, and a row for each, {found}"
            )
        if not 0 < self.learnt_share <= 1:
            raise InputError(f"the learnt share must be above 0 and at most 1, found {self.learnt_share}")

    @property
    def trainable(self) -> int:
        """Parameters that move."""
        if self.strategy == "full":
            return self.shape.parameters
        return self.shape.layers * self.shape.adapter_parameters(self.rank)


@dataclass(frozen=True)
class Memory:
    """Bytes per process: each part at its largest, and `total`, the most that is there at once.

    The total is less than the sum: gradients come while activations go, and logits go before both.
    """

    weights: int  # with their copies in bfloat16, and what FSDP2 has gathered
    gradients: int
    moments: int
    activations: int
    logits: int
    total: int


@dataclass(frozen=True)
class Card:
    """A GPU as its data sheet has it, dense products."""

    memory: int  # bytes
    bf16: float  # operations per second
    float32: float
    watts: float


CARDS = {
    "rtx4090": Card(24 * 10**9, 165e12, 83e12, 450),
    "l4": Card(24 * 10**9, 121e12, 30e12, 72),
    "a100": Card(80 * 10**9, 312e12, 19.5e12, 400),
    "h100": Card(80 * 10**9, 989e12, 67e12, 700),
    "h200": Card(141 * 10**9, 989e12, 67e12, 700),
}


def shape_of(source) -> ModelShape:
    """The shape of a model of transformers: its folder, its config, or the config's dictionary.

    Raises InputError: no such folder, or a model of another form than Llama's.
    """
    if isinstance(source, str | Path):
        name, file = str(source), Path(source) / "config.json"
        try:
            config = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            known = ", ".join(SHAPES)
            raise InputError(f"{file} cannot be read ({error}); give a model's folder, or {known}") from error
    else:
        config = source if isinstance(source, dict) else source.to_dict()
        name = config.get("_name_or_path") or config.get("model_type", "?")
    kind = config.get("model_type")
    if kind not in ("llama", "mistral") or config.get("attention_bias") or config.get("mlp_bias"):
        raise InputError(
            f"{name} is of the form {kind!r}; only Llama's and Mistral's without biases are known"
        )
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    try:
        layers, width, heads, mlp_width, vocabulary = (config[name] for name in names)
    except KeyError as error:
        raise InputError(f"the config of {name} has no {error}; copy it again") from error
    if (config.get("head_dim") or width // heads) * heads != width:
        raise InputError(f"{name} has heads that are not together as wide as the model; they are not known")
    kv_heads = config.get("num_key_value_heads") or heads
    tied = config.get("tie_word_embeddings", False)
    return ModelShape(name, layers, width, heads, kv_heads, mlp_width, vocabulary, tied)


def operations(workload: Workload) -> float:
    """Floating-point operations of the training per token: 6 for each parameter that moves, 4 for a frozen
    one, 2 more for what activation checkpointing computes again, and attention's over the tokens before.
    """
    shape, layers = workload.shape, workload.shape.layers
    again = 1 if workload.activation_checkpointing else 0
    passes = 3 if workload.strategy == "full" else 2  # a frozen matrix needs no gradient of its own
    products = layers * shape.layer_matrices * (passes + again) + workload.learnt_share * shape.table * passes
    if workload.strategy == "lora":
        products += workload.trainable * (3 + again)
    return 2 * products + 2 * layers * workload.tokens * shape.width * (3 + again)


def duration(workload: Workload, tokens: float, card: Card, cards: int, efficiency: float) -> float:
    """Seconds of training on so many tokens, read at `efficiency` (0 to 1) of the cards' peak."""
    peak = card.bf16 if workload.precision == "bf16" else card.float32
    return tokens * operations(workload) / (cards * peak * efficiency)


def memory(workload: Workload) -> Memory:
    """The peak of one step, after the first; within some percent of `torch.cuda.max_memory_allocated`."""
    shape, layers = workload.shape, workload.shape.layers
    is_half, is_full = workload.precision == "bf16", workload.strategy == "full"
    wide = 2 if is_half else 4  # bytes of what a matrix product takes and gives
    processes = workload.processes
    read = math.ceil(workload.rows / processes) * workload.tokens
    learnt = math.ceil(workload.learnt_share * read)
    adapters = 0 if is_full else shape.adapter_parameters(workload.rank)

    base = {32: 4, 16: 2, 4: LOW_BIT_BYTES}[workload.base_bits]
    outside = shape.parameters - layers * shape.layer_matrices  # tables and norms are never in 4 bits
    held = layers * (shape.layer_matrices * base + 4 * adapters) + outside * max(base, 2 if base == 2 else 4)
    moved = 4 * workload.trainable
    share = processes if workload.shard else 1
    # FSDP2 gathers a layer, and the next one ahead; what stands in no layer stays whole during a step.
    gathered = 4 * outside + 2 * (held - 4 * outside) / layers if workload.shard else 0
    standing = held / share + gathered + 2 * moved / share
    buckets = moved if processes > 1 and not workload.shard else 0  # of DDP, a second set of gradients

    # A copy of each matrix in bfloat16 is kept for the backward pass; of 4 bits the codes alone are.
    layer_copies = (shape.layer_matrices if base == 4 else 0) + adapters if is_half else 0
    head_copy = shape.table if is_half and base != 2 else 0
    copies, last_copy = 2 * (layers * layer_copies + head_copy), 2 * head_copy

    one_layer = read * _kept_per_token(workload, wide)
    kept = 4 * shape.width * read if workload.activation_checkpointing else one_layer
    kept = layers * kept + read * (8 + wide) * shape.width
    logits = 12 * learnt * shape.vocabulary  # log-probabilities, their gradient and that of the loss
    # The gradients inside one layer while the backward pass goes through it, and one matrix's.
    inside = read * (3 * wide * shape.mlp_width + 16 * shape.width)
    inside += 4 * shape.width * shape.mlp_width if is_full else 0
    table = 4 * shape.table if is_full else 0
    again = 0
    if workload.activation_checkpointing:
        again = one_layer + 2 * layer_copies
        # Outside the layers autocast holds the copies of what moves until the forward pass ends.
        forward = kept + (copies if is_full else last_copy) + 2 * logits / 3
        copies = last_copy
    else:
        forward = 0
    moments_of_step = (
        forward,
        kept + copies + logits,
        kept + copies + table + again + inside,
        moved / share + table + again + inside,
    )
    peak = standing + buckets + max(moments_of_step)
    parts = (
        held / share + gathered + copies,
        moved / share + buckets,
        2 * moved / share,
        kept + again,
        logits,
    )
    return Memory(*map(round, (*parts, peak)))


def measured_efficiency(workload: Workload) -> float | None:
    """The share of its peak that a GPU reached with the most similar training that benchmarks/gpu.py stored."""
    rows = []
    for file in sorted((ROOT / "benchmarks" / "results").glob("gpu_*.json")):
        parts = json.loads(file.read_bytes()).get("parts", {})
        rows += [
            row for name in ("language_training", "planner") for row in parts.get(name, {}).get("rows", [])
        ]
    precision = {"no": "float32"}.get(workload.precision, workload.precision)
    same = {"strategy": workload.strategy, "precision": precision}
    rows = [row for row in rows if "efficiency" in row and same.items() <= row.items()]
    size = lambda shape, read: (math.log(shape.parameters), math.log(read))
    own = size(workload.shape, workload.rows * workload.tokens / workload.processes)
    there = lambda row: size(SHAPES[row["model"]], row["batch"] * row["tokens"])
    return min(rows, key=lambda row: math.dist(own, there(row)))["efficiency"]["median"] if rows else None


def remedy(workload: Workload, room: float) -> tuple[str, Workload] | None:
    """The nearest change with which the step needs at most `room` bytes, in words, and the changed workload."""
    keep = {"activation_checkpointing": True}
    rows = [workload.processes * 2**n for n in range(20, -1, -1) if workload.processes * 2**n < workload.rows]
    fewer = [({"rows": count}, f"--rows {count} and add up the gradients of more steps") for count in rows]
    lora, low = {"strategy": "lora"}, {"strategy": "lora", "base_bits": 4}
    steps = [(keep, "--activation-checkpointing"), *fewer]
    steps += [({"shard": True}, "--shard")] if workload.processes > 1 else []
    steps += [(lora, "--strategy lora"), (low, "--strategy lora --base-bits 4")]
    last = (
        low | keep | {"rows": workload.processes},
        "all of this: LoRA on 4 bits, checkpointing, fewest rows",
    )
    for changes, words in [*steps, last]:
        changed = replace(workload, **changes)
        if changed != workload and memory(changed).total <= room:
            return words, changed
    return None


def add_command(command) -> None:
    """The command `plan`."""
    added = command("plan", plan, "count whether a training fits on a GPU, and how long it takes")
    add = added.add_argument
    add("--model", required=True, help=f"a model's folder, or {', '.join(SHAPES)}")
    add("--rows", type=int, default=8, help="rows of a step, all cards together (default: %(default)s)")
    add("--tokens", type=int, default=1024, help="tokens of a row (default: %(default)s)")
    add("--strategy", choices=STRATEGIES, default="lora", help="(default: %(default)s)")
    add("--rank", type=int, default=32, help="of LoRA (default: %(default)s)")
    add("--base-bits", type=int, choices=(32, 16, 4), default=32, help="of the weights below LoRA")
    add("--precision", choices=("bf16", "no"), default="bf16", help="(default: %(default)s)")
    add("--activation-checkpointing", action="store_true", help="keep each layer's input alone")
    add("--card", choices=CARDS, default="h100", help="(default: %(default)s)")
    add("--cards", type=int, default=1, help="one process each (default: %(default)s)")
    add("--shard", action="store_true", help="share weights, gradients and moments out (FSDP2)")
    add("--learnt-share", type=float, default=1.0, help="of the tokens, that have a label (default: all)")
    add("--train-tokens", type=float, help="of the whole training; with it the time is told")
    add("--efficiency", type=float, help="share of the card's peak (default: the nearest measured one)")
    add("--price", type=float, help="of an hour of one card, in your currency")
    add("--json", action="store_true", help="print the plan as JSON")


def plan(options) -> None:
    """Print the parts of the memory and whether they fit; with --train-tokens time and energy, too."""
    shape, card = SHAPES.get(options.model) or shape_of(options.model), CARDS[options.card]
    same = (
        "rows",
        "tokens",
        "strategy",
        "rank",
        "base_bits",
        "precision",
        "activation_checkpointing",
        "shard",
    )
    chosen = {name: getattr(options, name) for name in (*same, "learnt_share")}
    workload = Workload(shape, processes=options.cards, **chosen)
    need, room = memory(workload), USABLE * card.memory
    found = {
        "parameters": shape.parameters,
        "trainable": workload.trainable,
        "bytes": vars(need),
        "room": room,
    }
    found |= {"fits": need.total <= room, "says": _verdict(workload, need, room, options.card)}
    if options.train_tokens is not None:
        found |= _costs(workload, options, card)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in vars(need).items():
        print(f"{name if name != 'total' else 'at once':<12} {value / 1e9:8.2f} GB")
    print(found["says"], *([found["takes"]] if "takes" in found else []), sep="\n")


def _verdict(workload: Workload, need: Memory, room: float, card: str) -> str:
    sizes = f"{need.total / 1e9:.1f} GB at once, a {card} has room for {room / 1e9:.1f} GB"
    if need.total <= room:
        return f"fits: {sizes}"
    largest = max((name for name in vars(need) if name != "total"), key=lambda name: getattr(need, name))
    reason = f"does not fit: {sizes}, and the largest part are the {largest}"
    found = remedy(workload, room)
    if found is None:
        return f"{reason}; no single change is enough: take a smaller model, shorter rows or more cards"
    return f"{reason}; change first: {found[0]} ({memory(found[1]).total / 1e9:.1f} GB)"


def _costs(workload: Workload, options, card: Card) -> dict:
    efficiency, source = options.efficiency, "as given"
    if efficiency is None:
        efficiency, source = measured_efficiency(workload), "as measured with the most similar training"
    if efficiency is None or not 0 < efficiency <= 1 or options.train_tokens <= 0:
        problem = (
            "--train-tokens must be above 0, --efficiency above 0 and at most 1, and no similar training"
        )
        raise InputError(f"{problem} is measured yet; found {options.train_tokens} and {efficiency}")
    seconds = duration(workload, options.train_tokens, card, options.cards, efficiency)
    hours = options.cards * seconds / 3600
    found = {"seconds": seconds, "efficiency": efficiency, "kwh": hours * card.watts / 1000}
    words = (
        f"takes {seconds / 3600:.2f} hours at {efficiency:.0%} of the peak, {source}; {found['kwh']:.2f} kWh"
    )
    if options.price is not None:
        found["cost"] = hours * options.price
        words += f"; costs {found['cost']:.2f}"
    return found | {"takes": words}


def _kept_per_token(workload: Workload, wide: int) -> float:
    """Bytes that autograd keeps of one layer for one token, counted operation by operation."""
    shape, is_full = workload.shape, workload.strategy == "full"
    norms = (16 if is_full else 8) * shape.width + 8  # in float32; frozen ones keep their input alone
    # Autocast casts the input of every matrix anew: five of the layer's width, with LoRA six.
    inputs = shape.width * (2 if wide == 4 else 5 if is_full else 6)
    attention = 2 * shape.width + 2 * shape.kv_width  # query, output, key, value
    ranks = 0 if is_full else ADAPTED * workload.rank
    return norms + wide * (inputs + attention + 4 * shape.mlp_width + ranks) + 4 * shape.heads
