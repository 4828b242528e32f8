"""Numbers that are not finite stop a training before they are kept."""

import json
import math

import pytest
import torch

from helpers.cli import main
from helpers.errors import InputError
from helpers.safety.finite import MOST_SKIPPED, NotFinite, Watch
from helpers.training.checkpoints import BEST, CHECKPOINT, Keeper, load_checkpoint
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.runtime import Runtime

BATCHES = [{"features": torch.ones(2, 2), "indices": torch.tensor([2 * n, 2 * n + 1])} for n in range(4)]


class Bad:
    """A loss of a linear model that is multiplied by `factor` from the call number `since` on."""

    def __init__(self, factor: float, since: int):
        self.factor, self.since, self.calls = factor, since, 0

    def items(self, batch):
        return len(batch["indices"])

    def __call__(self, model, batch):
        self.calls += 1
        return model(batch["features"]).sum() * (self.factor if self.calls >= self.since else 1.0)


class InfiniteGradient(Bad):
    """A finite loss whose gradient is not: the slope of a square root at 0."""

    def __call__(self, model, batch):
        loss = super().__call__(model, batch)
        return loss if self.calls < self.since else loss + (model.weight.sum() * 0).sqrt()


def train(loss, folder=None, *, scores=lambda _: {"macro_f1": 0.5}, precision="no", on_step=None, **options):
    config = TrainingConfig(checkpoint_every=1, precision=precision, **options)
    keeper, runtime = Keeper(folder, scores=("macro_f1",)), Runtime(precision=precision)
    model = torch.nn.Linear(2, 1)
    for step in fit(model, BATCHES, config, loss=loss, score=scores, runtime=runtime, keeper=keeper):
        if on_step:
            on_step(model, step)
    return model


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_is_named_with_its_step_and_rows_and_the_last_checkpoint_stays(factor, tmp_path):
    with pytest.raises(NotFinite, match=r"the loss is not a number at step 3 \(rows: 4, 5\); use a lower"):
        train(Bad(factor, 3), tmp_path)
    tensors, rest = load_checkpoint(tmp_path / CHECKPOINT)
    assert rest["progress"]["step"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / BEST).exists()


def test_a_gradient_is_named_although_its_loss_is_a_number(tmp_path):
    with pytest.raises(NotFinite, match=r"the gradient is not a number at step 2 \(rows: 2, 3\)"):
        train(InfiniteGradient(1.0, 2), tmp_path)
    assert load_checkpoint(tmp_path / CHECKPOINT)[1]["progress"]["step"] == 1


@pytest.mark.parametrize("keep", [True, False])
def test_weights_that_are_bad_are_never_kept(keep, tmp_path):
    """The last step's loss is good; whoever holds the model has spoilt a weight after it."""

    def spoil(model, step):
        if step.step == 3:
            model.bias.data.fill_(math.nan)

    class Weights(Bad):
        def __call__(self, model, batch):
            return (model.weight.sum() * 0).sum() + 1.0  # does not see the bias

    folder = tmp_path if keep else None
    with pytest.raises(NotFinite, match=r"the tensor model[.]bias is not a number after step 4"):
        train(Weights(1.0, 1), folder, on_step=spoil, epochs=1)
    if keep:
        assert load_checkpoint(tmp_path / CHECKPOINT)[1]["progress"]["step"] == 3
        assert not (tmp_path / BEST).exists()


def test_scores_that_are_bad_choose_nothing(tmp_path):
    with pytest.raises(NotFinite, match="the validation macro_f1 is not a number after step 4"):
        train(Bad(1.0, 1), tmp_path, scores=lambda _: {"macro_f1": math.nan})
    assert load_checkpoint(tmp_path / CHECKPOINT)[1]["progress"]["step"] == 3


def test_half_precision_may_leave_steps_out_but_not_all():
    train(Bad(1.0, 1), precision="fp16", epochs=1)
    with pytest.raises(NotFinite, match=f"in any of the {MOST_SKIPPED} last steps in fp16"):
        train(Bad(math.inf, 3), precision="fp16", max_steps=400, patience=999)
    with pytest.raises(NotFinite, match="in any step in fp16"):
        train(Bad(math.inf, 1), precision="fp16", epochs=2)


def test_a_gpu_need_not_wait_at_each_step():
    """Nothing of the loss is read between two checkpoints where reading makes a device wait."""
    reads = []

    class Counted(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), options=None):
            if function.__name__ in ("item", "tolist", "__bool__", "__float__", "cpu"):
                reads.append(function.__name__)
            return super().__torch_function__(function, types, arguments, options or {})

    runtime = Runtime(precision="no")
    runtime.device, runtime.grad_norm = torch.device("meta"), torch.ones(())  # any device but a CPU
    watch = Watch(runtime)
    for step in range(1, 13):
        watch.note(step, torch.ones(()).as_subclass(Counted), BATCHES[:1], moved=True)
    assert not reads
    watch.check()
    assert reads == ["tolist"]  # all twelve at once


def test_a_whole_run_ends_with_one_sentence_and_no_result(arguments, rows, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "text", "--output", str(run), *arguments, "--learning-rate", "1e30"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the loss is not a number at step ")
    named = error.split("(rows: ")[1].split(" and ")[0].split(", ")
    train_rows = [
        line.split(",")[0] for line in (run / "rows.csv").read_text().splitlines() if ",train," in line
    ]
    assert len(named) == 10
    assert set(named) <= set(train_rows)  # by their ids
    assert "use a lower --learning-rate" in error
    assert not {"model", "metrics.json", "report.html", "predictions.csv"} & {f.name for f in run.iterdir()}
    assert not (run / BEST).exists()


@pytest.mark.parametrize(
    "option", ["--learning-rate=nan", "--learning-rate=inf", "--seed=-1", f"--seed={2**63}"]
)
def test_options_that_are_no_numbers_are_refused(option, arguments, tmp_path, capsys):
    assert main(["train", "text", "--output", str(tmp_path / "run"), *arguments, option]) == 2
    assert "must be" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_trains(arguments, tmp_path, capsys):
    largest = [*arguments, "--seed", str(2**63 - 1), "--epochs", "1"]
    assert main(["train", "text", "--output", str(tmp_path / "run"), *largest]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["seed"] == 2**63 - 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["threads"] == torch.get_num_threads()
    assert metrics["micro_batch"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": math.nan}, {"learning_rate": "1e-3"}, {"learning_rate": 0},
        {"learning_rate": 10**400},
        {"layer_decay": math.inf}, {"layer_decay": 0}, {"layer_decay": -0.5}, {"weight_decay": -1},
        {"weight_decay": math.nan}, {"label_smoothing": 1.5}, {"label_smoothing": -0.1}, {"warmup_share": 2},
        {"warmup_share": None}, {"max_grad_norm": 0}, {"max_grad_norm": math.inf}, {"seed": -1},
        {"seed": 2**63},
        {"seed": 1.0}, {"epochs": 2.0}, {"epochs": None}, {"epochs": True}, {"max_steps": 0},
        {"max_steps": "9"},
        {"batch_size": math.nan}, {"num_workers": -1}, {"patience": 0}, {"select": 3}, {"strategy": []},
        {"evaluate_every": math.inf}, {"precision": None},
    ],
)  # fmt: skip
def test_every_number_of_a_configuration_is_checked(wrong):
    with pytest.raises(InputError, match=rf"^{next(iter(wrong))} must be "):
        TrainingConfig(**wrong)
