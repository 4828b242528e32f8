"""Signals end a command with their own status; a training keeps a checkpoint of the step it was at."""

import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.training.checkpoints import CHECKPOINT, HISTORY, load_checkpoint

SLOW = """
import signal, sys, time
from helpers import cli, display
from helpers.runs import run
from helpers.training import loop

place, plain = sys.argv.pop(1), loop.evaluate

def slow_step(self, step, planned):
    print(f"step {step.step}", file=sys.stderr, flush=True)
    time.sleep(0.2)

def slow_score(*arguments, **options):
    print("evaluating", file=sys.stderr, flush=True)
    time.sleep(60)
    return plain(*arguments, **options)

display.ProgressLines.show = slow_step
if place == "evaluation":
    from helpers.runs import recipes
    recipes.evaluate = slow_score
if place == "loading":
    def slow_load(*_):
        print("loading", file=sys.stderr, flush=True)
        time.sleep(60)
    from helpers.runs import recipes
    recipes.prepare = slow_load
sys.exit(cli.main())
"""


@pytest.fixture
def started(arguments, environment, tmp_path):
    """started(place, launch): a real `train` whose steps take a while, and whose `place` takes a minute."""
    (tmp_path / "slow.py").write_text(SLOW)
    processes = []

    def start(place, *launch, more=()):
        words = [sys.executable, *launch, str(tmp_path / "slow.py"), place, "train", "text", "--output"]
        words += [str(tmp_path / "run"), *arguments, *more]
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def read_until(process, words):
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"{words!r} was not written")


def ended(process, timeout=60):
    rest = process.stderr.read()
    return process.wait(timeout=timeout), rest


def end_of(run):
    """Weights and moments, and the history without its seconds."""
    lines = [line.split(",") for line in (run / HISTORY).read_text().splitlines()]
    tensors = {name: tensor.tolist() for name, tensor in load_checkpoint(run / CHECKPOINT)[0].items()}
    return tensors, [line[:2] + line[3:] for line in lines], (run / "predictions.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(command, finish, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(command(run))
    return end_of(run)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_the_step_in_work_is_kept(number, status, started, command, finish, whole, tmp_path):
    process = started("steps")
    read_until(process, "step 6")  # in epoch 2; the last checkpoint is that of step 4
    process.send_signal(number)
    code, said = ended(process)
    assert code == status
    found = re.search(rf"ended by {number.name} after step (\d+); `train` goes on .* with --resume", said)
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)[1]["progress"]["step"] == int(found[1]) in (6, 7)
    assert "Traceback" not in said
    finish(command(tmp_path / "run", "--resume"))
    assert end_of(tmp_path / "run") == whole


def test_while_it_loads_there_is_nothing_to_keep(started, tmp_path):
    process = started("loading")
    read_until(process, "loading")
    process.send_signal(signal.SIGTERM)
    code, said = ended(process, timeout=10)
    assert code == 143
    assert "ended by SIGTERM; the training had not begun, start it again" in said
    assert not (tmp_path / "run").exists()


def test_an_evaluation_is_not_waited_for(started, tmp_path):
    process = started("evaluation")
    read_until(process, "evaluating")
    process.send_signal(signal.SIGTERM)
    code, said = ended(process, timeout=10)
    assert code == 143
    assert "ended by SIGTERM; `train` goes on from the last checkpoint" in said
    assert "Traceback" not in said


def test_a_second_signal_ends_at_once(started):
    process = started("evaluation")
    read_until(process, "step 3")  # the next step, the last of the epoch, is evaluated for a minute
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM


@pytest.mark.parametrize("options", [(), ("--shard",)])
def test_two_processes_agree(options, started, tmp_path, environment, finish, command):
    """torchrun hands the signal on to both: one step is kept, nobody waits for the other, and it goes on."""
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    process = started("steps", *launch, more=options)
    read_until(process, "step 6")
    process.send_signal(signal.SIGTERM)
    said = ended(process, timeout=60)[1]
    found = re.search(r"ended by SIGTERM after step (\d+)", said)
    assert found, said[-3000:]
    step = int(found[1])
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)[1]["progress"]["step"] == step
    assert len((tmp_path / "run" / HISTORY).read_text().splitlines()) == 1 + step
    finish(command(tmp_path / "run", "--resume"))  # with one process


def test_other_commands_just_end(environment):
    code = (
        "import sys, time\nfrom helpers import cli\n"
        "cli.doctor = lambda options: print('at work', file=sys.stderr, flush=True) or time.sleep(60)\n"
        "sys.exit(cli.main(['doctor']))"
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        words = [sys.executable, "-c", code]
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        read_until(process, "at work")
        process.send_signal(number)
        code_found, said = ended(process, timeout=10)
        process.stderr.close()
        assert code_found == 128 + number
        assert said == f"ended by {number.name}\n"
