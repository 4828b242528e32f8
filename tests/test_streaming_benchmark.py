"""The measuring of streams: README says what is stored, and the shards hold the rows of the list."""

import importlib
import json

import pytest

from helpers.data.shards import Shards
from helpers.files import ROOT


@pytest.fixture
def streaming(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("streaming")


def test_readme_says_what_is_stored(streaming):
    if not streaming.RESULTS.is_file():
        pytest.skip("not measured yet: run benchmarks/streaming.py")
    row = streaming.readme_row(json.loads(streaming.RESULTS.read_text()))
    assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_both_kinds_of_shards_hold_the_same_distinct_rows(streaming, tmp_path):
    streaming.write_shards(tmp_path, 500)
    found = []
    for kind in streaming.KINDS:
        shards = Shards(tmp_path / kind)
        found.append([row["text"] for block in shards.blocks for row in shards.read(block)])
    assert found[0] == found[1]
    assert len(set(found[0])) == 500
