"""The exercises of chapter 01: count by part, find what a memory plan forgot, choose how to train."""

import itertools

import torch
from torch import nn

from helpers import planner
from lessons.ch01 import answers
from lessons.exercise import Exercise, check_diagnosis


class _Repeated(nn.Module):
    """One layer under two names, a matrix shared with the last layer, a parameter of the model itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.words = nn.Embedding(20, 8)
        self.first = nn.Linear(8, 8)
        self.second = self.first
        self.last = nn.Linear(8, 20, bias=False)
        self.last.weight = self.words.weight


def _hidden_models() -> dict[str, nn.Module]:
    import transformers

    no_signs = {"bos_token_id": None, "eos_token_id": None}
    with torch.device("meta"):
        gpt = transformers.GPT2Config(
            vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=16, **no_signs
        )
        t5 = transformers.T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
        return {
            "a stack of layers": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)),
            "GPT-2 with its tied last layer": transformers.GPT2LMHeadModel(gpt),
            "T5, whose two halves share a table": transformers.T5ForConditionalGeneration(t5),
            "a model that uses one layer twice": _Repeated(),
        }


def _verify_by_child(attempt):
    for what, model in _hidden_models().items():
        found, total = attempt(model), sum(p.numel() for p in model.parameters())
        if not isinstance(found, dict):
            raise AssertionError(f"expected a dictionary of part and number, found {found!r}")
        added = sum(found.values())
        if added > total:
            raise AssertionError(
                f"{what}: the parts add up to {added:,}, the model has {total:,}: something is counted twice"
            )
        expected = answers.by_child(model)
        if added < total and "" in expected and "" not in found:
            raise AssertionError(
                f"{what}: {total - added:,} numbers are missing; a parameter may belong to the model itself, "
                'its part is ""'
            )
        found = {part: number for part, number in found.items() if number}
        if found != expected:
            raise AssertionError(f"{what}: expected {expected}, found {found}")


by_child = Exercise(
    verify=_verify_by_child,
    hints=(
        "`model.named_parameters()` gives each parameter once, named like `transformer.h.0.ln_1.bias`.",
        'Before the first point stands the part: `name.split(".")[0]`. A name without a point belongs to the '
        "model itself.",
    ),
    answer=answers.by_child,
    praise="The parts add up to the whole, whatever a model shares or repeats.",
)

_PLANS = {  # how the training was, and how somebody planned it
    "a": ({"name": "smollm2-360m", "rows": 4, "tokens": 128}, "moments"),
    "b": ({"name": "smollm2-135m", "rows": 8, "tokens": 2048, "learnt_share": 0.05}, "tokens"),
    "c": (
        {"name": "llama-3.2-1b", "rows": 8, "tokens": 1024, "strategy": "lora", "base_bits": 4,
         "activation_checkpointing": True},
        "logits",
    ),
}  # fmt: skip


def _workload(name: str, **options) -> planner.Workload:
    return planner.Workload(planner.SHAPES[name], **options)


def _planned(options: dict, forgotten: str) -> float:
    """What the plan came to, without the part that was forgotten (bytes)."""
    if forgotten == "tokens":
        return planner.memory(_workload(**options | {"tokens": 128})).total
    memory = planner.memory(_workload(**options))
    return memory.total - getattr(memory, forgotten)


def show_plans() -> None:
    """Print the three plans of exercise 1.2, and what each step needs."""
    for name, (options, forgotten) in _PLANS.items():
        workload = _workload(**options)
        way = "all weights" if workload.strategy == "full" else "LoRA on 4 bits, activations recomputed"
        planned, needed = _planned(options, forgotten), planner.memory(workload).total
        print(
            f"{name}: {workload.shape.name} ({workload.shape.parameters / 1e6:,.0f} million parameters, "
            f"{workload.shape.vocabulary:,} tokens known), {way}, {workload.rows} rows of up to "
            f"{workload.tokens:,} tokens, {workload.learnt_share:.0%} of them labelled\n"
            f"   planned {planned / 1e9:.1f} GB, needed {needed / 1e9:.1f} GB"
        )


def _verify_plans(attempt):
    advice = "divide the missing gigabytes: by the parameters, then by labelled tokens times vocabulary"
    check_diagnosis(attempt(), answers.three_plans(), advice, what="forgotten parts")


three_plans = Exercise(
    verify=_verify_plans,
    hints=(
        "AdamW keeps two float32 numbers for each trained parameter: 8 bytes. In which plan is that the gap?",
        "Logits: for each labelled token one number per token of the vocabulary, and the loss holds it three "
        "times in float32, 12 bytes.",
        "In the third nothing is missing per parameter, and few tokens are labelled. What else grows?",
    ),
    answer=answers.three_plans,
    praise="A gap in gigabytes has a unit hidden in it: divide, and it tells you its name.",
)

_GB = 1e9 * planner.USABLE
_CASES = [
    (planner.SHAPES[name], tokens, gigabytes * _GB)
    for name, tokens, gigabytes in (
        ("smollm2-135m", 512, 16), ("smollm2-360m", 2048, 16), ("smollm2-1.7b", 256, 24),
        ("smollm2-1.7b", 1024, 80), ("llama-3.2-1b", 512, 16), ("llama-3.2-1b", 1024, 40),
        ("llama-3.2-3b", 1024, 24), ("llama-3.2-3b", 512, 80), ("mistral-7b", 2048, 24),
        ("llama-3.1-8b", 2048, 24), ("llama-3.1-8b", 4096, 80), ("smollm2-135m", 8192, 24),
    )
]  # fmt: skip
ENOUGH = 0.9  # of the points that can be had


def points(workload: planner.Workload) -> float:
    """What a plan that fits is worth: 10, less for what it gives up."""
    given_up = {"full": 0, "lora": 2}[workload.strategy] + (1 if workload.base_bits == 4 else 0)
    few_rows = 1 if workload.rows < 4 else 0
    return 10 - given_up - few_rows - (1 if workload.activation_checkpointing else 0)


def _best(shape, tokens: int, room: float) -> float:
    ways = itertools.product(
        (
            {},
            {"strategy": "lora"},
            {"strategy": "lora", "base_bits": 16},
            {"strategy": "lora", "base_bits": 4},
        ),
        (False, True),
        (1, 4),
    )
    found = [
        planner.Workload(shape, rows=rows, tokens=tokens, activation_checkpointing=recompute, **way)
        for way, recompute, rows in ways
    ]
    return max((points(one) for one in found if planner.memory(one).total <= room), default=0)


def _verify_choose(attempt):
    reached, possible, too_large = 0.0, 0.0, []
    for shape, tokens, room in _CASES:
        possible += _best(shape, tokens, room)
        chosen = attempt(shape, tokens, room)
        if not isinstance(chosen, planner.Workload):
            raise AssertionError(f"expected a planner.Workload, found {chosen!r}")
        if (chosen.shape, chosen.tokens) != (shape, tokens):
            raise AssertionError("model and text length are given; choose the other settings")
        if chosen.processes != 1 or chosen.learnt_share != 1:
            raise AssertionError("there is one card, and every token has a label")
        if planner.memory(chosen).total > room:
            too_large.append(f"{shape.name} with {tokens:,} tokens on {room / _GB:.0f} GB")
        else:
            reached += points(chosen)
    said = f"{reached / possible:.0%} of the points that can be had in {len(_CASES)} hidden cases"
    if too_large:
        said += f"; {len(too_large)} do not fit, the first is {too_large[0]}"
    if reached < ENOUGH * possible:
        raise AssertionError(f"{said}; {ENOUGH:.0%} are enough")
    return f"{said[0].upper()}{said[1:]}."


choose = Exercise(
    verify=_verify_choose,
    hints=(
        "Write down the plans that you would like, from the best to the cheapest; take the first for which "
        "`planner.memory(workload).total <= room`.",
        "What costs nothing here? Compare four rows with one, and LoRA on float32 with LoRA on 16 bits.",
        "A cheaper way comes after *both* remedies of the better one were tried: recomputing, fewer rows.",
    ),
    answer=answers.choose,
    praise="You gave up as little as each card allowed, and could say what it was.",
)
