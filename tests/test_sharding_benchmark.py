"""What `benchmarks/sharding.py` has stored keeps the promises of sharded training; README says the same."""

import json

import pytest

from helpers.files import ROOT

STORED = json.loads((ROOT / "benchmarks" / "results" / "sharding.json").read_text(encoding="utf-8"))
PARTS = ("weights", "gradients", "moments")


def own_bytes(name: str) -> list[int]:
    return [sum(held[part] for part in PARTS) for held in STORED["runs"][name]["held"]]


def test_losses_are_those_of_one_process():
    assert set(STORED["runs"]) == {"ddp 1", "ddp 2", "fsdp 2", "ddp 4", "fsdp 4"}
    alone = STORED["runs"]["ddp 1"]["losses"]
    assert len(alone) == STORED["settings"]["steps"] == 20
    for run in (*STORED["runs"].values(), STORED["resumed"]):
        assert run["losses"] == pytest.approx(alone, abs=1e-5)


def test_a_process_holds_its_share():
    (whole,) = own_bytes("ddp 1")
    for processes in (2, 4):
        assert own_bytes(f"ddp {processes}") == [whole] * processes
        assert own_bytes(f"fsdp {processes}") == pytest.approx([whole / processes] * processes, rel=0.1)


def test_the_readme_says_the_same():
    runs = [*STORED["runs"].values(), STORED["resumed"]]
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if "`benchmarks/sharding.py`" in line)
    assert f"at most {max(run['largest_difference'] for run in runs):.1e};" in row
    shown = [f"{own_bytes(name)[0] / 1e6:,.0f}" for name in ("ddp 1", "fsdp 2", "fsdp 4")]
    assert f"{shown[0]} MB, shared out {shown[1]} and {shown[2]} MB" in row
