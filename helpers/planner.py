"""Will it fit on my GPU, and how long will it take? Both by counting, before anything runs (chapter 12).

Counted is what the course's loop does: weights, gradients and AdamW's moments in float32, autocast to bf16,
attention without a matrix of all pairs (which a GPU needs for grouped attention in float32), logits at labels
alone. benchmarks/gpu.py measures the same on a GPU.
"""

import itertools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.errors import InputError

BASES = {32: 4, 16: 2, 4: 5 / 8}  # bytes of a frozen weight by its bits; in 4 bits with its share of a scale
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
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's seven: query, key, value, output, gate, up, down."""
        width, mlp, narrow = self.width, self.mlp_width, self.width // self.heads * self.kv_heads
        attention = [(width, width), (width, narrow), (width, narrow), (width, width)]
        return [*attention, (width, mlp), (width, mlp), (mlp, width)]

    @property
    def in_layers(self) -> int:
        """Parameters of all layers' matrices."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def parameters(self) -> int:
        """All parameters: matrices, norms, table of words, last layer."""
        tables = (1 if self.tied else 2) * self.vocabulary * self.width
        return self.in_layers + tables + (2 * self.layers + 1) * self.width


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


def shape_of(source) -> ModelShape:
    """The shape of a model of transformers: its folder, its config, or the config's dictionary.

    Raises InputError: no such folder, or a model of another form than Llama's.
    """
    name = str(source)
    if isinstance(source, str | Path):
        try:
            source = json.loads((Path(source) / "config.json").read_bytes())
        except (OSError, ValueError) as error:
            known = f"give a folder of transformers, or one of {', '.join(SHAPES)}"
            raise InputError(f"the model {name} has no config.json that can be read; {known}") from error
    config = source if isinstance(source, dict) else source.to_dict()
    kind = config.get("model_type")
    name = name if len(name) < 100 else kind
    if kind not in ("llama", "mistral") or config.get("attention_bias") or config.get("mlp_bias"):
        known = "give one of the form of Llama or Mistral, without biases"
        raise InputError(f"models like {name}, of the form {kind!r}, are not counted; {known}")
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
    try:
        layers, width, heads, mlp_width, vocabulary = (int(config[name]) for name in names)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"config.json of {name} is damaged ({error}); copy it again") from error
    if (config.get("head_dim") or width // heads) * heads != width:
        raise InputError(f"models like {name}, whose heads together are not {width} wide, are not counted")
    kv_heads, tied = config.get("num_key_value_heads") or heads, config.get("tie_word_embeddings", False)
    return ModelShape(name, layers, width, heads, kv_heads, mlp_width, vocabulary, tied)


@dataclass(frozen=True)
class Workload:
    """One optimizer step of a training. Raises InputError: a number or a word that cannot be."""

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
        if self.strategy not in ("full", "lora") or self.precision not in ("bf16", "no"):
            problem = "strategy must be full or lora and precision bf16 or no"
            raise InputError(f"{problem}, found {self.strategy!r} and {self.precision!r}")
        if self.base_bits not in (BASES if self.strategy == "lora" else (32,)):
            raise InputError(f"base bits must be 32, or with lora 32, 16 or 4, found {self.base_bits}")
        for name in ("rows", "tokens", "rank", "processes"):
            least = self.processes if name == "rows" else 1
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if not 0 < self.learnt_share <= 1:
            raise InputError(f"learnt share must be above 0 and at most 1, found {self.learnt_share}")

    @property
    def trainable(self) -> int:
        """Parameters that move."""
        if self.strategy == "full":
            return self.shape.parameters
        return self.shape.layers * self.rank * sum(map(sum, self.shape.matrices))


@dataclass(frozen=True)
class Memory:
    """Bytes per process: each part at its largest, and `total`, the most that is there at once.

    The total is less than the sum: gradients come while activations go, and logits go before both.
    """

    weights: int  # with their copies in bf16, and what FSDP2 has gathered
    gradients: int
    moments: int
    activations: int
    logits: int
    total: int


def memory(workload: Workload) -> Memory:
    """The peak of a step (not the first), as `torch.cuda.max_memory_allocated` finds it, in whole bytes."""
    shape, layers, is_full = workload.shape, workload.shape.layers, workload.strategy == "full"
    wide = 2 if workload.precision == "bf16" else 4  # bytes of what a matrix product takes and gives
    read = math.ceil(workload.rows / workload.processes) * workload.tokens
    share = workload.processes if workload.shard else 1
    table, adapters = shape.vocabulary * shape.width, 0 if is_full else workload.trainable

    # What stands during the whole step. Tables and norms are never in 4 bits. FSDP2 gathers a layer and the
    # next one ahead, and what stands in no layer stays whole; DDP has a second set of gradients, its buckets.
    outside = (2 if workload.base_bits == 16 else 4) * (shape.parameters - shape.in_layers)
    inside = shape.in_layers * BASES[workload.base_bits] + 4 * adapters
    gathered = outside + 2 * inside * wide / 4 / layers if workload.shard else 0
    weights, moved = (outside + inside) / share + gathered, 4 * workload.trainable
    buckets = moved if workload.processes > 1 and not workload.shard else 0

    # Autocast's copies of matrices in bf16 are kept for the backward pass; of 4 bits the codes alone are, and
    # FSDP2 gathers a layer in bf16 anyway.
    copied = 2 * ((shape.in_layers if workload.base_bits == 32 else 0) + adapters)
    copied = copied if wide == 2 and not workload.shard else 0
    last = 2 * table if wide == 2 and workload.base_bits != 16 else 0
    one_layer = read * _kept_per_token(workload, wide)
    logits = 12 * math.ceil(workload.learnt_share * read) * shape.vocabulary  # three in float32, backwards
    # Gradients inside of a layer, of one matrix of it, and of the table, which is used twice.
    within = read * (3 * wide * shape.mlp_width + 16 * shape.width)
    within += 4 * (table + shape.width * shape.mlp_width) if is_full else 0
    ends = read * (8 + wide) * shape.width  # the last norm
    if workload.activation_checkpointing:
        kept, again = 4 * layers * shape.width * read + ends, one_layer + copied / layers
        # The copies of what moves are held by autocast until the forward pass ends.
        forward, copies = kept + last + logits * 2 / 3 + (copied if is_full else 0), last
    else:
        kept, again, forward, copies = layers * one_layer + ends, 0, 0, copied + last
    begin = kept + copies + max(logits, again + within)  # of the backward pass
    most = max(forward, begin, moved / share + again + within)
    total = weights + buckets + 2 * moved / share + most
    parts = (weights + copies, moved / share + buckets, 2 * moved / share, kept + again, logits, total)
    return Memory(*map(round, parts))


def _kept_per_token(workload: Workload, wide: int) -> int:
    """Bytes that autograd keeps of one layer for one token, operation by operation."""
    shape, is_full = workload.shape, workload.strategy == "full"
    norms = (16 if is_full else 8) * shape.width + 8  # in float32; a frozen one keeps its input alone
    # Autocast casts the input of each matrix anew: there are five of the layer's width, with LoRA six.
    inputs = 2 if wide == 4 else 5 if is_full else 6
    narrow = shape.matrices[1][1]
    attention = 2 * shape.width + 2 * narrow  # query, output, key, value
    if wide == 4 and narrow < shape.width:  # no fast kernel: all pairs, and a key and a value for each head
        attention += shape.heads * workload.tokens + 2 * (shape.width - narrow)
    ranks = 0 if is_full else len(shape.matrices) * workload.rank
    products = inputs * shape.width + attention + 4 * shape.mlp_width + ranks
    return norms + wide * products + 4 * shape.heads


@dataclass(frozen=True)
class Card:
    """A GPU as its data sheet has it, of dense products."""

    memory: float  # bytes
    bf16: float  # operations per second
    float32: float
    watts: float


CARDS = {
    "rtx4090": Card(24e9, 165e12, 83e12, 450),
    "l4": Card(24e9, 121e12, 30e12, 72),
    "a100": Card(80e9, 312e12, 19.5e12, 400),
    "h100": Card(80e9, 989e12, 67e12, 700),
    "h200": Card(141e9, 989e12, 67e12, 700),
}


def operations(workload: Workload) -> float:
    """Floating-point operations of training per token: 6 for each parameter that moves, 4 for a frozen one,
    2 more for what activation checkpointing computes again, and attention's over the tokens before.
    """
    shape, again = workload.shape, 1 if workload.activation_checkpointing else 0
    passes = 3 if workload.strategy == "full" else 2  # a frozen matrix needs no gradient of its own
    last = workload.learnt_share * shape.vocabulary * shape.width
    adapters = workload.trainable if workload.strategy == "lora" else 0
    products = shape.in_layers * (passes + again) + last * passes + adapters * (3 + again)
    return 2 * products + 2 * shape.layers * workload.tokens * shape.width * (3 + again)


def duration(workload: Workload, tokens: float, card: Card, cards: int, efficiency: float) -> float:
    """Seconds of training on so many tokens, at `efficiency` (0 to 1) of the cards' peak."""
    peak = card.bf16 if workload.precision == "bf16" else card.float32
    return tokens * operations(workload) / (cards * peak * efficiency)


def remedy(workload: Workload, room: float) -> Workload | None:
    """The nearest workload whose step needs at most `room` bytes: fewer rows first, whose gradients can be
    added up over several steps, then activation checkpointing, sharding, LoRA, LoRA on 4 bits.
    """
    counts = (math.ceil(workload.rows / 2**power) for power in range(workload.rows.bit_length()))
    rows = [{"rows": count} for count in counts if count >= workload.processes]
    lora, shards = {"strategy": "lora"}, [{}] + [{"shard": True}] * (workload.processes > 1)
    ways = itertools.product([{}, lora, lora | {"base_bits": 4}], shards, [False, True], rows)
    for base, shard, keep, fewer in ways:
        keep = {"activation_checkpointing": keep or workload.activation_checkpointing}
        changed = replace(workload, **base, **shard, **keep, **fewer)
        if memory(changed).total <= room:
            return changed
    return None
