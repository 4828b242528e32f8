"""The planner counts what the course's own loop allocates, and what transformers builds."""

import json
import weakref
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import assets
from helpers.cli import main
from helpers.errors import InputError
from helpers.models.low_bit import to_low_bit
from helpers.planner import (
    CARDS,
    SHAPES,
    ModelShape,
    Workload,
    duration,
    memory,
    operations,
    remedy,
    shape_of,
)
from helpers.training.loop import backward
from helpers.training.losses import CausalLM
from helpers.training.runtime import Runtime
from helpers.tuning.freezing import begin_strategy
from helpers.tuning.lora import add_lora
from helpers.tuning.optimization import make_optimizer, parameter_groups

SMALL = ModelShape("small", 4, 128, 4, 2, 384, 2048, True)
ROWS = Workload(SMALL, rows=8, tokens=64)
LARGE = SHAPES["smollm2-1.7b"]


def config_of(shape):
    return LlamaConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, intermediate_size=shape.mlp_width, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip


class Peak(TorchDispatchMode):
    """The most bytes of tensors that are alive at once, as PyTorch makes them and Python lets them go."""

    def __init__(self, there):
        super().__init__()
        self.now = self.most = 0
        self.known = {}
        for tensor in there:
            self.note(tensor)

    def note(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return

        def gone(_):
            self.now -= size
            del self.known[key]

        self.known[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor)
        return result


def measured_peak(workload):
    """Of the second step of the course's loop; the first one makes the moments."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(config_of(workload.shape))
    if workload.base_bits == 4:
        to_low_bit(model)
    if workload.strategy == "lora":
        add_lora(model, rank=workload.rank)
    begin_strategy(model, workload.strategy)
    if workload.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    runtime = Runtime(model, workload.precision)
    optimizer = make_optimizer("adamw", parameter_groups(model, 1e-4))
    ids = torch.randint(3, 100, (workload.rows, workload.tokens))
    labels = ids.where(torch.arange(workload.tokens) < workload.learnt_share * workload.tokens, -100)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    # A GPU has no faster kernel for grouped attention in float32, a CPU has.
    kernel = SDPBackend.MATH if workload.precision == "no" else SDPBackend.FLASH_ATTENTION
    with sdpa_kernel(kernel), Peak([*model.parameters(), *model.buffers()]) as peak:
        for _ in range(2):
            peak.most = peak.now
            backward(model, [batch], CausalLM(), runtime)
            runtime.step(model, optimizer, 1.0)
    return peak.most


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "no"},
        {"strategy": "lora"},
        {"strategy": "lora", "base_bits": 4},
        {"strategy": "lora", "precision": "no", "learnt_share": 0.25},
        {"activation_checkpointing": True},
        {"strategy": "lora", "activation_checkpointing": True, "learnt_share": 0.25},
        {"rows": 1, "tokens": 16},
    ],
    ids=str,
)
def test_the_peak_of_a_step_is_foretold(changes):
    workload = replace(ROWS, **changes)
    assert memory(workload).total == pytest.approx(measured_peak(workload), rel=0.1)


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_transformers(name):
    config = config_of(SHAPES[name])
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == SHAPES[name].parameters
    assert replace(shape_of(config), name=name) == SHAPES[name]
    add_lora(model, rank=16)
    begin_strategy(model, "lora")
    moving = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert moving == Workload(SHAPES[name], 1, 1, "lora", rank=16).trainable


def test_the_shape_of_the_course_s_model_is_read_from_its_folder():
    assert replace(shape_of(assets.path("smollm2")), name="smollm2-135m") == SHAPES["smollm2-135m"]


def test_operations_follow_what_moves():
    long = Workload(LARGE, rows=1, tokens=1)
    count = LARGE.parameters
    assert operations(long) == pytest.approx(6 * count, rel=0.01)
    assert operations(replace(long, strategy="lora", rank=1)) == pytest.approx(4 * count, rel=0.01)
    again = operations(replace(long, activation_checkpointing=True)) - operations(long)
    assert again == pytest.approx(2 * LARGE.in_layers, rel=0.01)
    card = CARDS["h100"]
    alone = duration(long, 1e9, card, 1, 0.4)
    assert alone == pytest.approx(1e9 * operations(long) / (0.4 * card.bf16))
    assert duration(long, 1e9, card, 4, 0.4) == pytest.approx(alone / 4)
    assert duration(replace(long, precision="no"), 1e9, card, 1, 0.4) > 10 * alone


def test_sharing_out_divides_what_moves_and_copies_do_not():
    alone = memory(Workload(LARGE, rows=8, tokens=512))
    copies = memory(Workload(LARGE, rows=8, tokens=512, processes=8))
    shared = memory(Workload(LARGE, rows=8, tokens=512, processes=8, shard=True))
    assert copies.moments == alone.moments == 8 * LARGE.parameters == 8 * shared.moments
    assert copies.activations == pytest.approx(alone.activations / 8)
    assert copies.gradients == 2 * alone.gradients == 16 * shared.gradients
    assert shared.total < copies.total / 2


def test_the_nearest_change_that_makes_it_fit():
    full = Workload(LARGE, rows=8, tokens=1024)
    need = lambda **changes: memory(replace(full, **changes)).total
    assert remedy(full, need(rows=4)) == replace(full, rows=4)
    again = replace(full, rows=1, tokens=8192, activation_checkpointing=True)
    assert remedy(replace(again, activation_checkpointing=False), memory(again).total) == again
    assert remedy(again, memory(again).total - 1).strategy == "lora"
    two = replace(again, rows=2, processes=2)
    assert remedy(two, memory(two).total - 1) == replace(two, shard=True)
    assert remedy(full, 1e9) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "head"}, {"precision": "fp16"}, {"base_bits": 4}, {"base_bits": 8, "strategy": "lora"},
        {"rows": 0}, {"tokens": 0}, {"rank": 0}, {"processes": 9}, {"learnt_share": 0.0},
        {"learnt_share": 1.1},
    ],
    ids=str,
)  # fmt: skip
def test_a_workload_that_cannot_be_is_refused(changes):
    with pytest.raises(InputError, match="must be"):
        replace(ROWS, **changes)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "has no config.json that can be read"),
        ({"model_type": "gpt2"}, "of the form 'gpt2', are not counted"),
        ({"model_type": "llama"}, "is damaged"),
        (config_of(SMALL).to_dict() | {"attention_bias": True}, "without biases"),
        (config_of(SMALL).to_dict() | {"head_dim": 64}, "whose heads together are not 128 wide"),
    ],
)
def test_a_model_that_is_not_counted_is_refused(config, sentence, tmp_path):
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        shape_of(tmp_path)


def test_the_command_says_whether_it_fits_and_what_to_change(capsys):
    call = ["plan", "--model", "smollm2-1.7b", "--strategy", "full", "--card"]
    assert main([*call, "h100"]) == 0
    assert "fits: 55.6 GB at once, and one h100 has room for 76.0 GB" in capsys.readouterr().out
    assert main([*call, "l4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fits"], found["parameters"]) == (False, LARGE.parameters)
    assert "largest part: activations" in found["verdict"]
    assert "change first: --" in found["verdict"]


def test_the_command_tells_time_energy_and_cost_of_given_numbers_alone(capsys):
    call = ["plan", "--model", "smollm2-135m", "--cards", "2", "--train-tokens", "1e9", "--json"]
    assert main([*call, "--efficiency", "0.5", "--price", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    hours = 2 * found["seconds"] / 3600
    assert found["kwh"] == pytest.approx(0.7 * hours)
    assert found["cost"] == pytest.approx(3 * hours)
    for wrong in (["--efficiency", "2"], ["--efficiency", "0.5", "--price", "-1"], ["--rows", "1"]):
        assert main([*call, *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
