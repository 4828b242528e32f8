"""predict on a file: rows, order and columns are the input's; stopped, it goes on; nothing else is lost."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from helpers.cli import main
from helpers.deployment import labelling
from helpers.deployment.predict import load_run, predict
from helpers.files import ROOT


@pytest.fixture
def many(tmp_path):
    """3,000 rows of very different lengths, with columns of their own."""
    rng = np.random.default_rng(0)
    words = ["lamp", "kettle", "good", "bad", "works"]
    texts = [" ".join(rng.choice(words, size=n)) for n in rng.integers(1, 60, size=3000)]
    table = pd.DataFrame({"key": [f"k{n:04}" for n in range(3000)], "text": texts, "label": "?"})
    table.to_csv(tmp_path / "many.csv", index=False)
    return tmp_path / "many.csv"


def test_columns_and_order_of_the_input_are_kept(tiny_run, many, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["predict", str(tiny_run), "--input", str(many), "--output", str(out)]) == 0
    given = pd.read_csv(many, dtype=str, keep_default_na=False)
    written = pd.read_csv(out, keep_default_na=False)
    names = ["row", "key", "text", "label", "predicted_label", "p_bad", "p_good"]
    assert list(written.columns) == names
    assert (written[["key", "text", "label"]] == given).all(axis=None)
    assert written["row"].tolist() == list(range(2, 3002))
    expected = predict(load_run(tiny_run), given["text"].tolist())
    assert np.allclose(written[["p_bad", "p_good"]], expected, atol=1e-5)
    assert [entry.name for entry in tmp_path.glob(".*")] == []
    capsys.readouterr()


def test_left_out_rows_leave_their_numbers(tiny_run, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("id,text\n1,works\n2,\n3,works\n")
    out = tmp_path / "out.csv"
    given = ["--input", str(tmp_path / "in.csv"), "--output", str(out), "--on-bad", "skip"]
    assert main(["predict", str(tiny_run), *given]) == 0
    assert pd.read_csv(out)["row"].tolist() == [2, 4]
    assert "skipped row 3 of in.csv: the text is empty" in capsys.readouterr().err


def test_nothing_is_written_over(tiny_run, many, tmp_path, capsys):
    before = many.read_bytes()
    os.link(many, tmp_path / "link.csv")
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "mine.csv").write_text("row,name\n1,x\n")
    (tmp_path / "labels.csv").write_text("row,text,label\n1,precious,good\n")
    for name, sentence in (
        ("many.csv", "is the input itself"),
        ("link.csv", "is the input itself"),
        ("mine.csv", "holds no predictions of this command"),
        ("labels.csv", "holds no predictions of this command"),
        ("thesis.txt", "end it in .csv"),
        ("out.xlsx", "end it in .csv"),
    ):
        assert main(["predict", str(tiny_run), "--input", str(many), "--output", str(tmp_path / name)]) == 2
        assert sentence in capsys.readouterr().err
    assert many.read_bytes() == before
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "mine.csv").read_text() == "row,name\n1,x\n"


def test_earlier_predictions_are_replaced(tiny_run, tmp_path, capsys):
    out = tmp_path / "out.csv"
    given = tmp_path / "in.txt"
    for text in ("works", "broke"):
        given.write_text(text + "\n")
        assert main(["predict", str(tiny_run), "--input", str(given), "--output", str(out)]) == 0
    assert pd.read_csv(out)["input"].tolist() == ["broke"]
    capsys.readouterr()


def stopped(tiny_run, many, out) -> int:
    """Rows that a process had written when it was killed."""
    command = [
        sys.executable,
        "-m",
        "helpers",
        "predict",
        str(tiny_run),
        "--input",
        str(many),
        "--output",
        str(out),
    ]
    slow = "import helpers.deployment.labelling as l, helpers.cli, time, sys; p = l.predict\n"
    slow += "l.ROWS = 200\nl.predict = lambda *a: (time.sleep(0.3), p(*a))[1]\nhelpers.cli.main(sys.argv[1:])"
    process = subprocess.Popen(
        [command[0], "-c", slow, *command[3:]], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(out.parent.glob(".out.csv-*.progress")):
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    partial = next(file for file in out.parent.glob(".out.csv-*") if file.suffix != ".progress")
    return partial.read_bytes().count(b"\n") - 1


def test_a_killed_command_goes_on_where_it_was(tiny_run, many, tmp_path, capsys):
    out, whole = tmp_path / "out.csv", tmp_path / "whole.csv"
    assert main(["predict", str(tiny_run), "--input", str(many), "--output", str(whole)]) == 0
    done = stopped(tiny_run, many, out)
    assert 64 <= done < 3000
    assert not out.exists()
    capsys.readouterr()
    assert main(["predict", str(tiny_run), "--input", str(many), "--output", str(out)]) == 0
    assert "were written by an earlier call" in capsys.readouterr().err
    first, second = (pd.read_csv(file) for file in (whole, out))
    assert first.drop(columns=["p_bad", "p_good"]).equals(second.drop(columns=["p_bad", "p_good"]))
    assert np.allclose(first[["p_bad", "p_good"]], second[["p_bad", "p_good"]], atol=1e-5)


def test_other_inputs_or_another_model_begin_anew(tiny_run, many, tmp_path, capsys):
    out = tmp_path / "out.csv"
    stopped(tiny_run, many, out)
    lines = many.read_text().splitlines()
    many.write_text("\n".join([*lines[:5], "k9999,changed,?", *lines[6:]]) + "\n")
    assert main(["predict", str(tiny_run), "--input", str(many), "--output", str(out)]) == 0
    assert "earlier call" not in capsys.readouterr().err
    assert pd.read_csv(out)["text"][4] == "changed"


def test_names_with_commas_and_line_breaks_stay_whole(tiny_run, tmp_path, capsys):
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["a,b", "text"], ["x\ny", 'say "so", please\nor not']])
    out = tmp_path / "out.csv"
    assert main(["predict", str(tiny_run), "--input", str(tmp_path / "in.csv"), "--output", str(out)]) == 0
    assert pd.read_csv(out)[["a,b", "text"]].values.tolist() == [["x\ny", 'say "so", please\nor not']]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["works", "--text-column", "x"], "--text-column has no effect"),
        (["works", "--json", "--output", "OUT"], "--json has no effect"),
    ],
)
def test_options_without_effect_are_refused(more, sentence, tiny_run, tmp_path, capsys):
    given = [str(tmp_path / "out.csv") if word == "OUT" else word for word in more]
    assert main(["predict", str(tiny_run), *given]) == 2
    assert sentence in capsys.readouterr().err


def test_the_first_rows_are_written_soon(tiny_run):
    sizes = [len(part) for _, part in labelling.predicted(load_run(tiny_run), inputs_of(200))]
    assert sizes == [64, 136]


def inputs_of(count: int):
    texts = [f"works {n}" for n in range(count)]
    return labelling.Inputs(texts, list(range(count)), ["input"], [[text] for text in texts])


def test_answers_can_be_labelled_again(tiny_run, tmp_path, capsys):
    (tmp_path / "0.csv").write_bytes(b"name,text\nJos\xe9,works\n")  # a byte of an old code page, elsewhere
    for number in range(3):
        given = ["--input", str(tmp_path / f"{number}.csv"), "--output", str(tmp_path / f"{number + 1}.csv")]
        assert main(["predict", str(tiny_run), *given]) == 0
    header = (tmp_path / "3.csv").read_text().splitlines()[0].split(",")
    assert len(header) == len(set(header))
    assert main(["predict", str(tiny_run), "works", "--output", str(tmp_path / f"{'x' * 230}.csv")]) == 2
    assert "too long" in capsys.readouterr().err
