"""Estimates against reality: published counts, measured memory, hand-counted operations, known bills."""

import math
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.errors import InputError
from helpers.files import ROOT
from helpers.models.pretrained import image_classifier
from lessons.ch01 import sizes

LAYERS, HIDDEN, HEADS = 6, 384, 12  # MiniLM


@pytest.fixture(scope="module")
def efficientnet():
    return image_classifier(classes=tuple("abcdefghij")).model


def texts(rows, length):
    return {name: torch.ones(rows, length, dtype=torch.long) for name in ("input_ids", "attention_mask")}


def images(rows, pixels=96):
    return torch.zeros(rows, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("name", "published"), sizes.PUBLISHED_PARAMETERS.items())
def test_parameters_equal_the_published_count(name, published):
    model = sizes.architecture(name)
    assert all(p.is_meta for p in model.parameters())
    assert sizes.count_parameters(model) == published
    assert sum(sizes.parameters_by_part(model).values()) == published


def test_resnet50_agrees_with_what_torchvision_publishes():
    from torchvision.models import ResNet50_Weights

    meta = ResNet50_Weights.IMAGENET1K_V2.meta
    assert meta["num_params"] == sizes.PUBLISHED_PARAMETERS["resnet50"]
    flops = sizes.step_flops(sizes.architecture("resnet50"), torch.zeros(1, 3, 224, 224), backward=False)
    assert flops / 2e9 == pytest.approx(meta["_ops"], rel=0.01)  # torchvision's "GFLOPS" are multiply-adds


@pytest.mark.parametrize(
    ("name", "paper"),
    [("gpt2-xl", 1.5e9), ("gpt3", 175e9), ("bert-large-uncased", 340e6), ("resnet152", 60.2e6)],
)
def test_larger_architectures_come_out_as_the_papers_round_them(name, paper):
    assert sizes.count_parameters(sizes.architecture(name)) == pytest.approx(paper, rel=0.04)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="gpt4"):
        sizes.architecture("gpt4")
    with pytest.raises(InputError, match="lion"):
        sizes.training_memory(nn.Linear(2, 2), torch.zeros(1, 2), optimizer="lion")
    with pytest.raises(InputError, match="float16"):
        sizes.training_memory(nn.Linear(2, 2), torch.zeros(1, 2), precision="float16")
    with pytest.raises(InputError, match="utilisation"):
        sizes.energy(1.0, peak_flops=1, utilisation=40, watts=1)


def test_tied_weights_count_once():
    import transformers

    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    assert sizes.count_parameters(model) == sizes.PUBLISHED_PARAMETERS["gpt2"]
    assert sum(sizes.parameters_by_part(model).values()) == sizes.PUBLISHED_PARAMETERS["gpt2"]
    assert (
        sum(t.numel() for t in model.state_dict().values())
        == sizes.PUBLISHED_PARAMETERS["gpt2"] + 50257 * 768
    )


def test_parts_of_minilm_by_hand(minilm, efficientnet):
    parts = sizes.parameters_by_part(minilm)
    assert parts["attention"] == LAYERS * 4 * (HIDDEN**2 + HIDDEN)
    assert parts["feed-forward"] == LAYERS * (8 * HIDDEN**2 + 5 * HIDDEN)
    assert parts["embeddings"] == (30522 + 512 + 2) * HIDDEN
    assert parts["normalisation"] == (2 * LAYERS + 1) * 2 * HIDDEN
    assert sizes.parameters_by_part(efficientnet)["other"] == 1280 * 10 + 10


def test_frozen_parameters_are_counted_apart():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    assert sizes.count_parameters(model) == 15 + 8
    memory = sizes.training_memory(model, torch.zeros(5, 4))
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * 23, 4 * 8, 8 * 8)
    # The input of the layer that trains; the frozen layer keeps nothing.
    assert memory.activations == 4 * 5 * 3


def test_activations_of_two_linear_layers_by_hand():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    # The input (7 x 4) for the first layer's weights; tanh's output (7 x 3), which is the last layer's input,
    # once.
    assert sizes.saved_activations(model, torch.zeros(7, 4)) == 4 * (7 * 4 + 7 * 3)


def test_planning_leaves_the_model_as_it_was(efficientnet):
    efficientnet.eval()
    before = {name: tensor.clone() for name, tensor in efficientnet.state_dict().items()}
    sizes.training_memory(efficientnet, images(2))
    sizes.step_flops(efficientnet, images(2))
    assert not efficientnet.training
    assert all(torch.equal(before[name], tensor) for name, tensor in efficientnet.state_dict().items())
    assert all(p.grad is None for p in efficientnet.parameters())


@pytest.mark.parametrize(
    ("rows", "length", "precision"),
    [(32, 128, "float32"), (16, 128, "mixed"), (32, 32, "float32"), (16, 32, "float32"), (4, 16, "float32")],
)
def test_memory_of_minilm_within_15_percent_of_measured(minilm, rows, length, precision):
    estimate = sizes.training_memory(minilm, texts(rows, length), precision=precision)
    measured = sizes.measured_training_memory(minilm, texts(rows, length), precision=precision)
    assert estimate.peak == pytest.approx(measured, rel=0.15)
    assert estimate.total > 0.97 * measured  # the safe plan


@pytest.mark.parametrize("rows", [16, 32])
def test_memory_of_efficientnet_within_15_percent_of_measured(efficientnet, rows):
    assert sizes.training_memory(efficientnet, images(rows)).peak == pytest.approx(
        sizes.measured_training_memory(efficientnet, images(rows)), rel=0.15
    )


def test_memory_without_an_optimizers_values(minilm):
    estimate = sizes.training_memory(minilm, texts(16, 32), optimizer="sgd")
    optimizer = torch.optim.SGD(minilm.parameters(), lr=0.0)

    def step():
        minilm.train()(**texts(16, 32)).logits.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    measured = estimate.weights + sizes.measured_peak(step)
    assert estimate.optimizer == 0
    assert estimate.peak == pytest.approx(measured, rel=0.15)
    assert estimate.total > measured


RESIDENT = """
import re, torch
from torch.nn import functional as F
from helpers.models.pretrained import text_classifier
from lessons.ch01 import sizes
def texts(rows, length):
    return {name: torch.ones(rows, length, dtype=torch.long) for name in ("input_ids", "attention_mask")}
def status(field):
    return 1024 * int(re.search(field + r":\\s+(\\d+) kB", open("/proc/self/status").read()).group(1))
def step(inputs):
    classes = torch.zeros(len(inputs["input_ids"]), dtype=torch.long)
    F.cross_entropy(model(**inputs).logits, classes).backward()
    optimizer.step()
    optimizer.zero_grad()
model = text_classifier().model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
step(texts(1, 8))  # loads libraries, creates the optimizer's values
before = status("VmRSS")
step(texts(16, 128))
plan = sizes.training_memory(model, texts(16, 128))
print(status("VmHWM") - before, plan.peak - plan.weights - plan.optimizer)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_grows_by_what_was_planned():
    """A second ruler that knows nothing of PyTorch: the operating system's.

    The setting makes malloc give freed memory back.
    """
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    grown, planned = map(int, done.stdout.split()[-2:])
    assert planned == pytest.approx(grown, rel=0.15)


def test_measured_peak_sees_what_is_freed_again():
    assert sizes.measured_peak(lambda: torch.zeros(1000, 1000)) == pytest.approx(4e6, rel=0.01)

    def two_after_each_other():
        for _ in range(2):
            torch.zeros(1000, 1000)

    assert sizes.measured_peak(two_after_each_other) == pytest.approx(4e6, rel=0.01)


def test_flops_of_minilm_against_a_hand_count(minilm):
    rows, length = 4, 32
    tokens = rows * length
    # Eight + four products of h x h; scores and mixing.
    layer = 2 * tokens * 12 * HIDDEN**2 + 2 * 2 * rows * length**2 * HIDDEN
    head = 2 * rows * 3 * HIDDEN  # three classes of the mean over the tokens
    assert sizes.step_flops(minilm, texts(rows, length), backward=False) == pytest.approx(
        LAYERS * layer + head, rel=0.001
    )
    assert sizes.step_flops(minilm, texts(rows, length)) == pytest.approx(
        3 * (LAYERS * layer + head), rel=0.001
    )


def test_backward_is_twice_forward_where_pytorch_counts_it(minilm):
    with FlopCounterMode(display=False) as counter:
        minilm(**texts(2, 16)).logits.sum().backward()
    assert sizes.step_flops(minilm, texts(2, 16)) == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_flops_of_efficientnet_against_a_hand_count(efficientnet):
    by_hand, rows = [], 2

    def note(module, _, output):
        weights_per_output = module.weight[0].numel()  # kernel x kernel x channels of its group, or inputs
        by_hand.append(2 * output.numel() * weights_per_output)

    hooks = [
        m.register_forward_hook(note) for m in efficientnet.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    efficientnet.eval()
    with torch.no_grad():
        efficientnet(images(rows))
    for hook in hooks:
        hook.remove()
    assert len(by_hand) > 40
    assert sizes.step_flops(efficientnet, images(rows), backward=False) == pytest.approx(
        sum(by_hand), rel=0.1
    )


def test_six_n_d_meets_the_counter_for_the_layers_of_a_transformer(minilm):
    parts, rows, length = sizes.parameters_by_part(minilm), 8, 32
    layers = parts["attention"] + parts["feed-forward"]
    counted = sizes.step_flops(minilm, texts(rows, length))
    assert sizes.training_compute(layers, rows * length) == pytest.approx(counted, rel=0.1)
    # Embeddings are looked up, not multiplied.
    assert sizes.training_compute(sizes.count_parameters(minilm), rows * length) > 1.8 * counted


def test_energy_reproduces_published_figures():
    # Patterson et al. 2021, table 4: GPT-3 on V100, 24.6 of 125 TFLOP/s, 330 W, PUE 1.10, 0.429 kg/kWh ->
    # 1,287 MWh, 552 t.
    gpt3 = sizes.energy(
        3.14e23, peak_flops=125e12, utilisation=24.6 / 125, watts=330, pue=1.10, kg_co2_per_kwh=0.429
    )
    assert gpt3.kwh == pytest.approx(1_287_000, rel=0.01)
    assert gpt3.kg_co2 == pytest.approx(552_100, rel=0.01)
    # Luccioni et al. 2022, BLOOM: 1,082,990 hours on A100 at 400 W -> 433,196 kWh, 57 g/kWh -> 24.7 t.
    flops = 1_082_990 * 3600 * 312e12 * 0.3
    bloom = sizes.energy(flops, peak_flops=312e12, utilisation=0.3, watts=400, pue=1.0, kg_co2_per_kwh=0.057)
    assert bloom.device_hours == pytest.approx(1_082_990)
    assert bloom.kwh == pytest.approx(433_196, rel=0.001)
    assert bloom.kg_co2 == pytest.approx(24_700, rel=0.01)


class TestTable:
    @pytest.fixture
    def models(self):
        return pd.read_csv(ROOT / "data" / "large_models.csv")

    def test_every_row_is_dated_and_sourced(self, models):
        assert len(models) >= 20
        assert models["name"].is_unique
        assert models["date"].str.fullmatch(r"(19|20)\d\d-(0[1-9]|1[0-2])").all()
        assert models["date"].is_monotonic_increasing
        assert (
            models["source"]
            .map(lambda s: bool(re.search(r"arXiv:\d{4}\.\d{4,5}$|doi:10\.\d{4,}/\S+$|OpenAI 20\d\d$", s)))
            .all()
        )
        assert set(models["family"]) <= {
            "convolutional",
            "recurrent",
            "encoder",
            "decoder",
            "encoder-decoder",
        }
        assert set(models["dense_or_sparse"]) == {"dense", "sparse"}

    def test_no_paper_is_newer_than_its_model_by_more_than_a_month(self, models):
        numbers = models["source"].str.extract(r"arXiv:(\d\d)(\d\d)\.").dropna().astype(int)
        submitted = (2000 + numbers[0]) * 12 + numbers[1]
        dated = models["date"].str[:4].astype(int) * 12 + models["date"].str[5:].astype(int)
        assert (submitted - dated.loc[submitted.index]).abs().max() <= 1

    def test_numbers_are_plausible(self, models):
        assert models["parameters"].gt(1e4).all()
        active = models["active_parameters"].dropna()
        assert (active < models.loc[active.index, "parameters"]).all()
        assert (models.loc[active.index, "dense_or_sparse"] == "sparse").all()
        assert models["training_tokens"].dropna().between(1e11, 1e14).all()

    @pytest.mark.parametrize(
        ("row", "name"),
        [
            ("ResNet-50", "resnet50"),
            ("ResNet-152", "resnet152"),
            ("GPT-3", "gpt3"),
            ("BERT-large", "bert-large-uncased"),
            ("GPT-2 XL", "gpt2-xl"),
            ("BERT-base", "bert-base-uncased"),
        ],
    )
    def test_counts_agree_with_the_architectures(self, models, row, name):
        stated = models.set_index("name").loc[row, "parameters"]
        assert math.isclose(stated, sizes.count_parameters(sizes.architecture(name)), rel_tol=0.03)
