"""docs/launch.md and the Slurm file: their commands exist, and two groups of processes train one run."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys

import pandas as pd
import pytest
from torch.distributed.run import get_args_parser

from helpers.cli import build_parser
from helpers.files import ROOT

TEXT = (ROOT / "docs/launch.md").read_text(encoding="utf-8")
SLURM = ROOT / "docs/slurm/train.sbatch"
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.S)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]


def parsed(command):
    """What torchrun, or accelerate, and our own command line make of a command."""
    words = shlex.split(command)
    place = words.index("helpers")
    ours = build_parser().parse_args(words[place + 1 :])
    if words[0] == "torchrun":
        return get_args_parser().parse_args(words[1 : place + 1]), ours
    if words[0] == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        return launch_command_parser().parse_args(words[2 : place + 1]), ours
    assert words[: place + 1] == ["python", "-m", "helpers"]
    return None, ours


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_text_exists(command):
    launcher, ours = parsed(command)
    assert ours.task in ("text", "chat")
    assert launcher is None or (launcher.module and launcher.training_script == "helpers")


def slurm_command(run):
    """The words after srun, as bash makes them: its own commands are stand-ins that print."""
    stand_ins = 'scontrol() { echo node0; echo node1; }; srun() { printf "%s\\n" "$@"; }\n'
    environment = {"SLURM_JOB_NODELIST": "node[0-1]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "17"}
    environment |= {"RUN": str(run), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", stand_ins + SLURM.read_text()], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_slurm_file(tmp_path):
    assert subprocess.run(["bash", "-n", SLURM]).returncode == 0
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", SLURM.read_text(), flags=re.M))
    assert len(options) == SLURM.read_text().count("#SBATCH")
    known = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal"}
    assert set(options) == known | {"output"}
    launcher, ours = parsed(shlex.join(slurm_command(tmp_path)))
    assert options["ntasks-per-node"] == "1"  # one torchrun on each machine, which starts the others
    assert launcher.nproc_per_node == options["gpus-per-node"]
    assert launcher.nnodes == options["nodes"]
    assert launcher.rdzv_endpoint == "node0:29500"
    assert ours.shard
    assert not ours.resume
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.safetensors").touch()
    assert parsed(shlex.join(slurm_command(tmp_path)))[1].resume


def test_two_machines_train_one_run(arguments, tmp_path):
    """The text's line for two machines, on this one: two groups of processes that meet at 127.0.0.1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = next(line for line in COMMANDS if "--nnodes" in line).replace("node0:29500", f"127.0.0.1:{port}")
    words, run = shlex.split(line), tmp_path / "run"
    launch = words[1 : words.index("helpers") + 1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    groups = []
    for count in ("1", "2"):
        launch[launch.index("--nproc_per_node") + 1] = count
        command = [sys.executable, "-m", "torch.distributed.run", *launch, "train", "text", "--output", run]
        command = [*map(str, command), "--shard", *arguments]
        groups.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
    try:
        for group in groups:
            said = group.communicate(timeout=150)[1].decode()
            assert group.returncode == 0, said[-3000:]
    finally:
        for group in groups:
            group.kill()
    assert json.loads((run / "metrics.json").read_text())["processes"] == 3
    assert len(pd.read_csv(run / "history.csv")) > 6
