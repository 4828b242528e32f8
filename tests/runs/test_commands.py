"""What a training says before it begins, and options that would change nothing."""

import json

import pytest

from helpers.cli import main


def tiny(encoder) -> list[str]:
    return ["--model", str(encoder), "--epochs", "1", "--limit", "0"]


def table(file, rows: list[str], header: str = "text,label"):
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def dry_run(file, encoder, capsys, *more: str) -> str:
    capsys.readouterr()
    assert main(["train", "text", "--dry-run", "--data", str(file), "--model", str(encoder), *more]) == 0
    return capsys.readouterr().out


def test_a_dry_run_says_what_was_understood_and_writes_nothing(tiny_rows, tiny_encoder, tmp_path, capsys):
    out = dry_run(tiny_rows, tiny_encoder, capsys, "--output", str(tmp_path / "run"), "--limit", "20")
    assert out.splitlines() == [
        f"{tiny_rows}: 60 rows after cleaning (60 rows in, 60 rows out)",
        "2 classes: 'good' 30, 'bad' 30",
        "rows: 20 of 42 training, 10 of 12 validation, 6 test (--limit 20; 0 uses all)",
    ]
    assert not (tmp_path / "run").exists()


def test_long_texts_and_unknown_tokens_are_counted_everywhere(tiny_encoder, tmp_path, capsys):
    long = "word " * 200
    rows = [f"{long}{n} {'good' if n % 2 else 'bad'} \U0001f600,{n % 2}" for n in range(30)]
    file = table(tmp_path / "own.csv", rows)
    cut = "30 of 30 texts are longer than 128 tokens and were cut at their end"
    unknown = "in 30 of 30 texts, are unknown to the model"
    out = dry_run(file, tiny_encoder, capsys)
    assert cut in out
    assert unknown in out
    assert cut not in dry_run(file, tiny_encoder, capsys, "--max-length", "256")
    run = tmp_path / "run"
    assert main(["train", "text", "--data", str(file), "--output", str(run), *tiny(tiny_encoder)]) == 0
    captured = capsys.readouterr()
    assert cut in captured.err  # before the training
    assert cut in captured.out  # in its summary
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["cut"] == {
        "max_length": 128, "texts": 30, "longer": 30, "tokens": 30 * 203, "unknown": 30, "with_unknown": 30,
    }  # fmt: skip
    assert cut in (run / "report.html").read_text(encoding="utf-8")
    assert main(["predict", str(run), long, "short \U0001f600"]) == 0
    err = capsys.readouterr().err
    assert "1 of 2 texts are longer than 128 tokens" in err
    assert "in 1 of 2 texts, are unknown to the model" in err


def test_the_chosen_length_is_that_of_the_run(tiny_encoder, tmp_path, capsys):
    """The cue of each text is its end."""
    rows = [f"{'word ' * 40}{n} {'good' if n % 2 else 'bad'},{n % 2}" for n in range(30)]
    file, run = table(tmp_path / "own.csv", rows), tmp_path / "run"
    options = [*tiny(tiny_encoder), "--max-length", "20"]
    assert main(["train", "text", "--data", str(file), "--output", str(run), *options]) == 0
    assert "30 of 30 texts are longer than 20 tokens" in capsys.readouterr().out
    answers = []
    for end in ("good", "bad"):
        assert main(["predict", str(run), "word " * 40 + end, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["probabilities"])
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("Good", "good"), "the labels 'Good' and 'good' look alike: are they one class?"),
        (("1", "1.0"), "the labels '1' and '1.0' look alike"),
        (("good", "\u200bgood"), "look alike"),
    ],
)
def test_labels_that_look_alike_are_asked_about(labels, sentence, tiny_encoder, tmp_path, capsys):
    rows = [f"thing {n},{labels[n % 2]}" for n in range(40)]
    assert sentence in dry_run(table(tmp_path / "own.csv", rows), tiny_encoder, capsys)


def test_classes_without_a_training_row_are_named(tiny_encoder, tmp_path, capsys):
    rows = [f"ticket {n} of topic {n % 30},topic {n % 30:02}" for n in range(300)]
    out = dry_run(table(tmp_path / "own.csv", rows), tiny_encoder, capsys, "--limit", "20")
    assert "30 classes: 'topic 00' 10, 'topic 01' 10, 'topic 02' 10, ..., 'topic 27' 10" in out
    assert "of 30 classes have no training row" in out


def test_copies_that_disagree_are_said_and_are_the_reason_when_none_is_left(tiny_encoder, tmp_path, capsys):
    rows = [f"text {n},{label}" for n in range(20) for label in ("a", "b")]
    file = table(tmp_path / "own.csv", rows)
    assert main(["train", "text", "--dry-run", "--data", str(file), "--model", str(tiny_encoder)]) == 2
    assert (
        "cleaning left no row of the classes 'a', 'b' (40 rows in, 40 conflicting" in capsys.readouterr().err
    )
    file = table(tmp_path / "own.csv", [*rows[:4], *[f"other {n},{'ab'[n % 2]}" for n in range(40)]])
    assert "4 rows are copies of each other with different labels" in dry_run(file, tiny_encoder, capsys)


def test_groups_stay_on_one_side_and_blank_ones_stand_alone(tiny_encoder, tmp_path, capsys):
    rows = [f"text {n},{'ab'[n % 2]},{'u1' if n % 5 == 0 else ''}" for n in range(120)]
    file = table(tmp_path / "own.csv", rows, "text,label,user")
    out = dry_run(file, tiny_encoder, capsys, "--group-column", "user")
    assert "96 of 120 rows have no 'user': each stands alone" in out


IDLE = [
    (["text", "--data", "TABLE", "--file-column", "x"], "--file-column has no effect on texts"),
    (["text", "--data", "TABLE", "--no-cache"], "--no-cache has no effect on texts"),
    (["text", "--data", "TABLE", "--hard-labels"], "--hard-labels has no effect on your own data"),
    (["text", "--text-column", "x"], "--text-column has no effect without --data"),
    (["text", "--group-column", "x", "--on-bad", "skip"], "--group-column, --on-bad have no effect"),
    (["images", "--max-length", "64"], "--max-length has no effect on images"),
    (["images", "--data", "FOLDER", "--group-column", "x"], "--group-column has no effect on a folder"),
    (["images", "--data", "FOLDER", "--label-column", "x"], "--label-column has no effect on a folder"),
    (["text", "--epochs", "2", "--max-steps", "3"], "--epochs has no effect beside --max-steps"),
]


@pytest.mark.parametrize(("options", "sentence"), IDLE)
def test_an_option_without_effect_is_refused(options, sentence, tiny_rows, tmp_path, capsys):
    places = {"TABLE": str(tiny_rows), "FOLDER": str(tmp_path)}
    given = [places.get(option, option) for option in options]
    assert main(["train", *given, "--output", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["text", "--epochs", "4"], "--epochs 4 (planned with 1)"),
        (["text", "--learning-rate", "1e-5"], "--learning-rate 1e-05 (planned with"),
        (["text", "--data", "elsewhere.csv"], "--data elsewhere.csv (planned with"),
        (["text", "--strategy", "head", "--seed", "3"], "--seed 3 (planned with 0), --strategy head"),
        (["text", "--hard-labels"], "--hard-labels"),
        (["images"], "the task images"),
    ],
)
def test_a_resumed_run_keeps_its_plan(options, sentence, tiny_run, capsys):
    assert main(["train", *options, "--output", str(tiny_run), "--resume"]) == 2
    assert sentence in capsys.readouterr().err


def test_equal_options_may_be_repeated(tiny_run, tiny_rows, tiny_encoder, capsys):
    given = ["--data", str(tiny_rows), *tiny(tiny_encoder), "--workers", "1"]
    assert main(["train", "sentiment", *given, "--output", str(tiny_run), "--resume"]) == 0
    capsys.readouterr()


def test_a_run_needs_a_name(capsys):
    assert main(["train", "text"]) == 2
    assert "give --output RUN" in capsys.readouterr().err
    assert main(["train", "text", "--output", "x", "--resume", "--dry-run"]) == 2
    assert "--dry-run has no effect" in capsys.readouterr().err


def test_evaluate_needs_data_for_its_columns(tiny_run, capsys):
    assert main(["evaluate", str(tiny_run), "--text-column", "x"]) == 2
    assert "--text-column has no effect without --data" in capsys.readouterr().err


def test_a_score_on_training_rows_is_said_to_flatter(tiny_run, tiny_rows, capsys):
    assert main(["evaluate", str(tiny_run), "--data", str(tiny_rows)]) == 0
    assert "trained on 42 of these 60 rows" in capsys.readouterr().err
