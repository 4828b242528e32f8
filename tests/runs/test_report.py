"""The report says what the run folder holds, whatever the classes are called and however many they are."""

import html
import re
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from helpers.runs import folder as run_folder
from helpers.runs import report
from helpers.runs.recipes import RunConfig
from helpers.training.metrics import f1_scores


def page_of(folder, classes, targets, logits, **more):
    """The report of a run folder on texts, written with the functions of a run; cells as plain text."""
    labels = [classes[number] for number in targets]
    ids = [str(number + 2) for number in range(len(labels))]
    rows = pd.DataFrame({"id": ids, "text": [f"text <{id}>" for id in ids], "label": labels, "group": ids})
    folder.mkdir(parents=True, exist_ok=True)
    run_folder.start(folder, RunConfig("text"), {"train": rows[:1], "validation": rows[:1], "test": rows})
    table = run_folder.predictions_table(rows, logits, classes)
    run_folder.write_csv(folder / "predictions.csv", table)
    scores = {"accuracy": 0.5, "macro_f1": 0.5, "n": len(rows), "macro_f1_interval": (0.4, 0.6)}
    metrics = {
        **{"validation": scores, "test": scores, "seconds": 1.0, "optimizer_steps": 1, "device": "cpu"},
        **{"majority_baseline": {"class": classes[0], "accuracy": 0.5}, "trainable_parameters": 9},
        **{"processes": 1, "precision": "no", "versions": {}, "cleaning": {}, "skipped": 0},
        **{"rows": {"test": len(rows)}, "rows_kept": run_folder.rows_kept(folder)},
    }
    run_folder.write_json(folder / "metrics.json", metrics | more)
    history = {"step": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [None, 0.6]}
    run_folder.write_csv(folder / "history.csv", pd.DataFrame(history))
    return report.write_report(folder).read_text(encoding="utf-8")


def tables(page):
    """{caption: rows of cells as plain text} of a page."""
    found = {}
    for body in re.findall("<table>(.*?)</table>", page, flags=re.DOTALL):
        caption = re.search("<caption>(.*?)</caption>", body)[1]
        rows = re.findall("<tr>(<td>.*?)</tr>", body, flags=re.DOTALL)
        found[caption] = [
            [html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", row, flags=re.DOTALL)]
            for row in rows
        ]
    return found


NAMES = [
    ("$0_to_$50", "$50_to_$100"),
    ("target", "id", "prediction"),
    ("1.0", "nan", "NA", "", "1", "True"),
    ('"quoted"', "a,b", "two\nlines", "<script>", "p_x", "x"),
    ("好评", "差评 👎", "caf\u00e9"),
]


@pytest.mark.parametrize("classes", NAMES)
def test_errors_are_listed_with_the_names_as_they_are(tmp_path, recwarn, classes):
    number = len(classes)
    targets = np.arange(2 * number) % number
    logits = 3.0 * np.eye(number)[(targets + 1) % number] + 2.0 * np.eye(number)[targets]  # all wrong
    page = page_of(tmp_path, classes, targets, logits)
    worst = tables(page)[f"The {min(15, 2 * number)} worst of {2 * number} test errors"]
    shown = [name.replace("\n", r"\n") for name in classes]
    p_true = np.exp(2) / (np.exp(2) + np.exp(3) + number - 2)
    for row, true_class, predicted, p, text in worst:
        place = shown.index(true_class)
        assert place == targets[int(row) - 2]
        assert predicted == shown[(place + 1) % number]
        assert float(p) == pytest.approx(p_true, abs=0.0006)
        assert text == f"text <{row}>"
    assert not recwarn.list
    assert "<script>" not in page


def test_the_worst_errors_are_those_with_the_least_probability_of_the_true_class(tmp_path):
    rng = np.random.default_rng(0)
    targets, logits = rng.integers(0, 2, 200), rng.normal(size=(200, 2))
    page = page_of(tmp_path, ("target", "other"), targets, logits)
    p = 1 / (1 + np.exp(logits[np.arange(200), 1 - targets] - logits[np.arange(200), targets]))
    wanted = [str(row + 2) for row in p.argsort()[:15]]
    title = f"The 15 worst of {int((logits.argmax(1) != targets).sum())} test errors"
    assert [row[0] for row in tables(page)[title]] == wanted


def test_names_that_a_figure_cannot_show_are_in_a_table(tmp_path):
    long = "long " * 20 + "name"
    page = page_of(tmp_path, ("short", long, "two\nlines"), np.arange(3), np.eye(3))
    assert tables(page)["Names in the figure"] == [
        ["short", "short"],
        ["long long long long… long name", long],
        [r"two\nlines", r"two\nlines"],
    ]
    assert "Names in the figure" not in page_of(tmp_path / "plain", ("a", "b"), np.arange(2), np.eye(2))


def test_many_classes_are_tables_instead_of_a_picture(tmp_path):
    classes = tuple(f"class {number:03}" for number in range(300))
    targets = np.repeat(np.arange(300), 4)
    guesses = targets.copy()
    guesses[:4], guesses[8:10] = 7, 50  # class 000 is always taken for 007, half of class 002 for 050
    page = page_of(tmp_path, classes, targets, np.eye(300)[guesses])
    assert page.count("<img") == 1  # the learning curves
    found = tables(page)
    assert found["The 2 most frequent confusions"] == [
        ["class 000", "class 007", "4", "100%"],
        ["class 002", "class 050", "2", "50%"],
    ]
    weakest = found["The 20 classes with the lowest F1, of 300"]
    scores = f1_scores(targets, guesses, 300)
    assert [row[:2] for row in weakest[:4]] == [
        [classes[number], f"{scores[number]:.3f}"] for number in (0, 2, 7, 50)
    ]
    assert weakest[0][2:] == ["4", "0"]
    assert weakest[2][2:] == ["4", "8"]
    assert len(weakest) == 20


def test_what_was_noticed_and_cut_is_said(tmp_path):
    options = (("a", "b"), np.arange(2), np.eye(2))
    assert "What was noticed" not in page_of(tmp_path / "nothing", *options)
    cut = {"texts": 1200, "longer": 0, "max_length": 128}
    assert "What was noticed" not in page_of(tmp_path / "none", *options, noticed=[], cut=cut)
    said = ["labels 'Good' and 'good' differ only in case", "class <c> has no training row"]
    page = page_of(tmp_path / "some", *options, noticed=said, cut=cut | {"longer": 1100})
    items = [html.unescape(item) for item in re.findall("<li>(.*?)</li>", page)]
    assert items == [*said, "1,100 of 1,200 texts are longer than 128 tokens and were cut"]


def test_probabilities_of_many_classes_are_not_kept_in_memory(tmp_path):
    classes, rows = [f"c{number}" for number in range(300)], 5000
    cells = ",".join(["0.003333"] * 300)
    lines = (f"{row},c{row % 300},c{row % 7},{cells}\n" for row in range(rows))
    header = ",".join(["id", "target", "prediction", *(f"p_{name}" for name in classes)]) + "\n"
    (tmp_path / "predictions.csv").write_text(header + "".join(lines))
    tracemalloc.start()
    start = time.process_time()
    predictions, found = report.read_predictions(tmp_path / "predictions.csv")
    report.confusions(predictions, found)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(predictions), found) == (rows, classes)
    assert peak < 8e6  # 300 columns of 5,000 numbers are 12 MB
    assert seconds < 10
