"""What a model costs before you run it: parameters, training memory, operations, energy (chapter 01).

For language models of Llama's form `helpers.planner` counts memory and operations from their shape alone.

Nothing here needs the model's memory: models are built on the `meta` device (shapes without numbers) and run
on fake tensors.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from helpers.errors import InputError
from lessons.kept_tensors import kept_bytes
from lessons.parameters import count_parameters  # noqa: F401  (chapter 01 reads it as part of `sizes`)

# Values that an optimizer keeps per parameter, all float32 here: AdamW two running means, momentum one.
OPTIMIZER_VALUES = {"sgd": 0, "sgd with momentum": 1, "adamw": 2}
# of the released weights, without heads for a task; chapter 01 compares them with the papers' round figures
PUBLISHED_PARAMETERS = {
    "gpt2": 124_439_808,
    "bert-base-uncased": 109_482_240,
    "roberta-base": 124_645_632,
    "t5-base": 222_903_552,
    "resnet50": 25_557_032,
}


def architecture(name: str) -> nn.Module:
    """A well-known architecture on the `meta` device: every shape, no weights, no memory.

    Args:
        name: one of "gpt2", "gpt2-xl", "gpt3", "bert-base-uncased", "bert-large-uncased", "roberta-base",
            "t5-base", "resnet50", "resnet152"; "gpt3" is GPT-2's architecture with the depth and width that
            the GPT-3 paper gives.

    Raises:
        InputError: another name.
    """
    import torchvision
    import transformers as t

    large = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    }
    roberta = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
    builders = {
        "gpt2": lambda: t.GPT2Model(t.GPT2Config()),
        "gpt2-xl": lambda: t.GPT2Model(t.GPT2Config(n_embd=1600, n_layer=48, n_head=25)),
        "gpt3": lambda: t.GPT2Model(t.GPT2Config(n_embd=12288, n_layer=96, n_head=96, n_positions=2048)),
        "bert-base-uncased": lambda: t.BertModel(t.BertConfig()),
        "bert-large-uncased": lambda: t.BertModel(t.BertConfig(**large)),
        "roberta-base": lambda: t.RobertaModel(t.RobertaConfig(**roberta)),
        "t5-base": lambda: t.T5Model(t.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12)),
        "resnet50": lambda: torchvision.models.resnet50(weights=None),
        "resnet152": lambda: torchvision.models.resnet152(weights=None),
    }
    if name not in builders:
        raise InputError(f"the architecture must be one of {', '.join(builders)}, found {name!r}")
    with torch.device("meta"):
        return builders[name]()


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """Parameters of embeddings, attention, feed-forward layers, convolutions, normalisation, and the rest.

    They add up to `count_parameters`.

    Attention is recognised by the name of the module ("attn", "attention"), the others by their type;
    whatever is left, such as a pooler or a classification head, is "other".
    """
    parts = dict.fromkeys(
        ("embeddings", "attention", "feed-forward", "convolutions", "normalisation", "other"), 0
    )
    seen = set()
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                parts[_part(name.lower(), module)] += parameter.numel()
    return parts


def _part(name: str, module: nn.Module) -> str:
    kind = type(module).__name__.lower()
    if "norm" in kind:
        return "normalisation"
    if isinstance(module, nn.Conv2d):
        return "convolutions"
    if any(word in name for word in ("attn", "attention")):
        return "attention"
    if isinstance(module, nn.Embedding) or "embedding" in name:
        return "embeddings"
    in_block = any(word in name for word in ("mlp", "intermediate", "output.dense", "densereludense"))
    return "feed-forward" if in_block else "other"


@dataclass(frozen=True)
class Memory:
    """What a training step holds, in bytes.

    Attributes:
        weights, gradients, optimizer: one set each for as long as the training lasts (gradients: during a
            step).
        activations: what the forward pass saves for the backward pass; gone when the optimizer steps.
        workspace: what the optimizer's step holds in their place.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int = 0

    @property
    def total(self) -> int:
        """All parts together: the safe plan, and true where gradients stay between steps (accumulation)."""
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.workspace)

    @property
    def peak(self) -> int:
        """What a step reaches when gradients start as None.

        They come while the activations go, so both are never there in full.
        """
        return self.weights + self.optimizer + max(self.activations, self.gradients + self.workspace)


def training_memory(
    model: nn.Module, inputs, *, optimizer: str = "adamw", precision: str = "float32"
) -> Memory:
    """Memory of one training step of `model` on `inputs`, without allocating it.

    Args:
        model: real or on the meta device; frozen parameters count as weights only.
        inputs: one tensor, or a dictionary of keyword arguments; only shapes and types are read.
        optimizer: one of `OPTIMIZER_VALUES`.
        precision: "float32", or "mixed" (autocast to bfloat16: the weights stay float32, their bfloat16
            copies count as activations).

    Raises:
        InputError: another optimizer or precision.

    Source: `peak` was measured against `measured_training_memory` in chapter 01 and tests/test_sizes.py:
        within 2% for MiniLM from 8 x 16 to 32 x 128; too low by 4% for EfficientNet-Lite0 with 32 images and
        by 16% with 8, since convolutions need some 30 MB of scratch space that is not in it. Nor is what a
        layer holds for a moment in the forward pass.
    """
    if optimizer not in OPTIMIZER_VALUES:
        raise InputError(f"the optimizer must be one of {', '.join(OPTIMIZER_VALUES)}, found {optimizer!r}")
    if precision not in ("float32", "mixed"):
        raise InputError(
            f"the precision must be float32 or mixed, found {precision!r}; convert the model itself to plan "
            "plain bfloat16"
        )
    trainable = [p.nbytes for p in model.parameters() if p.requires_grad]
    weights = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    kept = OPTIMIZER_VALUES[optimizer] * sum(trainable)
    # On a CPU AdamW takes one parameter after the other.
    workspace = 2 * max(trainable, default=0) if optimizer == "adamw" else 0
    return Memory(
        weights, sum(trainable), kept, saved_activations(model, inputs, precision=precision), workspace
    )


def saved_activations(model: nn.Module, inputs, *, precision: str = "float32") -> int:
    """Bytes that the forward pass in training mode keeps for the backward pass, without the weights."""
    with _fake(model, inputs) as (call, own), _autocast(precision):
        return kept_bytes(call, own)


def step_flops(model: nn.Module, inputs, *, backward: bool = True) -> int:
    """Floating-point operations of one training step; a multiply-add is two.

    PyTorch counts the forward pass as the operators run; only matrix products, convolutions and attention
    count, the rest is limited by memory, not by arithmetic. The backward pass is taken as twice the forward
    pass: one product for the gradient of the inputs, one for that of the weights. (PyTorch 2.15's own count
    of it ignores the groups of grouped convolutions.)

    Args:
        model, inputs: as in `training_memory`.
        backward: False for the forward pass alone.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with _fake(model, inputs) as (call, _), FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() * (3 if backward else 1)


@contextmanager
def _fake(model: nn.Module, inputs) -> Iterator[tuple[Callable[[], torch.Tensor], list[torch.Tensor]]]:
    """A function that runs the model in training mode on fake tensors, and its fake weights and buffers."""
    # PyTorch has no public name for it. The public meta device would not do: there, operators and autocast
    # are not those of the CPU, and other tensors are kept.
    from torch._subclasses.fake_tensor import FakeTensorMode

    def stand_in(tensor):
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")

    was_training = model.training
    with FakeTensorMode():
        weights = {name: stand_in(p).requires_grad_(p.requires_grad) for name, p in model.named_parameters()}
        buffers = {name: stand_in(b) for name, b in model.named_buffers()}
        keywords = (
            {name: stand_in(value) for name, value in inputs.items()} if isinstance(inputs, dict) else {}
        )
        positional = () if keywords else (stand_in(inputs),)

        def call():
            output = torch.func.functional_call(model, weights | buffers, positional, keywords)
            return output if isinstance(output, torch.Tensor) else output[0]

        try:
            model.train()
            yield call, list((weights | buffers).values())
        finally:
            model.train(was_training)


def _autocast(precision: str, device: str = "cpu"):
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "mixed" else nullcontext()


def measured_peak(step: Callable[[], object], device: torch.device | None = None) -> int:
    """Bytes by which memory rises at its highest while `step()` runs.

    On a GPU (`device`) its allocator knows; on the CPU PyTorch records every allocation. What exists before
    (weights, the optimizer's values) is not in it. The process itself may grow by more, because the C library
    keeps freed pages for later: a quarter more for MiniLM at 32 x 128 on Linux, and nothing more with
    MALLOC_MMAP_THRESHOLD_=65536.
    """
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    # The profiler's notes about missing GPUs would fill a notebook's error stream.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    cpu = [torch.profiler.ProfilerActivity.CPU]
    # Without acc_events torch 2.11 warns, with one cycle, too.
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(str(Path(folder, "trace.json")))
        events = json.loads(Path(folder, "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    level = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"]):
        level += event["args"]["Bytes"]
        peak = max(peak, level)
    return peak


def measured_training_memory(model: nn.Module, inputs, *, precision: str = "float32") -> int:
    """Peak of a real training step with AdamW: what lives between steps, what a step adds (bytes).

    Args:
        model, inputs, precision: as in `training_memory`, but real, on the CPU or a GPU. The learning
            rate is 0: the weights stay as they are.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)
    device = next(model.parameters()).device

    def step(rows=None):
        with _autocast(precision, device.type):
            output = (
                model(**{name: x[:rows] for name, x in inputs.items()})
                if isinstance(inputs, dict)
                else model(inputs[:rows])
            )
        (output if isinstance(output, torch.Tensor) else output[0]).float().logsumexp(-1).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    was_training = model.training
    model.train()
    step(rows=2)  # creates the optimizer's values
    peak = measured_peak(step, device)
    model.train(was_training)
    kept = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers(), *kept]) + peak


def training_compute(parameters: float, tokens: float) -> float:
    """6ND: floating-point operations of training a dense Transformer with N parameters on D tokens.

    Two per parameter and token in the forward pass (multiply, add), four in the backward pass. For a sparse
    model N is the number of *active* parameters.

    Source: Kaplan et al., "Scaling Laws for Neural Language Models" (2020), arXiv:2001.08361.
    """
    return 6 * parameters * tokens


@dataclass(frozen=True)
class Energy:
    """Time on the devices (hours, all devices added), electricity (kWh) and emissions (kg CO2 equivalent)."""

    device_hours: float
    kwh: float
    kg_co2: float


def energy(
    flops: float,
    *,
    peak_flops: float,
    utilisation: float,
    watts: float,
    pue: float = 1.1,
    kg_co2_per_kwh: float = 0.4,
) -> Energy:
    """Electricity for `flops` operations: flops / (peak_flops x utilisation) x watts x pue.

    Args:
        flops: operations of the whole training.
        peak_flops: operations per second of one device, at the precision used (1/s).
        utilisation: share of the peak that the training reaches (0 to 1).
        watts: power of one device with its share of the host (W).
        pue: power usage effectiveness, the building's electricity over the computers' (1 or more).
        kg_co2_per_kwh: emissions of the power grid (kg/kWh).

    Source: the factors of Patterson et al., "Carbon Emissions and Large Neural Network Training" (2021),
    arXiv:2104.10350.
    """
    if not (0 < utilisation <= 1 and pue >= 1):
        raise InputError(f"utilisation must be in 0..1 and pue at least 1, found {utilisation} and {pue}")
    hours = flops / (peak_flops * utilisation) / 3600
    kwh = hours * watts / 1000 * pue
    return Energy(hours, kwh, kwh * kg_co2_per_kwh)
