"""A worker that raises, dies or hangs ends the epoch with one sentence, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.files import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
SCRIPT = """
import os, signal, sys, time
import numpy as np, pandas as pd
from PIL import Image
from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.loaders import make_loader
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.errors import InputError

folder, fault, where = sys.argv[1:]
frame = pd.DataFrame({"path": [f"{folder}/{number}.png" for number in range(8)]})
for path in frame["path"]:
    Image.new("RGB", (40, 30), (9, 90, 20)).save(path)
preset = evaluation_preset(ImagePreprocessing(8, (0.5,) * 3, (0.5,) * 3))
parent = os.getpid()

def transform(image):
    if image.size == (41, 30) and os.getpid() != parent:
        open(f"{folder}/worker", "w").write(str(os.getpid()))
        if fault == "die":
            time.sleep(0.5 if where == "outside" else 0)
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hang":
            time.sleep(600)
    return preset(image)

odd = frame["path"][5]
if fault == "raise":
    open(odd, "wb").write(b"no picture any more")
else:
    Image.new("RGB", (41, 30)).save(odd)
loader = make_loader(ImageDataset(frame, transform), 2, collate_images, num_workers=2, timeout=3)
try:
    for batch in loader:
        if where == "outside":  # the main process computes when the worker dies
            time.sleep(3)
except InputError as error:
    print(error, flush=True)
    os._exit(2)
"""


def start(folder, fault, where="loader"):
    command = [sys.executable, "-c", SCRIPT, str(folder), fault, where]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def is_alive(process):
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = f"/proc/{process}/stat"
    if not os.path.exists(status):
        return True
    with open(status) as file:
        return file.read().rsplit(") ", 1)[1][0] != "Z"


@pytest.mark.parametrize(
    ("fault", "where", "sentence"),
    [
        ("raise", "loader", "5.png (index 5) cannot be read (UnidentifiedImageError"),
        ("die", "loader", "a process that loads batches died at {folder}/5.png (index 5): "),
        ("die", "outside", "a process that loads batches died at {folder}/5.png (index 5): "),
        ("hang", "loader", "no batch came for 3 seconds: a process that loads batches hangs at "),
    ],
)
def test_one_sentence_names_the_sample(tmp_path, fault, where, sentence):
    process = start(tmp_path, fault, where)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(printed.splitlines()) == 1, printed
    assert sentence.format(folder=tmp_path) in printed
    assert "5.png (index 5)" in printed


def test_a_hanging_worker_does_not_outlive_its_parent(tmp_path):
    process = start(tmp_path, "hang")
    deadline = time.monotonic() + 30
    while not (tmp_path / "worker").exists() or not (tmp_path / "worker").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = int((tmp_path / "worker").read_text())
    assert is_alive(worker)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while is_alive(worker):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.1)
