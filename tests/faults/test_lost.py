"""A process killed in the middle of a step ends the whole job with one sentence and a good checkpoint."""

import re
import subprocess
import sys
import time

import pytest

from helpers.training.archives import CHECKPOINT, load_checkpoint

SLOW = """
import os, sys, time
from helpers import cli, display
from helpers.training import loop

plain = loop.backward

def killed(model, batches, loss, runtime):
    if os.path.exists(sys.argv[0] + ".kill") and runtime.process_index == runtime.num_processes - 1:
        os.remove(sys.argv[0] + ".kill")
        os.kill(os.getpid(), 9)
    time.sleep(0.1)
    return plain(model, batches, loss, runtime)

def told(self, step, planned):
    print(f"step {step.step}", file=sys.stderr, flush=True)

display.ProgressLines.show, loop.backward = told, killed
sys.exit(cli.main())
"""


def torchrun(processes, *words):
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launch, *map(str, words)]


def sentences(said):
    """What is ours in what a job says, beside torchrun's own report."""
    return [line for line in said.splitlines() if line.startswith(("error: ", "ended by"))]


@pytest.mark.parametrize(("processes", "options"), [(2, []), (4, ["--shard"])])
def test_a_killed_process_ends_the_job(processes, options, arguments, environment, finish, command, tmp_path):
    script, run = tmp_path / "slow.py", tmp_path / "run"
    script.write_text(SLOW)
    words = torchrun(processes, script, "train", "text", "--output", run, *arguments, *options)
    job = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for line in job.stderr:
            if line.startswith("step 6"):  # in epoch 2; the last checkpoint is that of step 4
                break
        (tmp_path / "slow.py.kill").touch()
        began = time.perf_counter()
        said = job.stderr.read()
        assert job.wait(timeout=60) != 0
    finally:
        job.kill()
        job.stderr.close()
    assert time.perf_counter() - began < 60
    assert len(sentences(said)) == 1, said[-3000:]
    sentence = sentences(said)[0]
    assert re.search(r"process \d of \d waits for another one that has ended", sentence)
    step = load_checkpoint(run / CHECKPOINT)[1]["progress"]["step"]
    assert f"in {run} is of step {step}, `train` goes on from it with --resume" in sentence
    assert step >= 4
    finish(command(run, "--resume"))
    assert (run / "metrics.json").is_file()


ALONE = """
import time
from helpers.training.runtime import Runtime

runtime = Runtime(precision="no", longest_wait=2)
with runtime.together():
    if runtime.is_main:  # the mistake
        runtime.total(1)
    else:
        time.sleep(30)
"""


def test_a_call_that_only_one_process_makes_ends(environment, tmp_path):
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    began = time.perf_counter()
    done = subprocess.run(torchrun(2, script), env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert time.perf_counter() - began < 30
    waits = "process 0 of 2 waits for another one that has ended, hangs or makes other calls"
    assert f"ProcessLost: {waits}, and gave up after 2 s" in done.stderr
