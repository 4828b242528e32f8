"""Every figure in the prose of a notebook is printed by a cell, stands in its code, or is in facts.toml."""

import json

import pytest
from figures_in_prose import FACTS, shown, stated, unproved

from helpers.files import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_something_behind_it(path):
    assert unproved(path) == []


def test_every_listed_fact_is_stated():
    for name, facts in FACTS.items():
        book = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        said = {float(number) for number, _ in stated(book)}
        for fact in facts:
            assert fact["source"]
            assert {float(figure) for figure in fact["figures"]} <= said, (name, fact)


def book(prose: str, code: str = "", output: str = "") -> dict:
    printed = [{"output_type": "stream", "text": output}]
    return {
        "cells": [
            {"cell_type": "markdown", "source": prose},
            {"cell_type": "code", "source": code, "outputs": printed, "metadata": {}},
        ]
    }


@pytest.mark.parametrize(
    ("prose", "figures"),
    [
        ("It reaches 0.73, in 1,500 rows.", ["0.73", "1500"]),
        ("Twenty, or 20%, of 3 seeds in 2024", ["20"]),
        ("as in 3.7, section 4.11, (7.17) and `0.5`", []),
        ("[chapter 04, 0.99](04_fine_tuning_strategies.ipynb#4.1-x) and [0.98](https://a.org)", ["0.98"]),
        ("at a rate of 1e-4", ["1e-4"]),
    ],
)
def test_what_is_a_figure(prose, figures):
    assert [number for number, _ in stated(book(prose))] == figures


def test_what_is_shown():
    known = shown(book("", "rate = 1e-4\nrows = 16_415", "score 0.730 (0.71 to 0.75), 12.5% of 3,000x"))
    assert {0.0001, 16415, 0.73, 0.71, 12.5, 3000} <= known
    assert 0.74 not in known
