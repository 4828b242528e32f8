"""What `benchmarks/gpu.py` measures of language models: training, sharing out, the planner, writing.

The models have the shape of SmolLM2 and random weights, drawn on the GPU: neither speed nor memory depends on
what the numbers are, and the real ones are too large to travel.
"""

import functools
import math
import re
import time
from dataclasses import replace

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

from gpu_pack import Bench
from gpu_parts import SMALL_RATE, figure, numbers, peak_of, seconds
from helpers.models.low_bit import to_low_bit
from helpers.planner import CARDS, SHAPES, Card, ModelShape, Workload, memory, operations
from helpers.training.loop import backward
from helpers.training.losses import CausalLM
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import begin_strategy
from helpers.tuning.lora import add_lora
from helpers.tuning.optimization import make_optimizer, parameter_groups

RANK = 32
PROMPT = 32  # tokens that a text begins with
TINY = ModelShape("tiny", 2, 64, 2, 1, 128, 256, True)  # for a dry run


def shape_of(bench: Bench, model: str) -> ModelShape:
    """The shape to measure: that of the model, but in a dry run."""
    return TINY if bench.scale.tiny else SHAPES[model]


def random_model(bench: Bench, model: str) -> LlamaForCausalLM:
    """A model of this shape on the device, with random weights in float32."""
    bench.forget()
    shape = shape_of(bench, model)
    sizes = {"hidden_size": shape.width, "intermediate_size": shape.mlp_width, "vocab_size": shape.vocabulary}
    heads = {"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": shape.tied}
    config = LlamaConfig(
        num_hidden_layers=shape.layers, max_position_embeddings=8192, **sizes, **heads, **ends
    )
    torch.manual_seed(0)
    with bench.device:
        return LlamaForCausalLM(config)


def training(
    bench: Bench,
    model: str,
    strategy: str,
    precision: str,
    batch: int,
    tokens: int,
    bits: int = 32,
    checkpointing: bool = False,
    shared_out: bool = False,
    padding: bool = False,
) -> dict:
    """Tokens per second and peak memory of the loop's steps, beside what the planner says.

    Args:
        bits: of the weights below LoRA.
        checkpointing: whether each layer is computed again in the backward pass.
        shared_out: whether FSDP2 holds the model, in this one process.
        padding: whether every second row ends with a token of padding, for which attention needs a mask.
    """
    start = time.perf_counter()
    network = random_model(bench, model)
    before = torch.cuda.memory_allocated() if bench.on_gpu else 0
    before -= sum(p.numel() * p.element_size() for p in network.parameters())  # what others hold
    if bits == 4:
        to_low_bit(network)
    if strategy == "lora":
        add_lora(network, rank=RANK, alpha=2 * RANK)
    begin_strategy(network, strategy)
    if checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    rows = language_rows(shape_of(bench, model).vocabulary, batch, tokens, padding, bench.device)
    with numbers(precision, bench) as name:
        runtime = Runtime(network, name)
        if shared_out:
            share_out_alone(network, name, bench)
        call = functools.partial(one_step(network, runtime), rows)
        for _ in range(1 + bench.scale.language_warmup):
            call()
        steps = max(1, math.ceil(bench.scale.seconds / seconds(call)))
        times = [seconds(call, steps) / steps for _ in range(bench.scale.language_repeats)]
        peak = peak_of(call, bench)
    speeds = figure([batch * tokens / each for each in times], "tokens/s")
    options = {"base_bits": bits, "rank": RANK, "precision": name, "activation_checkpointing": checkpointing}
    workload = Workload(shape_of(bench, model), batch, tokens, strategy, **options)
    found = {"speed": speeds, "planned_bytes": memory(workload).total, "peak_bytes": peak}
    if bench.on_gpu:
        found["peak_bytes"] = peak - before
        found["ratio"] = round(found["planned_bytes"] / found["peak_bytes"], 4)
        found |= used(workload, speeds["median"])
    found["seconds"] = round(time.perf_counter() - start, 2)
    return found


def language_rows(vocabulary: int, batch: int, tokens: int, padding: bool, device: torch.device) -> dict:
    """Random tokens, all of them to be learnt."""
    ids = torch.randint(3, vocabulary, (batch, tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if padding:
        mask[1::2, -1] = 0
    rows = {"input_ids": ids, "attention_mask": mask, "labels": ids.clone()}
    return {name: tensor.to(device) for name, tensor in rows.items()}


def one_step(network: nn.Module, runtime: Runtime):
    """One optimizer step of the course's loop on a batch."""
    optimizer = make_optimizer("adamw", parameter_groups(network, SMALL_RATE))
    network.train()

    def step(batch: dict) -> None:
        backward(network, [batch], CausalLM(), runtime)
        runtime.step(network, optimizer, 1.0)

    return step


def share_out_alone(network: nn.Module, precision: str, bench: Bench) -> None:
    """FSDP2 with one process: all of its gathering and freeing, nothing to exchange with anybody."""
    if not torch.distributed.is_initialized():
        alone = {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
        torch.distributed.init_process_group("nccl" if bench.on_gpu else "gloo", **alone)
    exchange = MixedPrecisionPolicy()
    if precision == "bf16" and bench.on_gpu:
        half = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32}
        exchange = MixedPrecisionPolicy(**half, cast_forward_inputs=False)
    mesh = init_device_mesh(bench.device.type, (1,))
    for layer in network.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=exchange)
    fully_shard(network, mesh=mesh)


def used(workload: Workload, tokens_per_second: float) -> dict:
    """Shares of the card's peak: of all that it computes, and without what checkpointing computes twice."""
    card = this_card()
    if card is None:
        return {}
    peak = card.bf16 if workload.precision == "bf16" else card.float32
    useful = operations(replace(workload, activation_checkpointing=False))
    shares = {"efficiency": operations(workload), "mfu": useful}
    return {name: round(count * tokens_per_second / peak, 4) for name, count in shares.items()}


def this_card() -> Card | None:
    """The planner's card that this machine has."""
    return card_named(torch.cuda.get_device_name())


def card_named(name: str) -> Card | None:
    """The planner's card of that name: an L40 is no L4, "H100 80GB" an H100, "RTX 4090" an rtx4090."""
    name = re.sub(r"(?<=[a-z]) (?=\d)", "", name.lower())
    return next((card for key, card in CARDS.items() if re.search(rf"{key}(?!\d)", name)), None)


def writing(bench: Bench, model: str, cache: bool, batch: int, tokens: int) -> dict:
    """Tokens per second of rows that are written together, in bf16, the best token at each place.

    Args:
        cache: whether keys and values of earlier tokens are kept; else all are computed again for each one.
        tokens: new ones, after a prompt of 32.
    """
    network = random_model(bench, model).to(torch.bfloat16).eval()
    ids = language_rows(shape_of(bench, model).vocabulary, batch, PROMPT, False, bench.device)["input_ids"]

    def write(count: int) -> None:
        length = {"max_new_tokens": count, "min_new_tokens": count}  # whatever it would end with
        mask = torch.ones_like(ids)
        network.generate(ids, attention_mask=mask, do_sample=False, use_cache=cache, pad_token_id=2, **length)

    write(4)
    times = []
    while not times or (sum(times) < bench.scale.writing and len(times) < bench.scale.repeats):
        times.append(seconds(functools.partial(write, tokens)))
    speeds = figure([batch * tokens / each for each in times], "tokens/s")
    return {"speed": speeds}
