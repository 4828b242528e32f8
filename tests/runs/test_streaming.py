"""`train --stream`: a folder of shards as rows of a run, checked, split, streamed, resumed."""

import csv
import json

import pandas as pd
import pytest

from helpers import cli
from helpers.runs import run
from helpers.runs.chat_config import ChatConfig
from helpers.runs.recipes import RunConfig, default_training

WORDS = {"good": ("fine", "lovely"), "bad": ("dull", "grey")}
THINGS = ("lamp", "chair", "film", "soup", "book")


def rows_of(count, first=0):
    for number in range(first, first + count):
        label = ("good", "bad")[number % 2]
        word = WORDS[label][number % 3 % 2]
        yield {"text": f"the {THINGS[number % 5]} number {number} is {word}", "label": label}


@pytest.fixture
def folder(tmp_path):
    """300 rows in three files of JSON Lines, with a name of the file system's own beside them."""
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "_SUCCESS").touch()
    for file in range(3):
        lines = [json.dumps(row) + "\n" for row in rows_of(100, 100 * file)]
        (tmp_path / "shards" / f"{file}.jsonl").write_text("".join(lines))
    return tmp_path / "shards"


@pytest.fixture
def command(folder, tiny_encoder):
    words = ["train", "text", "--data", str(folder), "--stream", "--model", str(tiny_encoder)]
    return [*words, "--max-steps", "6", "--learning-rate", "0.005"]


def test_a_stream_trains_and_is_evaluated(command, tmp_path, capsys):
    assert cli.main([*command, "--output", str(tmp_path / "run"), "--json"]) == 0
    out, said = capsys.readouterr()
    metrics = json.loads(out)
    rows = metrics["rows"]
    assert sum(rows.values()) == 300
    assert 10 < rows["test"] < 60
    assert metrics["test"]["n"] == rows["test"]
    assert metrics["optimizer_steps"] == 6
    assert f"rows: {rows['train']} training, {rows['validation']} validation, {rows['test']} test" in said
    assert "1 hidden files" in said
    assert "validation and test rows are drawn by a hash, 10.00% of all each" in said
    kept = pd.read_csv(tmp_path / "run" / "rows.csv", dtype=str)
    assert kept.loc[kept["split"] == "train", "id"].tolist() == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert f"{rows['test']} rows: accuracy" in capsys.readouterr().out


def test_the_split_does_not_depend_on_the_files_and_copies_stay_on_one_side(folder, tmp_path, tiny_encoder):
    """The same rows in one CSV file, in another order, each three times with other marks."""
    (tmp_path / "other").mkdir()
    with (tmp_path / "other" / "rows.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, ["text", "label"])
        writer.writeheader()
        for row in reversed(list(rows_of(300))):
            for ending in ("", "!", " :)"):
                writer.writerow(row | {"text": row["text"] + ending})
    training = default_training("text", "full", max_steps=2)
    config = RunConfig(
        "text", data=str(folder), model=str(tiny_encoder), stream=True, limit=0, training=training
    )
    first = run._task(config).prepare(config)
    config = RunConfig("text", data=str(tmp_path / "other"), stream=True, limit=0, training=training)
    second = run._task(config).prepare(config)
    for name in ("validation", "test"):
        texts = set(second.splits[name]["text"].str.replace(r"\W+$", "", regex=True))
        assert set(first.splits[name]["text"]) == texts
    assert second.rows["train"] == 3 * first.rows["train"]


def test_changed_shards_are_not_gone_on_with(command, folder, tmp_path, capsys):
    assert cli.main([*command, "--output", str(tmp_path / "run")]) == 0
    with (folder / "1.jsonl").open("a") as lines:
        lines.write(json.dumps({"text": "one more", "label": "good"}) + "\n")
    assert cli.main(["train", "text", "--output", str(tmp_path / "run"), "--resume"]) == 2
    assert "the data are not those that the run" in capsys.readouterr().err


def test_bad_rows_stop_or_are_left_out_and_listed(command, folder, tmp_path, capsys):
    with (folder / "1.jsonl").open("a") as lines:
        lines.write(
            '{"text": "  ", "label": "good"}\n{"text": 3.5, "label": ["a"]}\nnothing\n{"label": "bad"}\n'
        )
    assert cli.main([*command, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "4 bad entries" in said
    for place, what in enumerate(
        ("the text is empty", "holds list", "is no JSON object", "has no 'text'"), 101
    ):
        assert f"1.jsonl:{place}: " in said
        assert what in said
    assert cli.main([*command, "--output", str(tmp_path / "run"), "--on-bad", "skip", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["skipped"] == 4
    assert sum(metrics["rows"].values()) == 300
    assert len(pd.read_csv(tmp_path / "run" / "skipped.csv")) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["images", "--data", "x", "--stream"], "--stream has no effect on images"),
        (["text", "--stream"], "--stream has no effect without --data FOLDER"),
        (["text", "--data", "x", "--stream", "--limit", "3"], "--limit has no effect with --stream"),
        (["text", "--data", "x.csv", "--stream"], "x.csv is no folder"),
    ],
)
def test_a_stream_of_nothing_is_one_sentence(words, sentence, capsys):
    assert cli.main(["train", *words, "--dry-run"]) == 2
    assert sentence in capsys.readouterr().err


def test_conversations_stream(tmp_path, random_lm):
    (tmp_path / "chats").mkdir()
    lines = [json.dumps({"prompt": row["text"], "completion": row["label"]}) + "\n" for row in rows_of(200)]
    (tmp_path / "chats" / "all.jsonl").write_text("".join(lines))
    random_lm.model.save_pretrained(tmp_path / "model")
    random_lm.tokenizer.save_pretrained(tmp_path / "model")
    config = ChatConfig(data=str(tmp_path / "chats"), model=str(tmp_path / "model"), stream=True, limit=0)
    task = run._task(config)
    prepared = task.prepare(config)
    assert sum(prepared.rows.values()) == 200
    job = task.job(config, prepared)
    batch = next(iter(job.loaders["train"]))
    assert set(batch) == {"input_ids", "attention_mask", "labels", "indices"}
    answer = job.lm.tokenizer.decode(batch["labels"][0][batch["labels"][0] != -100])
    assert answer.startswith(("good", "bad"))
    assert any("optimizer steps are planned" in line for line in task.understood(config, prepared, job))
