"""The loss of preferred answers: TRL's, and what a margin is."""

import json
import math
import runpy
from pathlib import Path

import pytest
import torch

from helpers.data.pairs import PairCollate, PairDataset
from helpers.errors import OutOfMemory
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Preference, answer_log_probabilities, pair_log_probabilities
from helpers.training.runtime import Runtime

HERE = Path(__file__).parent
SCRIPT = runpy.run_path(str(HERE / "trl_values.py"))


@pytest.fixture(scope="module")
def theirs():
    return json.loads((HERE / "trl_preference.json").read_text())


@pytest.fixture(scope="module")
def models(tokenizer):
    """The policy and the reference."""
    return [SCRIPT["tiny_model"](seed, len(tokenizer)) for seed in (1, 2)]


@pytest.fixture
def dataset(tokenizer):
    messages = SCRIPT["messages"]
    pairs = [(messages(question, good), messages(question, bad)) for question, good, bad in SCRIPT["PAIRS"]]
    return PairDataset(pairs, tokenizer, 1024)


@pytest.fixture
def batch(dataset, tokenizer, theirs):
    dataset.reference = torch.tensor(theirs["reference"])
    return PairCollate(tokenizer.pad_token_id)([dataset[number] for number in range(len(dataset))])


def test_the_batch_is_that_of_trl(batch, theirs):
    """TRL puts all chosen answers before all rejected ones, and pads with the same signs."""
    ours = {name: batch[name].transpose(0, 1).flatten(0, 1) for name in ("input_ids", "attention_mask")}
    learnt = batch["labels"].transpose(0, 1).flatten(0, 1) != -100
    assert ours["input_ids"].tolist() == theirs["input_ids"]
    assert ours["attention_mask"].tolist() == theirs["attention_mask"]
    assert learnt.long().tolist() == theirs["completion_mask"]


@torch.no_grad()
def test_log_probabilities_and_losses_are_those_of_trl(batch, models, theirs):
    policy, reference = (pair_log_probabilities(model, batch) for model in models)
    # Sums of up to 250 nats: 1e-5 of the whole is what float32 holds of them.
    assert policy == pytest.approx(torch.tensor(theirs["policy"]), rel=1e-5)
    assert reference == pytest.approx(torch.tensor(theirs["reference"]), rel=1e-5)
    for beta, expected in theirs["losses"].items():
        loss = Preference(float(beta))
        assert float(loss(models[0], batch)) / loss.items(batch) == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_answers_are_scored_token_by_token_whatever_stands_beside_them(dataset, batch, models):
    policy = pair_log_probabilities(models[0], batch)
    for number in range(len(dataset)):
        sample = dataset[number]
        for side, (ids, labels) in enumerate(zip(sample["input_ids"], sample["labels"])):
            log_p = models[0](ids[None]).logits[0].log_softmax(-1)
            each = [log_p[t - 1, ids[t]].item() for t in range(1, len(ids)) if labels[t] != -100]
            assert policy[number, side].item() == pytest.approx(math.fsum(each), rel=1e-5)


def test_a_row_without_an_answer_has_log_probability_zero(batch, models):
    rows = {name: batch[name][:, 0].clone() for name in ("input_ids", "attention_mask", "labels")}
    rows["labels"][1] = -100
    found = answer_log_probabilities(models[0], rows)
    assert found[1] == 0
    assert (found[[0, 2, 3]] < -1).all()


@torch.no_grad()
def test_before_the_first_step_every_pair_costs_log_2(batch, models):
    loss = Preference(0.3)
    batch["reference"] = pair_log_probabilities(models[0], batch)
    assert loss.items(batch) == 4
    assert loss(models[0], batch).item() == pytest.approx(4 * math.log(2), rel=1e-6)


@torch.no_grad()
def test_chosen_and_rejected_are_no_equals(batch, models):
    """With the sides swapped, the margins have the other sign: sigmoid(x) + sigmoid(-x) = 1."""
    swapped = {name: value if name == "indices" else value.flip(1) for name, value in batch.items()}
    for row in range(4):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        other = {name: value[row : row + 1] for name, value in swapped.items()}
        losses = [Preference(0.05)(models[0], side).item() for side in (one, other)]
        assert losses[0] != pytest.approx(losses[1], abs=1e-2)
        assert sum(math.exp(-value) for value in losses) == pytest.approx(1, abs=1e-5)


def train(dataset, tokenizer, model):
    collate, runtime = PairCollate(tokenizer.pad_token_id), Runtime(precision="no")
    batches = [collate([dataset[number] for number in (0, 1, 2, 3)])] * 12
    config = TrainingConfig(epochs=1, learning_rate=3e-3, schedule="constant", select="-loss")
    options = {"loss": Preference(0.1), "score": lambda _: {"loss": 0.0}, "runtime": runtime}
    return [float(step.train_loss) for step in fit(model, batches, config, **options)]


def test_training_makes_the_chosen_answer_the_likelier_one(dataset, tokenizer, batch):
    model = SCRIPT["tiny_model"](1, len(tokenizer))
    with torch.no_grad():
        dataset.reference = before = pair_log_probabilities(model, batch)
    losses = train(dataset, tokenizer, model)
    with torch.no_grad():
        changes = pair_log_probabilities(model, batch) - before
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < 0.3
    assert (changes[:, 0] - changes[:, 1] > 1).all()


class Small(torch.nn.Module):
    """A language model for which the memory ends above so many rows."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.most, self.seen = model, most, set()

    def forward(self, **inputs):
        rows = len(inputs["input_ids"])
        if rows > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        self.seen.add(rows)
        return self.model(**inputs)


def test_pairs_that_do_not_fit_into_the_memory_are_computed_in_parts_of_whole_pairs(
    dataset, tokenizer, batch
):
    build = lambda: SCRIPT["tiny_model"](1, len(tokenizer))
    expected, small = train(dataset, tokenizer, build()), Small(build(), 3)
    with pytest.warns(UserWarning, match="they are computed 1 rows at a time"):
        found = train(dataset, tokenizer, small)
    assert small.seen == {2}
    assert found == pytest.approx(expected, abs=1e-4)
    with pytest.raises(OutOfMemory, match="too small for a single row"):
        train(dataset, tokenizer, Small(build(), 1))
