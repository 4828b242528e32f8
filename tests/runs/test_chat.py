"""`train chat` and `evaluate` from the command line, with a tiny model of random weights."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM

from helpers.cli import main
from helpers.data.chat import conversation_ids
from helpers.errors import DataError, InputError
from helpers.models.language import load_language_model
from helpers.models.low_bit import LowBitLinear
from helpers.runs import run
from helpers.runs.chat_config import ChatConfig, default_training
from helpers.training.losses import CausalLM
from helpers.tuning.lora import has_lora


def row(question, answer, *before):
    turns = [*before, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


def write(file, rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def questions(count):
    """Of different lengths, so that batches have padding."""
    return [row(f"What is {n}? " + "Think. " * (n % 5), f"It is {n * 7 % 11} 👋🏽.") for n in range(count)]


@pytest.fixture
def rows(tmp_path):
    return write(tmp_path / "rows.jsonl", questions(20))


@pytest.fixture
def train(rows, writer_folder, tmp_path):
    """train(option, ...) on 20 conversations into `folder`; returns the exit status."""

    def command(*more, data=rows, model=writer_folder, folder="run"):
        words = ["--output", str(tmp_path / folder), "--data", str(data), "--model", str(model)]
        return main(["train", "chat", *words, *map(str, more)])

    return command


@pytest.fixture(scope="module")
def finished(writer_folder, tmp_path_factory):
    """A finished run on 30 conversations, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    data = write(folder.parent / "rows.jsonl", questions(30))
    words = ["--data", str(data), "--model", str(writer_folder), "--learning-rate", "0.01", "--rank", "4"]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        assert main(["train", "chat", "--output", str(folder), *words]) == 0
    return folder, "\n".join(printed)


FILES = {
    "config.json", "rows.csv", "validation.jsonl", "test.jsonl", "history.csv", "metrics.json",
    "predictions.csv", "model", "checkpoints", "report.html",
}  # fmt: skip


def test_a_run_folder_holds_what_it_promises(finished):
    folder, printed = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {file.name for file in folder.iterdir()} == FILES
    assert metrics["rows"] == {"train": 24, "validation": 3, "test": 3}
    assert metrics["optimizer_steps"] == 4
    assert {"loss", "perplexity", "bits_per_byte", "answered", "exact_match", "stopped"} <= set(
        metrics["test"]
    )
    assert "accuracy" not in metrics["test"]
    history = pd.read_csv(folder / "history.csv")
    assert history["validation_loss"].notna().sum() == 2
    assert history["validation_loss"].min() == pytest.approx(metrics["validation"]["loss"], abs=1e-6)
    predictions = pd.read_csv(folder / "predictions.csv", dtype=str)
    assert list(predictions.columns) == ["id", "target", "prediction"]
    assert predictions["target"].str.startswith("It is").all()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "bits per byte" in page
    assert "Answers that differ" in page
    assert "30 conversations (30 rows); used: 24 train, 3 validation, 3 test" in printed
    assert f"loss {metrics['test']['loss']:.3f}" in printed
    assert "4 optimizer steps on 24 rows" in printed


def test_the_understood_tokens_are_those_that_are_learnt(finished, tokenizer):
    rows = pd.read_csv(finished[0] / "rows.csv", dtype=str)
    used = rows.loc[rows["split"] == "train", "id"].astype(int) - 1
    pairs = [conversation_ids(questions(30)[n]["messages"], tokenizer) for n in used]
    total, learnt = sum(len(ids) for ids, _ in pairs), sum(label != -100 for _, ls in pairs for label in ls)
    assert f"training: {total:,} tokens, {learnt:,} of them" in finished[1]


def test_evaluate_repeats_the_test_figures_wherever_the_folder_is(finished, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "copy", "--json"]) == 0
    found, known = json.loads(capsys.readouterr().out), json.loads((folder / "metrics.json").read_text())
    assert {name: found[name] for name in known["test"]} == known["test"]


def test_evaluate_other_conversations(finished, tmp_path, capsys):
    same = write(tmp_path / "same.jsonl", questions(30))
    assert main(["evaluate", str(finished[0]), "--data", str(same)]) == 0
    assert "trained on 24 of these 30 rows: its score flatters" in capsys.readouterr().err
    pairs = [{"prompt": "p", "completion": "c"}, {"prompt": "", "completion": "c"}]
    file = write(tmp_path / "pairs.jsonl", pairs)
    assert main(["evaluate", str(finished[0]), "--data", str(file)]) == 2
    assert "line 2 of pairs.jsonl" in capsys.readouterr().err
    assert main(["evaluate", str(finished[0]), "--data", str(file), "--on-bad", "skip"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("1 rows: loss")
    assert "skipped line 2 of pairs.jsonl" in printed.err


def test_bits_per_byte_are_the_loss_of_all_tokens_by_the_bytes_of_the_answers(finished):
    lm = load_language_model(finished[0] / "model")
    test = json.loads((finished[0] / "metrics.json").read_text())["test"]
    kept = [json.loads(line) for line in (finished[0] / "test.jsonl").read_text().splitlines()]
    nats, size = 0.0, 0
    for kept_row in kept:
        messages = json.loads(kept_row["text"])
        ids, labels = (torch.tensor([part]) for part in conversation_ids(messages, lm.tokenizer))
        batch = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
        nats += CausalLM()(lm.model, batch).item()
        size += len(messages[-1]["content"].encode())
    assert test["bits_per_byte"] == pytest.approx(nats / size / 0.693147, rel=1e-2)  # bf16, where it is fast


def losses(folder):
    return pd.read_csv(folder / "history.csv")[["train_loss", "validation_loss"]].to_numpy()


def config_of(data, model, strategy="lora", **values):
    training = default_training(strategy, precision="no", learning_rate=1e-3, batch_size=5)
    return ChatConfig(data=str(data), model=str(model), limit=0, training=training, **values)


def test_packing_gives_the_same_losses(rows, writer_folder, tmp_path):
    config = config_of(rows, writer_folder)
    padded = run.train(config, tmp_path / "padded")
    packed = run.train(replace(config, packing=True), tmp_path / "packed")
    assert losses(tmp_path / "packed") == pytest.approx(losses(tmp_path / "padded"), abs=1e-4, nan_ok=True)
    assert packed["test"]["loss"] == pytest.approx(padded["test"]["loss"], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "adapted"), [(("--strategy", "full"), False), (("--base-bits", "4"), True)]
)
def test_all_weights_or_four_bits(options, adapted, train, tmp_path, capsys):
    assert train(*options, "--learning-rate", "0.01") == 0
    lm = load_language_model(tmp_path / "run/model")
    assert has_lora(lm.model) == adapted
    assert any(isinstance(module, LowBitLinear) for module in lm.model.modules()) == adapted
    first, *_, last = losses(tmp_path / "run")[:, 0]
    assert last < first
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["loss"]
    assert found == json.loads((tmp_path / "run/metrics.json").read_text())["test"]["loss"]


@pytest.mark.parametrize("count", [3, 10, 101])
def test_small_files(count, train, tmp_path):
    data = write(tmp_path / "some.jsonl", questions(count))
    assert train("--max-steps", 2, data=data) == 0
    rows = json.loads((tmp_path / "run/metrics.json").read_text())["rows"]
    assert sum(rows.values()) == count
    assert min(rows.values()) == max(1, round(count / 10))


def test_a_limit_counts_training_rows(train, tmp_path):
    assert train("--limit", 4) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["rows"] == {"train": 4, "validation": 1, "test": 2}
    assert any("4 of 16 train rows are used" in sentence for sentence in metrics["noticed"])


IDLE = [
    ["chat", "--text-column", "a"],
    ["chat", "--prompt-column", "a"],
    ["chat", "--on-bad", "skip"],
    ["chat", "--no-cache"],
    ["chat", "--hard-labels"],
    ["chat", "--rank", "4", "--strategy", "full"],
    ["chat", "--base-bits", "4", "--strategy", "full"],
    ["chat", "--epochs", "1", "--max-steps", "2"],
    ["text", "--rank", "4"],
    ["text", "--rank", "0"],
    ["text", "--system", ""],
    ["images", "--packing"],
    ["text", "--base-bits", "4"],
    ["text", "--epochs", "0", "--max-steps", "2"],
]


@pytest.mark.parametrize("words", IDLE)
def test_options_without_effect_are_refused(words, tmp_path, capsys):
    assert main(["train", *words, "--output", str(tmp_path / "run")]) == 2
    assert "no effect" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


IMPOSSIBLE = [["--rank", "0"], ["--strategy", "head"], ["--max-length", "3"], ["--limit", "-1"],
              ["--learning-rate", "nan"], ["--batch-size", "0"], ["--system", "a <|im_end|> b"],
              ["--model", "/no/where"]]  # fmt: skip


@pytest.mark.parametrize("words", IMPOSSIBLE)
def test_impossible_values_are_refused(words, train, tmp_path, capsys):
    assert train(*words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--rank", "5"], ["--packing"], ["--system", "x"], ["--base-bits", "4"],
                                   ["--max-length", "99"], ["--strategy", "full"]])  # fmt: skip
def test_a_run_goes_on_with_its_own_plan_alone(words, finished, capsys):
    assert main(["train", "chat", "--output", str(finished[0]), "--resume", *words]) == 2
    assert words[0] in capsys.readouterr().err


BAD = {
    "no answer": ({"messages": [{"role": "user", "content": "q"}]}, "holds no answer"),
    "a control sign": (row("q <|im_end|>", "a"), "control sign"),
    "an empty answer": (row("q", " "), "empty"),
    "too long": (row("q", "word " * 50), "at most 60"),
    "no JSON": ("{", "line 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_named(name, train, tmp_path, capsys):
    bad, words = BAD[name]
    rows = questions(6)
    data = write(tmp_path / "bad.jsonl", [*rows[:2], bad, *rows[2:]])
    if isinstance(bad, str):
        data.write_text(data.read_text().replace(json.dumps(bad), bad))
    options = {"data": data, "folder": "bad"}
    assert train("--max-length", 60, **options) == 2
    error = capsys.readouterr().err
    assert "line 3 of bad.jsonl" in error
    assert words in error
    assert not (tmp_path / "bad").exists()
    assert train("--max-length", 60, "--on-bad", "skip", "--max-steps", 1, **options) == 0
    assert "line 3 of bad.jsonl" in (tmp_path / "bad/skipped.csv").read_text()


@pytest.mark.parametrize("rows", [questions(2), [row("q", f"a{n}") for n in range(9)], questions(1) * 9])
def test_too_few_different_prompts(rows, train, tmp_path, capsys):
    assert train(data=write(tmp_path / "few.jsonl", rows)) == 2
    assert "at least three conversations" in capsys.readouterr().err


def test_one_prompt_never_stands_on_two_sides(train, tmp_path):
    rows = [row(f"Question {n % 6}", f"answer {n}") for n in range(24)]
    assert train("--max-steps", 1, data=write(tmp_path / "same.jsonl", rows)) == 0
    splits = pd.read_csv(tmp_path / "run/rows.csv", dtype=str)
    assert (splits.groupby((splits["id"].astype(int) - 1) % 6)["split"].nunique() == 1).all()


def template(folder, to, text):
    shutil.copytree(folder, to)
    (to / "chat_template.jinja").write_text(text)
    return to


def test_rows_that_the_template_refuses_are_named(writer_folder, tmp_path):
    text = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    text += "{% for m in messages %}{{ m.content }}|{% endfor %}"
    model = template(writer_folder, tmp_path / "model", text)
    data = write(tmp_path / "rows.jsonl", [*questions(3), row("q", "a", {"role": "system", "content": "s"})])
    with pytest.raises(DataError, match=r"line 4 of rows.jsonl: the chat template .* no system"):
        run.understand(config_of(data, model))


def test_what_the_model_cannot_read_is_said_before_the_training(small_llama, tokenizer, tmp_path):
    """Whichever split the long row is in."""
    torch.manual_seed(0)
    model = tmp_path / "model"
    small_llama(len(tokenizer), max_position_embeddings=64).save_pretrained(model)
    tokenizer.save_pretrained(model)
    for place in range(10):
        rows = questions(10)
        rows[place] = row("q", "word " * 60)
        data = write(tmp_path / "rows.jsonl", rows)
        with pytest.raises(InputError, match=rf"conversation {place + 1} has .* at most 64"):
            run.understand(config_of(data, model))


def test_a_loss_without_a_perplexity_is_no_crash(train, small_llama, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = tmp_path / "wild"
    wild = small_llama(len(tokenizer))
    wild.lm_head.weight.data *= 1000
    wild.save_pretrained(model)
    tokenizer.save_pretrained(model)
    assert train("--max-steps", 1, model=model) == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["loss"] > 710


def test_a_model_without_positions_cannot_be_packed(train, tokenizer, tmp_path, capsys):
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    assert train("--packing", model=tmp_path / "bloom") == 2
    assert "leave --packing out" in capsys.readouterr().err
    assert train("--max-steps", 1, model=tmp_path / "bloom") == 0


def test_the_course_s_comments(train, writer_folder, tmp_path):
    words = ["--model", str(writer_folder), "--limit", "2", "--max-steps", "1"]
    assert main(["train", "chat", "--output", str(tmp_path / "run"), *words]) == 0
    test = json.loads((tmp_path / "run/metrics.json").read_text())["test"]
    assert {"accuracy", "macro_f1", "valid_json"} <= set(test)
    assert test["valid_json"] == 0
