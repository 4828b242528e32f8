"""A training that is killed at any point goes on as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

from helpers.files import ROOT

STAGES = {
    "step", "half written",
    *(f"{when} {what}" for when in ("before", "after") for what in ("open", "fsync", "replace")),
}  # fmt: skip


def test_a_training_killed_anywhere_ends_bit_for_bit_as_an_unbroken_one(tiny_bert, tmp_path):
    """60 points: steps, and every stage of writing a checkpoint, the best weights and the history."""
    script = Path(__file__).with_name("kill_points.py")
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    words = [sys.executable, str(script), str(tiny_bert), str(tmp_path), "60"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["killed"]) == 60
    assert set(found["killed"]) >= STAGES
    assert not found["differ"]
