"""The command line on real processes: own data, bad input, kill -9, predictions, report."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from helpers.cli import build_parser, main
from helpers.data import sources
from helpers.deployment import export
from helpers.files import ROOT
from helpers.runs import recipes, report
from helpers.runs.commands import run_config
from helpers.training.losses import Classification

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def own_csv(clean, tmp_path_factory):
    """A user's file: other column names, labels as words, semicolons."""
    file = tmp_path_factory.mktemp("own") / "reviews.csv"
    frame = clean[clean["platform"] == "movies"].groupby("label").head(100)
    table = pd.DataFrame(
        {
            "nr": range(len(frame)),
            "comment": frame["text"],
            "stars": frame["label"].map({"negative": "bad", "neutral": "so-so", "positive": "great"}),
        }
    )
    table.to_csv(file, index=False, sep=";")
    return file


@pytest.fixture(scope="session")
def own_run(own_csv, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "own"
    arguments = [
        "--data",
        str(own_csv),
        "--text-column",
        "comment",
        "--label-column",
        "stars",
        "--epochs",
        "2",
        "--limit",
        "0",
    ]
    assert main(["train", "sentiment", "--output", str(run), *arguments]) == 0
    return run


@pytest.fixture(scope="session")
def own_images(animals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for label in ("cat", "zebra"):
        (folder / label).mkdir()
        for number, image in enumerate(animals[animals["label"] == label]["image"].head(40)):
            Image.fromarray(image).save(folder / label / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def image_run(own_images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "images"
    assert (
        main(
            [
                "train",
                "images",
                "--output",
                str(run),
                "--data",
                str(own_images),
                "--epochs",
                "2",
                "--strategy",
                "head",
            ]
        )
        == 0
    )
    return run


def test_run_folder_holds_what_it_promises(own_run):
    assert {f.name for f in own_run.iterdir()} == {
        "config.json",
        "rows.csv",
        "validation.jsonl",
        "test.jsonl",
        "history.csv",
        "metrics.json",
        "predictions.csv",
        "model",
        "checkpoints",
        "report.html",
    }
    metrics = json.loads((own_run / "metrics.json").read_text())
    assert set(metrics["validation"]) == {"accuracy", "macro_f1", "loss", "n"}
    assert set(metrics["test"]) == {"accuracy", "macro_f1", "loss", "n", "macro_f1_interval"}
    assert (
        metrics["rows"]["train"] + metrics["rows"]["validation"] + metrics["rows"]["test"]
        == metrics["cleaning"]["rows_out"]
    )
    history = pd.read_csv(own_run / "history.csv")
    assert len(history) == metrics["optimizer_steps"] == 2 * -(-metrics["rows"]["train"] // 16)
    assert history["validation_loss"].notna().sum() == 2
    assert metrics["processes"] == 1
    assert metrics["versions"]["torch"]
    predictions = pd.read_csv(own_run / "predictions.csv")
    assert list(predictions.columns) == ["id", "target", "prediction", "p_bad", "p_great", "p_so-so"]
    assert len(predictions) == metrics["test"]["n"]
    assert (predictions["target"] == predictions["prediction"]).mean() == pytest.approx(
        metrics["test"]["accuracy"]
    )
    assert np.allclose(predictions.filter(like="p_").sum(axis=1), 1, atol=1e-4)
    assert (own_run / "model" / "model.safetensors").is_file()


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        assert tag != "script"

    def handle_data(self, data):
        self.text += data


def test_every_row_of_a_run_is_listed_with_its_split(own_run):
    rows = pd.read_csv(own_run / "rows.csv", dtype=str)
    metrics = json.loads((own_run / "metrics.json").read_text())
    assert rows["split"].value_counts().to_dict() == metrics["rows"]
    assert rows["id"].is_unique
    assert metrics["rows_kept"] == {name: metrics["rows"][name] for name in ("validation", "test")}


def test_the_folder_alone_is_enough_for_texts(own_csv, own_run, tmp_path, capsys):
    """The user's file is gone: a finished run can still be measured, reported and exported."""
    run = tmp_path / "run"
    shutil.copytree(own_run, run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone.csv")}))
    assert main(["evaluate", str(run), "--json"]) == 0
    recorded = json.loads((own_run / "metrics.json").read_text())["test"]
    assert json.loads(capsys.readouterr().out)["macro_f1"] == recorded["macro_f1"]
    (run / "report.html").unlink()
    report.write_report(run)
    assert (run / "report.html").read_bytes()
    assert main(["export", str(run), "--format", "onnx"]) == 0
    capsys.readouterr()


def test_pictures_that_moved_or_changed_are_said(image_run, own_images, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(image_run, run)
    first = json.loads((run / "test.jsonl").read_text().splitlines()[0])
    assert main(["evaluate", str(run)]) == 0
    (run / "test.jsonl").write_text(
        (run / "test.jsonl").read_text().replace(first["path"], first["path"] + "x")
    )
    assert main(["evaluate", str(run)]) == 2
    assert (
        f"pictures of {run} have moved or changed since the run (first: {first['id']})"
        in capsys.readouterr().err
    )
    (run / "test.jsonl").write_text(
        (image_run / "test.jsonl").read_text().replace(first["content"], "0" * 32)
    )
    assert main(["evaluate", str(run)]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("edit", ["a label changes", "a row goes", "a row comes"])
def test_a_run_does_not_go_on_with_other_data(edit, own_csv, tmp_path, capsys):
    file, run = tmp_path / "rows.csv", tmp_path / "run"
    lines = own_csv.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines), encoding="utf-8")
    columns = ["--data", str(file), "--text-column", "comment", "--label-column", "stars"]
    assert main(["train", "text", "--output", str(run), *columns, "--epochs", "1", "--limit", "32"]) == 0
    if edit == "a label changes":
        place = next(number for number, line in enumerate(lines) if line.endswith(";bad"))
        lines[place] = lines[place].removesuffix("bad") + "great"
    elif edit == "a row goes":
        del lines[5]
    else:
        lines.append('999;"a film that nobody has seen before";bad')
    file.write_text("\n".join(lines), encoding="utf-8")
    capsys.readouterr()
    assert main(["train", "text", "--output", str(run), "--resume"]) == 2
    assert f"the data are not those that the run in {run} began with" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["own_run", "image_run"])
def test_report_stands_alone(kind, request):
    run = request.getfixturevalue(kind)
    page = Page()
    page.feed((run / "report.html").read_text(encoding="utf-8"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{metrics['test']['macro_f1']:.3f}" in page.text
    assert len(page.images) >= 2
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,") for image in page.images)
    assert "Configuration and versions" in page.text


def test_lora_run_is_saved_as_a_plain_model(own_csv, tmp_path, capsys):
    run = tmp_path / "lora"
    columns = ["--data", str(own_csv), "--text-column", "comment", "--label-column", "stars"]
    assert (
        main(
            [
                "train",
                "sentiment",
                "--output",
                str(run),
                *columns,
                "--epochs",
                "1",
                "--limit",
                "32",
                "--strategy",
                "lora",
            ]
        )
        == 0
    )
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["trainable_parameters"] < 500_000
    assert not [name for name in load_file(run / "model" / "model.safetensors") if "lora" in name]
    capsys.readouterr()
    assert (
        main(["evaluate", str(run), "--json"]) == 0
    )  # the saved weights hold the corrections: the same figures again
    assert json.loads(capsys.readouterr().out)["macro_f1"] == pytest.approx(metrics["test"]["macro_f1"])


def test_evaluate_repeats_the_test_metrics(own_run, capsys):
    assert main(["evaluate", str(own_run), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    recorded = json.loads((own_run / "metrics.json").read_text())["test"]
    assert again["accuracy"] == pytest.approx(recorded["accuracy"])
    assert again["loss"] == pytest.approx(recorded["loss"], rel=1e-3)


def test_evaluate_own_rows_names_unknown_labels(own_run, tmp_path, capsys):
    file = tmp_path / "new.csv"
    file.write_text("comment,stars\nlovely film,great\ndull,bad\nwho knows,maybe\n")
    assert main(["evaluate", str(own_run), "--data", str(file)]) == 2
    assert "row 4: unknown label 'maybe', the run knows bad, great, so-so" in capsys.readouterr().err
    assert main(["evaluate", str(own_run), "--data", str(file), "--on-bad", "skip"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 rows: accuracy")
    assert "skipped row 4" in captured.err


def test_predict_texts_json_and_files(own_run, tmp_path, capsys):
    texts = ["A joy from start to end.", "Bad, bad, bad.", "emoji 😀 and 中文"]
    assert main(["predict", str(own_run), *texts, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [o["input"] for o in objects] == texts
    assert all(set(o) == {"row", "input", "label", "probabilities"} for o in objects)
    assert all(max(o["probabilities"], key=o["probabilities"].get) == o["label"] for o in objects)
    (tmp_path / "in.txt").write_text("\n".join(texts), encoding="utf-8")
    pd.DataFrame({"x": texts}).to_csv(tmp_path / "in.csv", index=False)
    for arguments in (["in.txt"], ["in.csv", "--text-column", "x"]):
        command = [
            "predict",
            str(own_run),
            "--input",
            str(tmp_path / arguments[0]),
            *arguments[1:],
            "--output",
            str(tmp_path / "out.csv"),
        ]
        assert main(command) == 0
        table = pd.read_csv(tmp_path / "out.csv")
        column = "x" if arguments[0] == "in.csv" else "input"
        assert table[column].tolist() == texts
        assert list(table.columns) == ["row", column, "label", "p_bad", "p_great", "p_so-so"]
        assert table["label"].tolist() == [o["label"] for o in objects]
    capsys.readouterr()


def test_a_console_without_unicode_is_no_reason_to_crash(own_run):
    command = [sys.executable, "-m", "helpers", "predict", str(own_run), "great 😀 中文"]
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*command, *more], env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        if more:
            assert json.loads(done.stdout)["input"] == "great 😀 中文"


def test_predict_images(image_run, own_images, tmp_path, capsys):
    assert main(["predict", str(image_run), str(own_images / "cat" / "00.png")]) == 0
    assert capsys.readouterr().out.startswith(("cat", "zebra"))
    assert (
        main(["predict", str(image_run), "--input", str(own_images), "--output", str(tmp_path / "out.csv")])
        == 0
    )
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == 80
    assert table["input"].is_monotonic_increasing
    assert (table["label"] == table["input"].map(lambda p: p.split("/")[-2])).mean() > 0.8


def test_bad_rows_can_be_left_out_and_are_listed(own_csv, tmp_path, capsys):
    file = tmp_path / "bad.csv"
    file.write_text(own_csv.read_text(encoding="utf-8") + ";;great\n1;no label;\n", encoding="utf-8")
    common = [
        "train",
        "sentiment",
        "--output",
        str(tmp_path / "run"),
        "--data",
        str(file),
        "--text-column",
        "comment",
        "--label-column",
        "stars",
    ]
    assert main(common) == 2
    message = capsys.readouterr().err
    assert "2 bad entries" in message
    assert "row 302 of bad.csv: the text is empty" in message
    assert not (tmp_path / "run").exists()
    assert main([*common, "--on-bad", "skip", "--epochs", "1", "--limit", "60", "--strategy", "head"]) == 0
    assert "2 bad rows or files were left out" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "run" / "skipped.csv")["where"].tolist() == [
        "row 302 of bad.csv",
        "row 303 of bad.csv",
    ]
    assert "row 302 of bad.csv" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_hard_labels_can_be_asked_for():
    options = build_parser().parse_args(["train", "sentiment", "--output", "x", "--hard-labels"])
    hard = run_config(options)
    soft = run_config(build_parser().parse_args(["train", "sentiment", "--output", "x"]))
    rows = sources.comments().head(4)
    batch = {"indices": torch.arange(4), "labels": torch.tensor([2, 2, 2, 2])}
    batch["features"] = torch.randn(4, 3)
    model = torch.nn.Identity()
    plain = Classification()(model, batch)
    assert recipes.loss_of(hard, rows)(model, batch) == plain
    assert recipes.loss_of(soft, rows)(model, batch) != plain
    assert recipes.loss_of(soft, rows.drop(columns="ratings"))(model, batch) == plain


@pytest.mark.parametrize(
    ("content", "arguments", "expected"),
    [
        ("comment,stars\na,b\n", [], "has no column 'text'"),
        ("", [], "is empty"),
        (
            "text,label\n" + "".join(f"text {i},same\n" for i in range(30)),
            [],
            "at least 2 classes, found only ['same']",
        ),
        ("text,label\na,x\nb,y\n", [], "at least 10 independent rows"),
        (None, [], "does not exist"),
        ("text,label\n", [], "no usable row"),
        (None, ["--epochs", "0"], "epochs must be at least 1"),
        (None, ["--limit", "-3"], "limit must be 0"),
        (None, ["--learning-rate", "-1"], "learning_rate must be"),
    ],
)
def test_bad_training_input_is_one_sentence_and_writes_nothing(
    content, arguments, expected, tmp_path, capsys
):
    file = tmp_path / "own.csv"
    if content is not None:
        file.write_text(content)
    assert (
        main(["train", "sentiment", "--output", str(tmp_path / "run"), "--data", str(file), *arguments]) == 2
    )
    captured = capsys.readouterr()
    error = captured.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected in error
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


def test_outputs_that_cannot_be_written(own_run, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "run", own_run):
        assert main(["train", "sentiment", "--output", str(output)]) == 2
        assert re.search("not an empty folder|cannot be written", capsys.readouterr().err)
    assert main(["predict", str(own_run), "text", "--output", str(tmp_path / "no" / "out.csv")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_folders_that_are_no_run(tmp_path, capsys):
    for command in (
        ["predict", str(tmp_path), "x"],
        ["evaluate", str(tmp_path)],
        ["train", "images", "--output", str(tmp_path), "--resume"],
    ):
        assert main(command) == 2
        assert re.search("no run|no trained model", capsys.readouterr().err)


def test_bad_prediction_inputs(own_run, image_run, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "gap.txt").write_text("one\n\nthree\n")
    cases = [
        ([own_run], "either inputs"),
        ([own_run, "  "], "input 1: the text is empty"),
        ([own_run, "--input", tmp_path / "gap.txt"], "line 2 of gap.txt"),
        ([own_run, "--input", tmp_path / "none.csv"], "does not exist"),
        ([image_run, tmp_path / "broken.png"], "cannot be read as an image"),
        ([image_run, tmp_path / "none.png"], "does not exist"),
        ([image_run, "--input", tmp_path / "none"], "is no folder of images"),
    ]
    for arguments, expected in cases:
        assert main(["predict", *map(str, arguments)]) == 2
        assert expected in capsys.readouterr().err


@pytest.fixture(scope="session")
def exported_run(own_run, tmp_path_factory):
    """A copy of the run with its int8 export: other tests count the files of the run itself."""
    run = tmp_path_factory.mktemp("runs") / "exported"
    shutil.copytree(own_run, run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            export, "MAX_FLIPS", 0.1
        )  # a run of a few seconds is sure of nothing: rounding turns more of its labels
        assert main(["export", str(run), "--format", "onnx", "--int8"]) == 0
    return run


def test_export_says_what_it_measured(own_run, exported_run, tmp_path, capfd):
    assert (
        main(["export", str(own_run), "--format", "onnx", "--output", str(tmp_path / "onnx"), "--json"]) == 0
    )
    out, err = capfd.readouterr()
    done = json.loads(out)
    assert err == ""
    assert done["max_difference"] < 1e-4
    assert (done["agreement"], done["rows"]) == (
        1.0,
        json.loads((own_run / "metrics.json").read_text())["rows"]["validation"],
    )
    assert (
        done["bytes"]
        == (tmp_path / "onnx" / "model.onnx").stat().st_size
        > 3 * (exported_run / "onnx-int8" / "model.onnx").stat().st_size
    )
    assert (
        main(["export", str(own_run), "--format", "onnx", "--output", str(tmp_path / "onnx")]) == 0
    )  # again: replaced
    assert re.search(
        r"model\.onnx: 9\d\.\d MB\non \d+ validation rows: the same label as PyTorch in 100\.00%",
        capfd.readouterr().out,
    )


def test_predict_with_an_export(exported_run, capsys):
    answers = []
    for engine in ([], ["--int8"]):
        assert main(["predict", str(exported_run), "a great film", "a dull film", "--json", *engine]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        answers.append(np.array([list(line["probabilities"].values()) for line in lines]))
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.1


def test_exports_that_are_refused(own_run, image_run, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    cases = [
        (["export", tmp_path, "--format", "onnx"], "holds no trained model"),
        (["export", image_run, "--format", "onnx", "--int8"], "int8 is for text models"),
        (
            ["export", own_run, "--format", "onnx", "--output", tmp_path / "full"],
            "neither empty nor an earlier export",
        ),
        (["predict", own_run, "text", "--onnx"], "was not exported yet"),
    ]
    for arguments, sentence in cases:
        assert main([*map(str, arguments)]) == 2
        assert sentence in capsys.readouterr().err
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    for wrong in (
        ["export", "RUN"],
        ["export", "RUN", "--format", "tflite"],
        ["serve", "RUN", "--onnx", "--int8"],
    ):
        with pytest.raises(SystemExit) as exit_info:
            main(wrong)
        assert exit_info.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


def train_process(csv, run, *more):
    command = [
        sys.executable,
        "-m",
        "helpers",
        "train",
        "sentiment",
        "--output",
        str(run),
        "--data",
        str(csv),
        "--text-column",
        "comment",
    ]
    return subprocess.Popen(
        [*command, "--label-column", "stars", "--limit", "0", "--epochs", "2", *more],
        env=ENVIRONMENT,
        cwd=run.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_and_resumed_run_has_the_same_weights_bit_for_bit(own_csv, tmp_path):
    whole = train_process(own_csv, tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read()
    broken = train_process(own_csv, tmp_path / "broken")
    for line in broken.stderr:
        if "epoch 1: validation" in line:
            break
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL
    assert not (tmp_path / "broken" / "metrics.json").exists()
    resumed = subprocess.run(
        [
            sys.executable,
            "-m",
            "helpers",
            "train",
            "sentiment",
            "--output",
            str(tmp_path / "broken"),
            "--resume",
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    first, second = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken")
    )
    assert all((first[name] == second[name]).all() for name in first)
    assert (tmp_path / "whole" / "predictions.csv").read_bytes() == (
        tmp_path / "broken" / "predictions.csv"
    ).read_bytes()


def test_two_processes_on_the_command_line(own_csv, own_run, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "helpers",
        "train",
        "sentiment",
    ]
    options = [
        "--data",
        str(own_csv),
        "--text-column",
        "comment",
        "--label-column",
        "stars",
        "--epochs",
        "2",
        "--limit",
        "0",
    ]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "two"), *options],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((run / "metrics.json").read_text()) for run in (own_run, tmp_path / "two"))
    assert two["processes"] == 2
    assert two["optimizer_steps"] == one["optimizer_steps"]
    assert two["test"]["n"] == one["test"]["n"]
    ids = [pd.read_csv(run / "predictions.csv")["id"].tolist() for run in (own_run, tmp_path / "two")]
    assert ids[0] == ids[1]
    assert len(set(ids[1])) == len(ids[1])


def test_doctor_speaks_json(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["ready"]
    assert {check["name"] for check in findings["checks"]} >= {
        "python",
        "packages",
        "device",
        "assets",
        "disk",
        "fonts",
        "port",
    }


def test_doctor_names_what_is_missing(capsys, monkeypatch, tmp_path):
    from helpers import assets

    monkeypatch.setattr(assets.status, "__defaults__", (tmp_path,))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAIL assets" in out
    assert "-> run `python -m helpers fetch`" in out


def test_scale_accepts_two_words(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "huge")
    assert main(["doctor"]) == 2
    assert "COURSE_SCALE must be quick or full, found 'huge'" in capsys.readouterr().err
