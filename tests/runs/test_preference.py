"""`train preference` and `evaluate` from the command line, with a tiny model of random weights."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.cli import main
from helpers.data.pairs import PairCollate, PairDataset
from helpers.models.language import language_model, load_language_model
from helpers.models.low_bit import LowBitLinear
from helpers.runs.preference import lengths_line
from helpers.training.losses import Preference, pair_log_probabilities
from helpers.tuning.lora import has_lora


def pair(number):
    """Of different lengths, so that batches have padding; both answers may be the longer one."""
    question = f"What is {number}? " + "Think. " * (number % 5)
    answers = {"chosen": f"It is {number * 7 % 11} 👋🏽.", "rejected": "No idea" + " at all" * (number % 3)}
    return {"prompt": question} | answers


def write(file, rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", map(pair, range(30)))


@pytest.fixture
def train(rows, writer_folder, tmp_path):
    """train(option, ...) on 30 pairs into `folder`; returns the exit status."""

    def command(*more, data=rows, folder="run"):
        words = ["--output", str(tmp_path / folder), "--data", str(data), "--model", str(writer_folder)]
        return main(["train", "preference", *words, *map(str, more)])

    return command


@pytest.fixture(scope="module")
def finished(rows, writer_folder, tmp_path_factory):
    """A finished run on 30 pairs, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["--data", str(rows), "--model", str(writer_folder), "--learning-rate", "0.01", "--rank", "4"]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        assert main(["train", "preference", "--output", str(folder), "--epochs", "2", *words]) == 0
    return folder, "\n".join(printed)


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_a_run_folder_holds_what_it_promises(finished):
    folder, printed = finished
    metrics, test = metrics_of(folder), metrics_of(folder)["test"]
    assert metrics["rows"] == {"train": 24, "validation": 3, "test": 3}
    assert {"loss", "pair_accuracy", "margin", "chosen_change", "rejected_change"} <= set(test)
    assert test["pair_accuracy_interval"][0] <= test["pair_accuracy"] <= test["pair_accuracy_interval"][1]
    history = pd.read_csv(folder / "history.csv")
    assert history["train_loss"][0] == pytest.approx(np.log(2), abs=0.01)
    assert history["train_loss"].iloc[-1] < 0.6
    best = history.loc[history["validation_loss"].idxmin()]
    for name in ("loss", "pair_accuracy", "margin", "chosen_change", "rejected_change"):
        assert best[f"validation_{name}"] == pytest.approx(metrics["validation"][name], rel=1e-4)
    assert {"answered", "answer_tokens", "stopped"} <= set(metrics["before"])
    assert metrics["before"]["answered"] == test["answered"] == 3
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "pair accuracy",
        "test, before the training",
        "tokens of an answer",
        "the longer answer is",
    ):
        assert words in page
    low, high = test["pair_accuracy_interval"]
    assert f"<td>{test['pair_accuracy']:.3f} ({low:.3f} to {high:.3f})</td>" in page
    assert "<th>id</th><th>wanted</th><th>written</th>" in page
    answer = pd.read_csv(folder / "predictions.csv", dtype=str)["id"][0]
    assert f"<tr><td>{answer}</td><td>It is" in page
    assert "30 pairs (30 rows); used: 24 train, 3 validation, 3 test" in printed
    assert "chosen answers have" in printed
    assert f"pair accuracy {test['pair_accuracy']:.3f} (95% interval" in printed


def test_the_figures_are_those_of_the_pairs(finished, writer_folder):
    """Counted again from the kept rows, with the model before and after, one pair at a time."""
    folder, _ = finished
    table, test = pd.read_csv(folder / "predictions.csv"), metrics_of(folder)["test"]
    kept = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    lm, before = load_language_model(folder / "model"), language_model(str(writer_folder))
    assert [str(number) for number in table["id"]] == [row["id"] for row in kept]
    changes = []
    for row, said in zip(kept, table.itertuples()):
        chosen = json.loads(row["text"])
        assert (chosen[-1]["content"], row["rejected"]) == tuple(
            pair(int(row["id"]) - 1)[name] for name in ("chosen", "rejected")
        )
        other = [*chosen[:-1], {"role": "assistant", "content": row["rejected"]}]
        dataset = PairDataset([(chosen, other)], lm.tokenizer, 1024)
        batch = PairCollate(lm.tokenizer.pad_token_id)([dataset[0]])
        with torch.no_grad():
            after, reference = (pair_log_probabilities(model, batch)[0] for model in (lm.model, before.model))
        assert [said.log_p_chosen, said.log_p_rejected] == pytest.approx(after.tolist(), rel=0.02)
        assert [said.reference_chosen, said.reference_rejected] == pytest.approx(reference.tolist(), rel=0.02)
        assert said.margin == pytest.approx(
            said.log_p_chosen - said.reference_chosen - said.log_p_rejected + said.reference_rejected,
            abs=1e-3,
        )
        changes.append([said.log_p_chosen - said.reference_chosen, *dataset.answer_lengths[0]])
    assert test["margin"] == pytest.approx(table["margin"].mean(), abs=1e-4)
    assert test["pair_accuracy"] == (table["margin"] > 0).mean()
    losses = [Preference(0.1).of_margins(torch.tensor([margin])).item() for margin in table["margin"]]
    assert test["loss"] == pytest.approx(np.mean(losses), abs=1e-4)
    changes = np.array(changes)
    assert test["chosen_change"] == pytest.approx(changes[:, 0].sum() / changes[:, 1].sum(), abs=1e-4)
    assert test["likelier_wins"] == (table["reference_chosen"] > table["reference_rejected"]).mean()


def test_evaluate_repeats_the_test_figures_wherever_the_folder_is(finished, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "copy", "--json"]) == 0
    found, known = json.loads(capsys.readouterr().out), metrics_of(folder)
    assert {name: found[name] for name in known["test"]} == known["test"]


def test_evaluate_other_pairs(finished, rows, tmp_path, capsys):
    assert main(["evaluate", str(finished[0]), "--data", str(rows)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("30 rows: pair accuracy")
    assert "trained on 24 of these 30 rows: its score flatters" in printed.err
    assert "chosen answers have" in printed.err
    swapped = [
        {"prompt": p["prompt"], "chosen": p["rejected"], "rejected": p["chosen"]}
        for p in map(pair, range(30))
    ]
    table = pd.DataFrame(swapped).rename(columns={"chosen": "good"})
    table.to_csv(tmp_path / "swapped.csv", index=False)
    words = ["evaluate", str(finished[0]), "--data", str(tmp_path / "swapped.csv"), "--chosen-column", "good"]
    assert main([*words, "--json"]) == 0
    turned = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(finished[0]), "--data", str(rows), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert turned["pair_accuracy"] == pytest.approx(1 - found["pair_accuracy"])
    assert turned["longer_wins"] == pytest.approx(1 - found["longer_wins"])
    assert turned["margin"] == pytest.approx(-found["margin"], abs=1e-4)
    assert found["pair_accuracy"] > 0.8
    assert not any("flatters" in sentence for sentence in turned["noticed"])


@pytest.mark.parametrize(
    ("options", "adapted"), [(("--strategy", "full"), False), (("--base-bits", "4"), True)]
)
def test_all_weights_or_four_bits(options, adapted, train, tmp_path, capsys):
    assert train(*options, "--learning-rate", "0.003", "--epochs", 3, "--beta", "0.5") == 0
    lm = load_language_model(tmp_path / "run/model")
    assert has_lora(lm.model) == adapted
    assert any(isinstance(module, LowBitLinear) for module in lm.model.modules()) == adapted
    history = pd.read_csv(tmp_path / "run/history.csv")["train_loss"]
    assert history[0] == pytest.approx(np.log(2), abs=0.03)
    assert history.iloc[-1] < history[0]
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    found, known = json.loads(capsys.readouterr().out), metrics_of(tmp_path / "run")["test"]
    assert {name: found[name] for name in ("loss", "margin")} == {n: known[n] for n in ("loss", "margin")}


def test_a_dry_run_says_what_was_understood_and_writes_nothing(train, tmp_path, capsys):
    assert train("--dry-run") == 0
    said = capsys.readouterr().out
    assert "30 pairs" in said
    assert "the longest conversation has" in said
    assert not (tmp_path / "run").exists()


IDLE = [
    ["preference", "--packing"],
    ["preference", "--answer-column", "a"],
    ["preference", "--chosen-column", "a"],
    ["preference", "--text-column", "a"],
    ["preference", "--rank", "4", "--strategy", "full"],
    ["chat", "--beta", "0.2"],
    ["chat", "--rejected-column", "a"],
    ["text", "--beta", "0.2"],
    ["images", "--chosen-column", "a"],
]


@pytest.mark.parametrize("words", IDLE)
def test_options_without_effect_are_refused(words, tmp_path, capsys):
    assert main(["train", *words, "--output", str(tmp_path / "run")]) == 2
    assert "no effect" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_evaluate_refuses_the_columns_of_other_tasks(finished, rows, capsys):
    for option in ("--answer-column", "--text-column"):
        assert main(["evaluate", str(finished[0]), "--data", str(rows), option, "a"]) == 2
        assert f"{option} has no effect" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--beta", "0"], ["--beta", "-1"], ["--beta", "nan"], ["--beta", "inf"]])
def test_impossible_values_are_refused(words, train, tmp_path, capsys):
    assert train(*words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: beta must be above 0")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_plan_alone(finished, capsys):
    for words in (["--beta", "0.2"], ["--chosen-column", "a"], ["--strategy", "full"]):
        assert main(["train", "preference", "--output", str(finished[0]), "--resume", *words]) == 2
        assert words[0] in capsys.readouterr().err
    assert main(["train", "chat", "--output", str(finished[0]), "--resume"]) == 2
    assert "the task chat" in capsys.readouterr().err


def test_a_changed_rejected_answer_is_another_run(train, tmp_path, capsys):
    data = write(tmp_path / "rows.jsonl", map(pair, range(9)))
    assert train("--max-steps", 1, data=data) == 0
    write(data, [pair(0) | {"rejected": "Another."}, *map(pair, range(1, 9))])
    assert train("--resume", "--max-steps", 1, data=data) == 2
    assert "1 rows changed" in capsys.readouterr().err


BAD = {
    "a copy of the chosen one": (pair(9) | {"rejected": pair(9)["chosen"]}, "are the same"),
    "a control sign": (pair(9) | {"rejected": "a <|im_end|>"}, "control sign"),
    "too long": (pair(9) | {"rejected": "word " * 80}, "in 'rejected', has 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_named(name, train, tmp_path, capsys):
    bad, words = BAD[name]
    data = write(tmp_path / "bad.jsonl", [pair(0), pair(1), bad, pair(2), pair(3)])
    assert train("--max-length", 80, data=data, folder="bad") == 2
    error = capsys.readouterr().err
    assert "line 3 of bad.jsonl" in error
    assert words in error
    assert not (tmp_path / "bad").exists()
    assert train("--max-length", 80, "--on-bad", "skip", "--max-steps", 1, data=data, folder="bad") == 0
    assert "line 3 of bad.jsonl" in (tmp_path / "bad/skipped.csv").read_text()


def test_a_preference_that_length_alone_explains_is_said():
    def line(*answers):
        return lengths_line(pd.DataFrame(answers, columns=["label", "rejected"]))

    assert line(("aaaa", "b"), ("aaa", "b"), ("aa", "b"), ("a", "bb")).endswith("may learn just that")
    assert "always takes the longer one" in line(("aaaa", "b"), ("a", "b"), ("aa", "b"), ("aa", "b"))
    assert "always takes the shorter one" in line(("a", "bbbb"))
    fair = line(("aaaa", "b"), ("b", "aaaa"), ("a", "b"))
    assert fair.startswith("chosen answers have 2 characters on average, rejected ones 2; the longer one is")
    assert fair.endswith("50% of the pairs (equal ones count one half)")


def test_the_trained_run_is_a_language_model(finished, tmp_path, capsys, monkeypatch):
    folder = str(finished[0])
    capsys.readouterr()
    assert main(["generate", folder, "Hello", "--max-new-tokens", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finish"] == "length"
    assert main(["export", folder, "--format", "safetensors", "--output", str(tmp_path / "merged")]) == 0
    assert main(["predict", folder, "x"]) == 2
    monkeypatch.setattr("helpers.deployment.service.serve", lambda make_app, name, **_: print(name))
    capsys.readouterr()
    assert main(["serve", folder]) == 0
    assert "(chat)" in capsys.readouterr().out
    data = write(tmp_path / "rows.jsonl", map(pair, range(9)))
    words = ["--data", str(data), "--max-steps", "1", "--output", str(tmp_path / "next")]
    assert main(["train", "preference", "--model", folder, *words]) == 2
    assert "is a run, not a model; make one of it by" in capsys.readouterr().err
    assert main(["train", "preference", "--model", str(tmp_path / "merged"), *words]) == 0


def test_the_course_s_comments(writer_folder, tmp_path):
    words = ["--model", str(writer_folder), "--limit", "8", "--max-steps", "1"]
    assert main(["train", "preference", "--output", str(tmp_path / "run"), *words]) == 0
    metrics = metrics_of(tmp_path / "run")
    assert {"pair_accuracy", "accuracy", "valid_json"} <= set(metrics["test"])
    kinds = metrics["test"]["by_kind"]
    assert set(kinds) <= {"sentiment", "guess", "strength", "format"}
    assert sum(found["n"] for found in kinds.values()) == metrics["rows"]["test"] == 4
    assert "Test pairs by kind" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
