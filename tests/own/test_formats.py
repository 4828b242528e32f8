"""What other programs write into Parquet, JSON and Excel files."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers import own
from helpers.errors import InputError


def read(frame: pd.DataFrame, folder, **options):
    frame.to_parquet(folder / "own.parquet")
    return own.from_table(folder / "own.parquet", on_bad="skip", **options)


@pytest.mark.parametrize("kind", ["string", "Int64", "boolean"])
def test_a_missing_value_is_no_class_and_no_text(kind, tmp_path):
    values = {"string": ["a", None, "b"], "Int64": [1, None, 2], "boolean": [True, None, False]}[kind]
    frame, problems = read(
        pd.DataFrame({"text": list("xyz"), "label": pd.array(values, dtype=kind)}), tmp_path
    )
    assert len(frame) == 2
    assert [problem.what for problem in problems] == ["the label is empty"]


def test_a_missing_date_makes_no_group(tmp_path):
    dates = pd.to_datetime(["2024-01-02", None, None])
    frame, _ = read(
        pd.DataFrame({"text": list("xyz"), "label": list("aba"), "day": dates}), tmp_path, group_column="day"
    )
    assert frame["group"].nunique() == 3


def test_large_numbers_beside_a_gap_stay_apart(tmp_path):
    numbers = pd.array([2**53, 2**53 + 1, None], dtype="Int64")
    table = pd.DataFrame({"text": list("xyz"), "label": pd.array([1, 2, 1], dtype="Int64"), "user": numbers})
    frame, _ = read(table, tmp_path, group_column="user")
    assert frame["group"].tolist() == [str(2**53), str(2**53 + 1), "row 3 alone"]
    assert frame["label"].tolist() == ["1", "2", "1"]


def test_numbers_of_32_bits_are_as_short_as_they_were(tmp_path):
    frame, _ = read(pd.DataFrame({"text": list("xy"), "label": np.float32([0.1, 2.5])}), tmp_path)
    assert frame["label"].tolist() == ["0.1", "2.5"]


def test_a_class_below_zero_is_none(tmp_path):
    from pyarrow import Table, parquet

    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    table = Table.from_pydict({"text": list("abc"), "label": [1, -1, None]})
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(described), tmp_path / "own.parquet")
    frame, problems = own.from_table(tmp_path / "own.parquet", on_bad="skip")
    assert frame["label"].tolist() == ["pos"]
    assert len(problems) == 2


def test_the_index_of_a_frame_is_a_column(tmp_path):
    frame, _ = read(pd.DataFrame({"label": ["a", "b"], "text": ["x", "y"]}).set_index("label"), tmp_path)
    assert frame["label"].tolist() == ["a", "b"]


def test_a_nested_column_that_nobody_needs_is_no_fault(tmp_path):
    rows = [{"text": f"t{n}", "label": "a", "tags": [n], "meta": {"k": n}} for n in range(3)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(own.from_table(tmp_path / "own.jsonl")[0]) == 3
    good, _ = own.texts_from(tmp_path / "own.jsonl")
    assert good.records[1] == ["t1", "a", "[1]", "{'k': 1}"]


def test_json_that_is_cut_or_doubled(tmp_path):
    lines = ['{"text": "one\u2028line", "label": "a"}', '{"text": "a", "text": "b", "label": "a"}']
    lines.append('{"text": "half \\ud83d", "label": "a"}')
    (tmp_path / "own.jsonl").write_text("\n".join(lines), encoding="utf-8")
    frame, problems = own.from_table(tmp_path / "own.jsonl", on_bad="skip")
    assert frame["text"].tolist() == ["one\u2028line"]
    assert "names a field twice" in str(problems[0])
    assert "half of a character" in str(problems[1])


def test_an_excel_sheet_of_blanks_does_not_count(tmp_path):
    with pd.ExcelWriter(tmp_path / "own.xlsx") as book:
        pd.DataFrame({"text": ["x"], "label": ["007"]}).to_excel(book, sheet_name="rows", index=False)
        pd.DataFrame({" ": [" "]}).to_excel(book, sheet_name="notes", index=False)
    assert own.from_table(tmp_path / "own.xlsx")[0]["label"].tolist() == ["007"]
    pd.DataFrame().to_excel(tmp_path / "empty.xlsx", index=False)
    with pytest.raises(InputError, match="0 sheets with rows"):
        own.from_table(tmp_path / "empty.xlsx")
