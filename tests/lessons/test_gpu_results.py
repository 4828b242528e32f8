"""The chapters find the newest measurement of a GPU, and only what was really measured in it."""

import json

from lessons.gpu_results import card, measured, stored_gpu_results


def results(card="NVIDIA H200", date="2026-11-20", device="cuda", scale="full", rows=()):
    versions = {"torch": "2.11.0", "cuda": "13.0"}
    machine = {"card": card, "date": date, "device": device, "driver": "580.1", "versions": versions}
    return {"scale": scale, "machine": machine, "parts": {"text_speed": {"seconds": 1.0, "rows": list(rows)}}}


def store(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_nothing_is_found_where_nothing_was_measured(tmp_path):
    assert stored_gpu_results(tmp_path) is None
    store(tmp_path, gpu_x86=results(device="cpu"), gpu_tried=results(scale="quick"), images=results())
    assert stored_gpu_results(tmp_path) is None
    assert card(None).startswith("No GPU has measured this yet")
    assert measured(None, "text_speed") == []


def test_the_newest_card_is_shown(tmp_path):
    store(
        tmp_path,
        gpu_a=results("A", "2026-11-20"),
        gpu_b=results("B", "2027-01-02"),
        gpu_c=results("C", "2026-12-31"),
    )
    found = stored_gpu_results(tmp_path)
    assert card(found) == "Measured on B, 2027-01-02, torch 2.11.0, CUDA 13.0, driver 580.1:"


def test_only_whole_entries_with_the_wanted_values_are_found():
    speed = {"speed": {"median": 5.0}}
    rows = [
        {"mode": "training", "batch": 16} | speed,
        {"mode": "training", "batch": 64, "error": "RuntimeError: no"},
        {"mode": "training", "batch": 256, "skipped": "3 s were left"},
        {"mode": "inference", "batch": 16} | speed,
    ]
    stored = results(rows=rows)
    assert measured(stored, "text_speed", mode="training") == rows[:1]
    assert measured(stored, "text_speed") == [rows[0], rows[3]]
    assert measured(stored, "text_speed", layout="planes") == []
    assert measured(stored, "never") == []
