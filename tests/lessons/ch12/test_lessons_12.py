"""Chapter 12's scripts, pictures, widget and stored results: what they compute and what they say."""

import ast
import json
import re
import time

import numpy as np
import pytest

from helpers.files import ROOT
from helpers.planner import CARDS, SHAPES, USABLE, Workload, memory
from lessons.ch12 import launching, pictures, planner_widget, results

NOTEBOOK = ROOT / "notebooks" / "12_beyond_one_machine.ipynb"
IMPORTS = "import os\nimport signal\nimport sys\nimport time"


def greet(word):
    print(f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: {word}", flush=True)  # noqa: F821


def wait():
    print(f"process {os.getpid()}", flush=True)  # noqa: F821
    time.sleep(600)


def test_functions_run_as_a_script_of_several_processes(tmp_path, capsys):
    launching.write_script(tmp_path / "greet.py", IMPORTS, greet)
    status, said = launching.run("torchrun --standalone --nproc-per-node 2 greet.py hello", tmp_path)
    assert status == 0
    # both write to one pipe, so that the end of a line may come after the other's line
    assert sorted(re.findall(r"rank \d of 2: hello", said)) == [f"rank {r} of 2: hello" for r in (0, 1)]
    assert "exit status 0" in capsys.readouterr().out


def test_a_job_that_hangs_is_ended_with_its_workers(tmp_path):
    launching.write_script(tmp_path / "wait.py", IMPORTS, wait)
    job = launching.start("torchrun --standalone --nproc-per-node 1 wait.py", tmp_path)
    assert job.stdout.readline().startswith("process ")
    (worker,) = launching.workers_of(job)
    with pytest.raises(launching.subprocess.TimeoutExpired):
        launching.finish(job, timeout=0.5)
    worker.wait(timeout=10)
    assert not worker.is_running()


def test_lines_are_chosen_by_their_words_and_lose_the_place_in_the_source():
    said = "rank 0: [/build/gloo/pair.cc:561] Connection closed\nnoise\nrank 1: fine"
    assert launching.lines_with(said, "rank") == "rank 0: Connection closed\nrank 1: fine"
    assert launching.lines_with(said, "fine", width=6) == "rank 1"


def test_only_torchrun_is_started(tmp_path):
    with pytest.raises(ValueError, match="begins with torchrun"):
        launching.start("rm -r data", tmp_path)


def test_the_slurm_file_is_numbered_or_missed(tmp_path):
    assert "no Slurm file" in launching.slurm_text(tmp_path)
    (tmp_path / "train.sbatch").write_text("#!/bin/bash\nsrun true\n", encoding="utf-8")
    assert launching.slurm_text(tmp_path).splitlines() == [
        "train.sbatch",
        "  1  #!/bin/bash",
        "  2  srun true",
    ]


@pytest.mark.parametrize("name", pictures.HELD)
def test_the_picture_of_what_is_split_shows_the_shares(name):
    share = 1 if name == "DDP" else 1 / 2
    for process in (0, 1):
        held = [pictures.HELD[name](process, layer) for layer in range(pictures.LAYERS)]
        area = sum(box[2] * box[3] for box in held if box is not None)
        assert area == pytest.approx(share * pictures.LAYERS)


def test_the_landing_counts_all_rows_of_the_file():
    order = np.arange(1000)
    figure, alt = pictures.landing({1: order, 50: order[::-1]}, 100, 300)
    assert [sum(patch.get_height() for patch in ax.patches) for ax in figure.axes] == [200, 200]
    assert "1: 199; 50: 199" in alt


def test_the_bars_stack_what_was_measured():
    run = {"processes": 2, "sharded": True, "weights": 1e6, "gradients": 1e6, "moments": 2e6}
    figure, alt = pictures.bytes_bars({"FSDP2, 2": run}, whole=8e6)
    assert "FSDP2, 2 4" in alt
    assert figure.axes[0].collections[0].get_offsets()[0].tolist() == [0, 4]


CHOICE = {
    **{"model": "llama-3.1-8b", "card": "h100", "cards": 8, "strategy": "full", "shard": True, "again": True},
    **{"rows": 1, "length": 2048, "millions": 100, "percent": 35, "price": 2.5},
}


def test_the_widget_says_what_the_planner_counts():
    _, fits = planner_widget.draw(**CHOICE)
    assert fits.startswith("It fits: one h100 needs ")
    _, alone = planner_widget.draw(**CHOICE | {"cards": 1})
    work = Workload(SHAPES["llama-3.1-8b"], 1, 2048, activation_checkpointing=True)
    assert f"{memory(work).total / 1e9:.1f} GB at once" in alone
    assert memory(work).total > USABLE * CARDS["h100"].memory
    assert alone.startswith("It does not fit")


def test_every_choice_of_the_widget_can_be_drawn():
    for name in planner_widget.STRATEGIES:
        for cards in (1, 4):
            figure, sentence = planner_widget.draw(**CHOICE | {"strategy": name, "cards": cards})
            assert len(figure.axes[0].patches) == 6
            assert "kWh" in sentence


def test_a_change_of_a_control_draws_again():
    widget = planner_widget.planner()
    before = widget.children[-1].value
    next(child for child in widget.children if getattr(child, "description", "") == "cards").value = 1
    assert widget.children[-1].value != before
    assert 'alt="' in widget.children[-1].value


def test_missing_results_are_said(tmp_path):
    for lines in (results.streaming_lines(tmp_path), results.sharding_lines(tmp_path)):
        assert len(lines) == 1
        assert lines[0].startswith("Not measured yet")
    assert "not measured yet" in results.efficiency_line(tmp_path)


def test_stored_results_are_read_line_by_line(tmp_path):
    entry = {"rows_per_second": 1000, "mb": 50, "share_of_list": 0.9}
    streaming = {
        "rows": 10**6,
        "batch_size": 32,
        "cores": 2,
        "texts, 0 workers": {"list": entry, "jsonl": entry},
    }
    (tmp_path / "streaming.json").write_text(json.dumps(streaming), encoding="utf-8")
    lines = results.streaming_lines(tmp_path)
    assert lines[0] == "1,000,000 rows, batches of 32:"
    assert [line.endswith("0.90 of the list's speed") for line in lines[1:]] == [False, True]
    held = [{"weights": 2e8, "gradients": 1e8}, {"weights": 1e8, "gradients": 1e8}]
    run = {"held": held, "peak_bytes": [9e8, 8e8], "largest_difference": 2e-6, "seconds_per_step": 1.5}
    sharding = {"settings": {"layers": 30, "steps": 20}, "runs": {"fsdp 2": run}, "resumed": run}
    (tmp_path / "sharding.json").write_text(json.dumps(sharding), encoding="utf-8")
    lines = results.sharding_lines(tmp_path)
    assert "2.0e-06, a process holds   300 MB and had    900 MB in all, 1.5 s per step" in lines[1]
    assert lines[2].startswith("4 processes, then 2, then 1")


def test_the_scripts_import_what_their_cell_imports():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (cell,) = ["".join(c["source"]) for c in cells if "IMPORTS = launching.IMPORTS" in "".join(c["source"])]
    head = cell.rpartition("\n\n")[0]
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(head).body)
    assert head + "\n" == launching.IMPORTS
