"""The plan of a training's memory agrees with what a GPU has measured; what is unknown is said."""

import json
import re

from helpers.files import ROOT
from lessons import gpu_results
from lessons.ch06 import needs


def test_the_plan_is_near_the_measured_peaks():
    usual = {"mode": "training", "precision": "float32", "layout": "channels_last"}
    rows = gpu_results.measured(gpu_results.stored_gpu_results(), "image_speed", **usual)
    assert {row["model"] for row in rows} == {"efficientnet_lite0", "resnet50"}
    for row in rows:
        planned = needs.planned_bytes(row["model"], row["size"], row["batch"])
        assert abs(planned / row["peak_bytes"] - 1) < 0.06, row


def test_the_plan_grows_with_batch_and_size():
    small, batch, size = (
        needs.planned_bytes("efficientnet_lite0", *job) for job in ((64, 8), (64, 16), (96, 8))
    )
    assert small < batch < 2 * small
    assert small < size


def test_every_job_has_a_plan_and_says_what_nobody_measured(monkeypatch):
    jobs = needs.jobs()
    assert jobs["GPU memory, planned"].str.endswith(" GB").all()
    assert list(jobs["measured"] == needs.UNKNOWN) == [False, False, False, True, False]
    assert jobs["time"].iloc[1].startswith("8,000 pictures in ")
    assert jobs["time"].iloc[4].startswith("1,000 pictures in ")
    assert " min on 2 CPU cores, " in jobs["time"].iloc[0]
    monkeypatch.setattr(gpu_results, "stored_gpu_results", lambda: None)
    jobs = needs.jobs()
    assert list(jobs["measured"] == needs.UNKNOWN) == [True, True, False, True, True]
    assert list(jobs["time"] == needs.UNKNOWN) == [False, True, False, True, True]


def test_the_chapter_shows_the_peaks_that_are_stored():
    cells = json.loads((ROOT / "notebooks" / "06_image_case_study.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    (cell,) = [cell for cell in cells if cell["source"] == "needs.jobs()"]
    page = "".join(cell["outputs"][0]["data"]["text/html"])
    for values in needs.jobs().itertuples():
        row = page[page.index(values.Index) :].split("</tr>")[0]
        assert re.findall(r"<td[^>]*>([^<]*)</td>", row) == list(values[1:])
