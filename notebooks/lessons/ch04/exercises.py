"""The exercises of chapter 04: a head that reads a layer, freezing that lasts, faulty logs, a strategy."""

import numpy as np
import torch
from torch import nn

from lessons.ch04 import answers, stored
from lessons.ch04.mean_pooled import masked_mean
from lessons.exercise import Exercise, check_keys

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _verify_layer_mean(attempt):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    encoder = BertModel(BertConfig(vocab_size=50, **sizes), add_pooling_layer=False).eval()
    models = {layer: attempt(encoder, layer, 4) for layer in (1, 2)}
    ids = torch.tensor([[5, 6, 7, 8], [9, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    for layer, model in models.items():
        if not isinstance(model, nn.Module):
            raise AssertionError("expected a class that inherits from nn.Module")
        _compare_read_out(model.eval(), encoder, layer, ids, mask)


def _compare_read_out(model, encoder, layer, ids, mask):
    own = {id(module) for module in encoder.modules()}
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m) not in own]
    if len(heads) != 1 or heads[0].out_features != 4:
        raise AssertionError(f"expected one linear layer with 4 outputs beside the encoder, found {heads}")
    with torch.no_grad():
        logits, states = model(ids, mask), encoder(ids, mask, output_hidden_states=True).hidden_states
        if not torch.is_tensor(logits) or logits.shape != (2, 4):
            raise AssertionError(f"expected logits of shape (2, 4), found {logits!r}")
        reads = lambda vectors: torch.allclose(logits, heads[0](vectors), atol=1e-5)
        if reads(states[layer].mean(1)):
            raise AssertionError("padding is averaged, too: only places whose mask is 1 belong to the text")
        for other in range(len(states)):
            if other != layer and reads(masked_mean(states[other], mask)):
                found = f"for layer {layer} the head reads hidden_states[{other}]"
                raise AssertionError(f"{found}; hidden_states[0] are the embeddings, before any layer")
        if any(reads(state[:, 0]) for state in states):
            raise AssertionError("the head reads the first token alone, not the mean over the text")
        if not reads(masked_mean(states[layer], mask)):
            raise AssertionError(f"for layer {layer} the logits are not those of a head on the masked mean")


layer_mean = Exercise(
    verify=_verify_layer_mean,
    hints=(
        "The encoder gives all its layers: call it with `output_hidden_states=True`.",
        "`hidden_states[layer]` is (B, L, H). The mask tells which of the L places are text.",
        "Multiply by `attention_mask[..., None]`, add up over the places, and divide by their number.",
    ),
    answer=answers.LayerMean,
    praise="Your head reads any layer, and padding changes nothing.",
)


def _network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        *(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10)),
    )


def _verify_freeze(attempt):
    torch.manual_seed(0)
    _verify_frozen(attempt, _network())


def _verify_frozen(attempt, model):
    head = model[-1]
    attempt(model.eval(), head)
    if not all(parameter.requires_grad for parameter in head.parameters()):
        raise AssertionError("the head's weights should move, but requires_grad is False for some of them")
    moving = [name for name, parameter in model[:-1].named_parameters() if parameter.requires_grad]
    if moving:
        raise AssertionError(
            f"{len(moving)} parameters below the head still have requires_grad=True, for example {moving[0]}"
        )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for epoch in (1, 2):
        model.train()  # as every loop does at the beginning of an epoch
        images, labels = torch.rand(8, 1, 12, 12), torch.arange(8)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        changed = [name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])]
        drifted = [name for name in changed if not name.startswith("8.")]
        if drifted:
            raise AssertionError(
                f"in epoch {epoch}, after the loop's model.train(), {', '.join(drifted[:2])} changed: a "
                "layer still collects statistics"
            )
    if not changed:
        raise AssertionError("after two epochs the head has not changed")
    if any(module.training for module in model.modules() if isinstance(module, NORMS)):
        raise AssertionError("a BatchNorm is in training mode: it standardises by the batch, not as before")
    if not model[7].training:
        raise AssertionError("dropout is switched off: only BatchNorm should be in evaluation mode")


freeze = Exercise(
    verify=_verify_freeze,
    hints=(
        "Two things change a layer: the optimizer (weights), and the forward pass in training mode "
        "(BatchNorm's running statistics). And every epoch begins with `model.train()`.",
        "`model.train()` calls `train(mode)` of every layer. If its own `train` does nothing, its mode "
        "stays.",
        "For each BatchNorm (1d, 2d, 3d): `module.eval()`, then `module.train = ...`, a function that only "
        "returns the module.",
    ),
    answer=answers.freeze,
    praise="Weights and statistics stay, epoch after epoch, the head learns, and dropout still works.",
)

LOOK_AT = {
    "BatchNorm not in evaluation mode": "what else than weights can change?",
    "the body moves at the head's rate": "did the pretrained weights stay what they were?",
    "the head moves at the body's rate": "how far is its loss from that of equal probabilities, ln(10)?",
    "validation rows are preprocessed in another way": "nothing changed below the head, and the loss fell",
}


def _verify_three_runs(attempt):
    found, right = attempt(), stored.faults_of_logs()
    check_keys(found, right)
    for letter, fault in right.items():
        if found[letter] not in LOOK_AT:
            raise AssertionError(f"{found[letter]!r} is not one of: {'; '.join(LOOK_AT)}")
        if found[letter] != fault:
            raise AssertionError(f"run {letter}: look again at its lines; {LOOK_AT[fault]}")


three_runs = Exercise(
    verify=_verify_three_runs,
    hints=(
        "Begin with the last line of each run: which weights and which buffers changed below the head?",
        "Two runs changed nothing below the head. In one the loss falls, in the other it hardly moves.",
    ),
    answer=answers.three_runs,
    praise="Four faults, told apart by the loss and by what changed below the head.",
)

SITUATIONS = {  # training rows; largest share of the time of all weights; largest file in MB
    "half the time": (2000, 0.5, None),
    "a hundred customers": (600, None, 10.0),
    "no limit": (200, None, None),
}
BAND, RATE_BAND = 0.03, 4.0


def _verify_plan(attempt):
    found = attempt()
    check_keys(found, SITUATIONS)
    remarks = []
    for situation, (size, share, megabytes) in SITUATIONS.items():
        strategy, rate = found[situation]
        if strategy not in stored.STRATEGIES[1:]:
            raise AssertionError(f"{strategy!r} is none of {', '.join(stored.STRATEGIES[1:])}")
        costs = {name: _costs(name, size) for name in stored.STRATEGIES[1:]}
        limit = np.inf if share is None else share * costs["full"]["seconds"]
        fits = [
            name
            for name, cost in costs.items()
            if cost["seconds"] <= limit and cost["megabytes"] <= (megabytes or np.inf)
        ]
        if strategy not in fits:
            cost = costs[strategy]
            raise AssertionError(
                f"{situation}: {strategy} takes {cost['seconds']:.0f} s and a file of "
                f"{cost['megabytes']:.1f} MB, too much"
            )
        best, score = max(costs[name]["score"] for name in fits), costs[strategy]["score"]
        if score < best - BAND:
            raise AssertionError(
                f"{situation}: {strategy} reaches {score:.3f}; another choice within the limits {best:.3f}"
            )
        right = _best_rate(strategy)
        if not right / RATE_BAND <= rate <= right * RATE_BAND:
            raise AssertionError(f"{situation}: {rate:g} is not the rate for {strategy}; look at its sweep")
        remarks.append(f"{situation}: {score:.3f}, best possible {best:.3f}")
    return "; ".join(remarks) + "."


def _costs(strategy: str, size: int) -> dict[str, float]:
    runs = [r for r in stored.results("strategies")["runs"] if (r["strategy"], r["size"]) == (strategy, size)]
    return {
        "seconds": np.mean([run["seconds"] for run in runs]),
        "megabytes": 4 * runs[0]["trainable_parameters"] / 1e6,
        "score": np.mean([run["reported"]["macro_f1"] for run in runs]),
    }


def _best_rate(strategy: str) -> float:
    runs = [run for run in stored.results("strategies")["tuning"] if run["strategy"] == strategy]
    return max(runs, key=lambda run: run["selection_macro_f1"])["learning_rate"]


plan = Exercise(
    verify=_verify_plan,
    hints=(
        "First cross out what breaks the limit: the costs are in the last table of this section.",
        "Of what is left take the highest mean, or one that cannot be told from it. The rate comes from the "
        "sweep of section 4.6, each strategy from its own line.",
    ),
    answer=answers.plan,
    praise="Three situations, three choices, each within its limits.",
)
