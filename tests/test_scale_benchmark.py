"""The measuring of many rows: rows that are all different, and an eye for the first answer."""

import importlib

import pandas as pd
import pytest

from helpers.data import cleaning
from helpers.files import ROOT


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("scale")


def test_no_row_is_a_copy(scale, tmp_path):
    scale.write_comments(tmp_path / "rows.csv", 24_000, 300)  # more than there are comments
    rows = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    assert rows["text"].map(cleaning.letters_key).nunique() == len(rows) == 24_000
    assert rows["label"].value_counts().tolist() == [80] * 300


def test_the_first_answer_is_seen_in_a_file_that_is_not_finished(scale, tmp_path):
    assert not scale.has_row(tmp_path)
    with (tmp_path / ".answers.csv-x1").open("w") as file:
        file.write("input,label\n")
        file.flush()
        assert not scale.has_row(tmp_path)
        file.write("a text,good\n")
        file.flush()
        assert scale.has_row(tmp_path)


def test_the_parts_of_a_preparation_are_all_of_it(scale, tmp_path):
    scale.write_comments(tmp_path / "rows.csv", 500)
    found = scale.in_child(scale.prepared, str(tmp_path / "rows.csv"))
    seconds = found["seconds"]
    assert sum(found["rows"].values()) > 480
    assert sum(seconds[part] for part in ("read", "clean", "split")) == pytest.approx(
        seconds["total"], abs=0.5
    )
    assert found["peak_mb"] >= found["imports_mb"] > 100
