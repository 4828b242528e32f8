"""What `benchmarks/gpu.py` measures, in which order, and how much of it: parts and their entries.

What is wanted most comes first; when time is short, the last entries are missed.
"""

import itertools
import operator
from dataclasses import dataclass
from functools import reduce

from gpu_pack import CLASSES, LAYOUTS, LITE0, RESNET, TEXT
from gpu_parts import PRECISIONS, STEPS

SMALL_LM, MIDDLE_LM, LARGE_LM = "smollm2-135m", "smollm2-360m", "smollm2-1.7b"
LORA, LOW_BIT = {"strategy": "lora"}, {"strategy": "lora", "bits": 4}
AGAIN = {"checkpointing": True}


@dataclass(frozen=True)
class Scale:
    """How much is measured: see `FULL` and, for a dry run, `QUICK`."""

    repeats: int = 5
    seconds: float = 0.1  # least time of one repeat: many short steps are timed together
    warmup: int = 3
    text_batches: tuple = (16, 64, 256)
    tokens: tuple = (32, 128)  # the second with the middle batch only
    networks: tuple = ((LITE0, 96), (LITE0, 224), (RESNET, 224))
    image_batches: tuple = (32, 128, 512)  # all precisions and layouts with the middle one only
    workers: tuple = (0, 4, 8)
    jpegs: int = 64  # files, read again and again
    jpeg_size: tuple = (500, 375)
    loading_batch: int = 64
    windows: int = 3  # repeats of the loading
    window: float = 1.0  # least seconds of each
    recipe_batch: int | None = None  # None: that of the recipe
    phase_steps: int = 30
    memory_texts: tuple = ((8, 16), (32, 32), (32, 128), (256, 128))  # rows and tokens
    memory_images: int = 64
    oom_rows: int = 256
    oom_parts: int = 8
    case_rows: tuple = (2000, 0)  # training rows; 0 is all
    case_epochs: int | None = None  # None: those of the recipe
    tiny: bool = False  # language models of two narrow layers
    language_rows: tuple = ((8, 128), (8, 512), (32, 128), (32, 512))  # rows and tokens
    language_warmup: int = 1  # steps, after the first
    language_repeats: int = 3
    write_batches: tuple = (1, 8, 64)
    write_tokens: tuple = (32, 128)
    writing: float = 1.5  # seconds after which no repeat begins


FULL = Scale()
QUICK = Scale(
    repeats=1, seconds=0.0, warmup=0, text_batches=(1, 2, 3), tokens=(4, 5), image_batches=(2, 3, 4),
    networks=((LITE0, 32), (LITE0, 48), (RESNET, 32)), workers=(0, 2), jpegs=2, jpeg_size=(64, 48),
    loading_batch=2, windows=1, window=0.0, recipe_batch=2, phase_steps=2, memory_texts=((2, 8),),
    memory_images=2, oom_rows=4, oom_parts=2, case_rows=(8,), case_epochs=1,
    tiny=True, language_rows=((2, 8), (2, 12)), language_warmup=0, language_repeats=1, write_batches=(1, 2),
    write_tokens=(4,), writing=0.0,
)  # fmt: skip
QUICK_ROWS = 16  # of each split


@dataclass(frozen=True)
class Part:
    """One part of the measurement.

    Attributes:
        function: name of the function in `gpu_parts` or `gpu_language`.
        entries: the arguments of its calls, in order.
        needs: seconds that must be left to begin an entry, at full scale.
        expected: seconds of an entry at full scale, as a guess for the person who waits.
    """

    function: str
    entries: list[dict]
    needs: float = 5.0
    expected: float = 1.0


def plan(scale: Scale) -> dict[str, Part]:
    """Every part with its entries; the last ones are those to miss first when time is short."""
    precisions, modes = axis("precision", PRECISIONS), axis("mode", STEPS)
    small, middle, large = scale.image_batches
    networks = [{"model": model, "size": size} for model, size in scale.networks]
    first, lite0, _ = networks
    texts = [{"model": TEXT, "batch": batch, "tokens": scale.tokens[0]} for batch in scale.text_batches]
    texts.append({"model": TEXT, "batch": scale.text_batches[1], "tokens": scale.tokens[1]})
    is_training, half = axis("mode", ["training"]), [{"layout": "channels_last", "precision": "bf16"}]
    images = product([first], is_training, axis("batch", [middle]), axis("layout", LAYOUTS), precisions)
    others = product(axis("batch", [middle]), axis("layout", ["channels_last"]), precisions[::2])
    images += product(networks[1:], is_training, others)
    images += product([lite0], is_training, axis("batch", [small, large]), half)
    images += product(networks, axis("mode", ["inference"]), axis("batch", [middle]), half)
    phases = [{"model": TEXT, "workers": 0}]
    phases += product(axis("model", [LITE0]), axis("workers", [0, max(scale.workers)]))
    memory = [{"model": TEXT, "batch": batch, "tokens": tokens} for batch, tokens in scale.memory_texts]
    memory += product(networks, axis("batch", [scale.memory_images]))
    parts = [{"model": TEXT, "tokens": scale.tokens[1], "batch_norm": "none"}]
    parts += product([lite0], axis("batch_norm", ["of each part", "frozen"]))
    loading = product(networks[::2], is_training, axis("workers", scale.workers))
    loading += product([lite0], axis("mode", ["inference"]), axis("workers", scale.workers[::2]))
    cases = product(axis("training_rows", scale.case_rows), axis("task", CLASSES))
    writing = product(axis("cache", [True, False]), axis("tokens", scale.write_tokens))
    writing = product([{"model": SMALL_LM}], axis("batch", scale.write_batches), writing)
    return {
        "rounding": Part("rounding", precisions, expected=0.2),
        "planner": Part("training", planned(scale), 12, 6),
        "training": Part("training", language_entries(scale), expected=3.5),
        "sharing_out": Part("training", sharing_entries(scale), expected=3.5),
        "writing": Part("writing", writing, 10, 3.5),
        "phases": Part("phases", product(phases, axis("synchronised", [True, False])), expected=3),
        "memory": Part("memory", product(memory, axis("precision", ["float32", "bf16"])), expected=1.5),
        "out_of_memory": Part("out_of_memory", parts, expected=4),
        "case_studies": Part("case_study", cases, 45, 20),
        "text_speed": Part("throughput", product(texts, modes, precisions), expected=1.1),
        "image_speed": Part("throughput", images, expected=3),
        "compile": Part("compiled", [texts[1], first | {"batch": middle}], 45, 30),
        "loading": Part("loading", loading, 8, 6),
    }


def planned(scale: Scale) -> list[dict]:
    """Trainings of 2 to 60 GB, whose peak the planner must foretell; the last has rows with padding."""
    half = {"precision": "bf16"}
    entries = [
        {"model": SMALL_LM, "batch": 8, "tokens": 128} | LOW_BIT | half,
        {"model": SMALL_LM, "batch": 8, "tokens": 512, "strategy": "full"} | half,
        {"model": MIDDLE_LM, "batch": 16, "tokens": 1024} | LORA | AGAIN | half,
        {"model": LARGE_LM, "batch": 16, "tokens": 1024, "strategy": "full"} | AGAIN | half,
        {"model": LARGE_LM, "batch": 8, "tokens": 1024} | LORA | half,
        {"model": LARGE_LM, "batch": 8, "tokens": 1024, "strategy": "full"} | half,
        {"model": SMALL_LM, "batch": 8, "tokens": 512, "padding": True} | LORA | half,
    ]
    return [entry | {"batch": 2, "tokens": 8} for entry in entries] if scale.tiny else entries


def language_entries(scale: Scale) -> list[dict]:
    """Each way to train in bf16 with each batch, then the long rows in float32, then computed again."""
    ways = [{"model": SMALL_LM} | way for way in ({"strategy": "full"}, LORA, LOW_BIT)]
    sizes = [{"batch": batch, "tokens": tokens} for batch, tokens in scale.language_rows]
    half, single = {"precision": "bf16"}, {"precision": "float32"}
    entries = product(ways, sizes, [half]) + product(ways, sizes[-1:], [single])
    return entries + product(ways, sizes[-1:], [half | AGAIN])


def sharing_entries(scale: Scale) -> list[dict]:
    """FSDP2 in one process beside none, in bf16 and in float32."""
    batch, tokens = scale.language_rows[1]
    step = {"model": SMALL_LM, "strategy": "full", "batch": batch, "tokens": tokens}
    return product([step], axis("precision", ["bf16", "float32"]), axis("shared_out", [False, True]))


def axis(name: str, values) -> list[dict]:
    """One argument with each of its values."""
    return [{name: value} for value in values]


def product(*axes: list[dict]) -> list[dict]:
    """Every combination of entries of the axes, the last axis the fastest."""
    return [reduce(operator.or_, entries) for entries in itertools.product(*axes)]
