import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from helpers.tuning.freezing import apply_strategy, num_trainable, train_mode
from helpers.tuning.frozen import head_inputs, single_head
from helpers.tuning.layers import layer_groups
from helpers.tuning.lora import add_lora, merge_lora
from helpers.tuning.optimization import make_optimizer, make_schedule, parameter_groups


@pytest.fixture(scope="module")
def image_model():
    return image_classifier(classes=("cat", "dog")).model


@pytest.mark.parametrize("kind", ["text", "image"])
def test_layer_groups_hold_every_parameter_once(kind, text_classifier, image_model):
    model = text_classifier.model if kind == "text" else image_model
    grouped = [p for _, modules in layer_groups(model) for m in modules for p in m.parameters()]
    assert len(grouped) == len(set(map(id, grouped)))
    assert set(map(id, grouped)) == set(map(id, model.parameters()))


def test_resnet_groups_hold_every_parameter_once():
    from torchvision.models import resnet50

    with torch.device("meta"):
        model = resnet50(weights=None)
    grouped = [p for _, modules in layer_groups(model) for m in modules for p in m.parameters()]
    assert set(map(id, grouped)) == set(map(id, model.parameters()))


def test_strategies_open_what_they_say(text_classifier):
    model = text_classifier.model
    total = sum(p.numel() for p in model.parameters())
    assert apply_strategy(model, "head", 0, 3)
    head = num_trainable(model)
    assert 0 < head < 0.02 * total
    counts = []
    for epoch in range(4):
        apply_strategy(model, "gradual", epoch, 4)
        counts.append(num_trainable(model))
    assert counts[0] == head
    assert counts == sorted(set(counts))
    assert counts[-1] == total
    assert not apply_strategy(model, "full", 0, 3)


def test_unknown_names_are_refused(text_classifier):
    with pytest.raises(InputError, match="one of full, head, gradual, lora, found 'half'"):
        apply_strategy(text_classifier.model, "half", 0, 1)
    with pytest.raises(InputError, match="no head was found in Linear"):
        layer_groups(nn.Linear(2, 2))
    with pytest.raises(InputError, match="one of constant, linear, cosine"):
        make_schedule("stairs", torch.optim.AdamW([nn.Parameter(torch.zeros(1))]), 10)


def test_frozen_batchnorm_keeps_its_statistics(image_model):
    apply_strategy(image_model, "head", 0, 1)
    train_mode(image_model)
    before = {name: buffer.clone() for name, buffer in image_model.named_buffers()}
    image_model(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in image_model.named_buffers())
    apply_strategy(image_model, "full", 0, 1)
    train_mode(image_model)
    image_model(torch.randn(4, 3, 64, 64))
    assert not all(torch.equal(buffer, before[name]) for name, buffer in image_model.named_buffers())


def test_discriminative_rates_and_decay(text_classifier):
    groups = parameter_groups(text_classifier.model, 1e-3, weight_decay=0.1, layer_decay=0.5)
    rates = {group["name"].rsplit(" ", 1)[0]: group["lr"] for group in groups}
    assert rates["head"] == 1e-3
    assert rates["layer 5"] == 5e-4
    assert rates["embeddings"] == pytest.approx(1e-3 * 0.5**7)
    assert {group["weight_decay"] for group in groups if group["name"].endswith("vectors")} == {0.0}
    counted = sum(p.numel() for group in groups for p in group["params"])
    assert counted == sum(p.numel() for p in text_classifier.model.parameters())


def rates_of(make, steps=100):
    """The rate before each of `steps` + 1 steps, as the scheduler itself gives it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps + 1):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


ENDS = {"linear": 0.0, "cosine": 0.0, "constant": 1.0, "step": 0.01, "exponential": 0.01, "inverse-time": 0.1}


@pytest.mark.parametrize(("name", "end"), ENDS.items())
def test_schedules_warm_up_and_end(name, end):
    rates = rates_of(lambda optimizer: make_schedule(name, optimizer, 100, warmup_share=0.1))
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(end, abs=1e-6)
    assert rates[10:] == sorted(rates[10:], reverse=True)


LIBRARY = {
    "linear": lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=99),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=99),
    "step": lambda o: lr_scheduler.StepLR(o, step_size=33, gamma=0.1),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / 99)),
    "one-cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=101),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_schedules_are_those_of_the_library(name):
    steps = 100 if name == "one-cycle" else 99
    ours = rates_of(lambda optimizer: make_schedule(name, optimizer, steps, warmup_share=0.0), steps - 1)
    theirs = rates_of(LIBRARY[name], steps - 1)
    # torch's one-cycle rounds the place of its peak, the others agree exactly
    assert ours == pytest.approx(theirs, abs=0.03 if name == "one-cycle" else 1e-6)


def test_warm_up_and_linear_decay_are_those_of_transformers():
    from transformers import get_linear_schedule_with_warmup

    theirs = rates_of(lambda optimizer: get_linear_schedule_with_warmup(optimizer, 10, 100))
    assert rates_of(lambda optimizer: make_schedule("linear", optimizer, 100)) == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("name", "decoupled"), [("adamw", True), ("adam", False), ("sgd", False), ("adadelta", False)]
)
def test_optimizers_move_and_decay_as_they_say(name, decoupled):
    """With a gradient of zero only decoupled decay shrinks a weight by rate x decay; added to Adam's gradient
    it is normalised away.
    """
    weight = nn.Parameter(torch.full((2, 2), 10.0))
    optimizer = make_optimizer(name, parameter_groups(nn.ParameterList([weight]), 0.1, weight_decay=0.01))
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight[0, 0].item() < 10.0
    assert (weight[0, 0].item() == pytest.approx(10 * (1 - 0.1 * 0.01), abs=1e-4)) == (
        decoupled or name == "sgd"
    )
    with pytest.raises(InputError, match="one of adamw, adam, sgd, adadelta, found 'rmsprop'"):
        make_optimizer("rmsprop", [])


@pytest.mark.parametrize("kind", ["text", "image"])
def test_lora_starts_at_the_pretrained_model_moves_little_and_merges(kind, text_classifier):
    if kind == "text":
        model, inputs = text_classifier.model.eval(), {"input_ids": torch.randint(1000, 2000, (2, 9))}
    else:
        model, inputs = (
            image_classifier(classes=("cat", "dog")).model.eval(),
            {"x": torch.randn(2, 3, 64, 64)},
        )
    logits = lambda: getattr(out := model(**inputs), "logits", out).detach()
    total, before, names = sum(p.numel() for p in model.parameters()), logits(), list(model.state_dict())
    add_lora(model, rank=4)
    assert torch.equal(logits(), before)
    apply_strategy(model, "lora", 0, 1)
    assert 0 < num_trainable(model) < 0.04 * total
    with pytest.raises(InputError, match="adapters already"):
        add_lora(model)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    adapted = logits()
    assert not torch.allclose(adapted, before, atol=1e-3)
    merge_lora(model)
    assert torch.allclose(logits(), adapted, atol=1e-4)
    assert list(model.state_dict()) == names
    assert num_trainable(model) == total
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft warns of a second set where it finds the first one's settings
        add_lora(model, rank=4)


def test_corrections_that_are_not_finite_are_not_merged(image_model):
    model = copy.deepcopy(image_model)
    add_lora(model)
    nn.init.constant_(next(p for name, p in model.named_parameters() if "lora_B" in name), torch.inf)
    with pytest.raises(ValueError, match="NaNs detected"):
        merge_lora(model)


def test_lora_needs_adapters(text_classifier):
    with pytest.raises(InputError, match=r"call tuning\.lora\.add_lora"):
        apply_strategy(text_classifier.model, "lora", 0, 1)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_100", "convnext_atto"])
def test_any_image_model_of_timm_can_be_tuned(name):
    """Layers that nobody named get one rate; the head is found, and no weight is left out, not even a class
    token.
    """
    model = image_classifier(name, ("cat", "dog"), pretrained=False).model
    groups = parameter_groups(model, 1e-3, layer_decay=0.5)
    assert {group["lr"] for group in groups} == {1e-3}
    everything = set(map(id, model.parameters()))
    assert {id(p) for group in groups for p in group["params"]} == everything
    apply_strategy(model, "head", 0, 3)
    assert 0 < num_trainable(model) < 0.2 * sum(p.numel() for p in model.parameters())
    apply_strategy(model, "gradual", 2, 3)
    assert {id(p) for p in model.parameters() if p.requires_grad} == everything


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "llama"])
def test_layers_of_other_transformers_are_found(kind):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48}
    config = AutoConfig.for_model(kind, vocab_size=60, pad_token_id=0, num_labels=2, **sizes)
    model = AutoModelForSequenceClassification.from_config(config)
    assert [name for name, _ in layer_groups(model)] == [
        "embeddings",
        "layer 0",
        "layer 1",
        "layer 2",
        "head",
    ]
    groups = parameter_groups(model, 1e-3, layer_decay=0.5)
    parameters = [id(p) for group in groups for p in group["params"]]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == set(map(id, model.parameters()))
    rates = {group["name"].rsplit(" ", 1)[0]: group["lr"] for group in groups}
    assert rates["head"] == 1e-3
    assert rates["layer 0"] == pytest.approx(1e-3 * 0.5**3)


def test_tied_weights_are_given_to_the_optimizer_once():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=60, tie_word_embeddings=True, **sizes))
    optimizer = make_optimizer("adamw", parameter_groups(model, 1e-3, layer_decay=0.5))
    chosen = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(chosen) == sorted(set(map(id, model.parameters())))


def test_a_head_learns_on_features_computed_once(image_model):
    """The features are what the body hands to the head: the head on them answers as the whole model does."""
    head = single_head(image_model)
    batch = {"images": torch.randn(3, 3, 64, 64)}
    image_model.eval()
    with torch.no_grad():
        assert torch.allclose(
            head(head_inputs(image_model, batch, head)), image_model(batch["images"]), atol=1e-6
        )
    assert not head._forward_pre_hooks
