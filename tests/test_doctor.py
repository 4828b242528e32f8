"""The doctor: what keeps the course from running fails, what only slows it is a note with a remedy."""

import json
import os
import shutil

import psutil
import pytest

from helpers import doctor
from helpers.cli import main


def test_a_busy_machine_gets_a_remedy():
    busy, idle = doctor.judge_load(2.3, 2), doctor.judge_load(0.4, 2)
    assert (busy.ready, busy.word, busy.found) == (
        True,
        "note",
        "2.3 programs computed in the last minute, on 2 cores",
    )
    assert "COURSE_CLASSROOM=1" in busy.remedy
    assert "COURSE_CLASSROOM" not in doctor.judge_load(2.3, 2, classroom=True).remedy
    assert (idle.ready, idle.word) == (True, "ok")
    assert doctor.judge_load(2.3, 16).word == "ok"  # of 16 cores enough are left


def test_little_memory_gets_a_remedy():
    enough, little = doctor.NEEDED_MEMORY_GB + 0.1, doctor.NEEDED_MEMORY_GB - 0.1
    assert doctor.judge_memory(enough).word == "ok"
    check = doctor.judge_memory(little)
    assert (check.ready, check.word) == (True, "note")
    assert check.found.startswith(f"{little:.1f} GB free, the largest chapter takes")
    assert "kernels" in check.remedy


def test_what_is_found_is_this_machines():
    found = {check.name: check.found for check in doctor.examine()}
    assert abs(float(found["memory"].split()[0]) - psutil.virtual_memory().available / 1e9) < 2
    assert abs(float(found["disk"].split()[0]) - shutil.disk_usage(doctor.ROOT).free / 1e9) < 2
    if hasattr(os, "getloadavg"):
        assert abs(float(found["load"].split()[0]) - os.getloadavg()[0]) < 2


def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch):
    file = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "CONTAINER_LIMIT", file)
    file.write_text("1000000000\n")
    assert doctor._memory().found.startswith("1.0 GB free")
    file.write_text("max\n")
    assert not doctor._memory().found.startswith("1.0 GB free")


@pytest.mark.parametrize("notes", [True, False])
def test_a_note_is_printed_with_its_remedy_and_fails_nothing(notes, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "BUSY", -1 if notes else 1e9)
    monkeypatch.setattr(doctor, "NEEDED_MEMORY_GB", 1e9 if notes else 0)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert ("note load" in out) == ("-> end other programs" in out) == notes
    assert ("note memory" in out) == ("-> shut down other kernels" in out) == notes
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["ready"]
    assert {check["name"] for check in findings["checks"] if check["note"]} == (
        {"load", "memory"} if notes else set()
    )


def test_no_chapter_takes_more_memory_than_the_doctor_says():
    file = doctor.ROOT / "benchmarks" / "results" / "chapter_memory.json"
    if not file.exists():
        pytest.skip("not measured here yet: python benchmarks/chapter_memory.py")
    chapters = json.loads(file.read_text(encoding="utf-8"))["chapters"]
    assert len(chapters) == len(list((doctor.ROOT / "notebooks").glob("*.ipynb")))
    largest = max(found["kernel_gb"] for found in chapters.values())
    assert 0.6 * doctor.NEEDED_MEMORY_GB <= largest <= doctor.NEEDED_MEMORY_GB
