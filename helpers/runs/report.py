"""`report.html` of a run folder: one file with everything a reader needs to judge the run (chapter 07 reads
one).

Made from the run folder alone, so it can be written again at any time; opens without a network.
"""

import base64
import csv
import html
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.pictures import open_image
from helpers.files import write_atomically
from helpers.plots import printable
from helpers.runs.chat_config import LANGUAGE_TASKS
from helpers.runs.folder import kept_rows
from helpers.training.metrics import f1_scores

WORST = 15  # errors listed
MOST = 20  # confusions, classes or bad rows listed
STYLE = """body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{border-bottom:1px solid #ccc;padding:.3rem .7rem;text-align:left;overflow-wrap:anywhere}
td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}
caption{text-align:left;font-weight:600;padding:.3rem 0}pre{background:#f4f4f4;padding:1rem;overflow:auto}"""
PAIR_SCORES = {
    "loss": "loss (nats a pair)",
    "pair_accuracy": "pair accuracy: share with a margin above 0, ties one half (95% interval)",
    "margin": "margin (nats)",
    "chosen_change": "change of the chosen answers' log-probability (nats a token)",
    "rejected_change": "change of the rejected answers'",
    "longer_wins": "share in which the longer answer is the chosen one",
    "likelier_wins": "share in which the chosen one was the likelier before the training",
}  # fmt: skip
CURVES = "Training loss falls with the optimizer steps; orange-red dots: validation loss after each epoch."
CONFUSION = "Confusion matrix of the test rows: rows are true classes, columns are predicted classes."


def write_report(folder: Path) -> Path:
    """Write `report.html` into a finished run folder; returns its path.

    Raises InputError: the folder is not finished, or its test pictures have moved.
    """
    folder = Path(folder)
    files = (folder / "config.json", folder / "metrics.json")
    config, metrics = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    if config["task"] in LANGUAGE_TASKS:
        shown = [chat_table(metrics), picture(curves(folder), CURVES), written_table(folder)]
    else:
        predictions, classes = read_predictions(folder / "predictions.csv")
        shown = [summary_table(metrics), picture(curves(folder), CURVES), confusions(predictions, classes)]
        shown += [platform_table(metrics), worst_errors(predictions, kept_rows(folder, "test"))]
    title = html.escape(f"Run {folder.name}: {config['task']} with {config['model']}")
    settings = "\n".join(json.dumps(content, indent=2) for content in (config, metrics["versions"]))
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>",
        noticed(metrics),
        *shown,
        data_section(folder, metrics),
        f"<h2>Configuration and versions</h2><pre>{html.escape(settings)}</pre></body></html>\n",
    ]
    page = "\n".join(parts).encode(errors="backslashreplace")  # names of files may be no text
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def read_predictions(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """`id`, `target`, `prediction` and `p_target` (probability of the true class) of each row; the classes.

    Row by row: the probabilities of many classes would fill the memory. All but `p_target` are strings, a
    class named "1.0" or "nan", too.
    """
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        columns = next(reader)  # id, target, prediction, and p_<class> for each class
        places = {name.removeprefix("p_"): place for place, name in enumerate(columns) if place > 2}
        rows = [(*row[:3], float(row[places[row[1]]])) for row in reader]
    return pd.DataFrame(rows, columns=["id", "target", "prediction", "p_target"]), list(places)


def summary_table(metrics: dict) -> str:
    """Validation and test metrics beside the majority class and one person."""
    test, validation, majority = metrics["test"], metrics["validation"], metrics["majority_baseline"]
    low, high = test["macro_f1_interval"]
    f1 = f"{test['macro_f1']:.3f} ({low:.3f} to {high:.3f})"
    rows = [
        ("model, test rows", test["accuracy"], f1, test["n"]),
        ("model, validation rows", validation["accuracy"], f"{validation['macro_f1']:.3f}", validation["n"]),
        (f"always {majority['class']!r}, test rows", majority["accuracy"], "", test["n"]),
    ]
    person = metrics.get("one_person", metrics.get("human_ceiling"))  # its name in earlier runs
    if person:
        who = "one person against the mean of the others, the same test rows"
        rows.append((who, person["accuracy"], f"{person['macro_f1']:.3f}", person["n"]))
    body = [(name, f"{accuracy:.3f}", f1, f"{n:,}") for name, accuracy, f1, n in rows]
    work = (
        "<p>{optimizer_steps:,} optimizer steps, {trainable_parameters:,} trainable parameters, "
        "{seconds:.0f} s on {processes} process(es), {device}, precision {precision}.</p>".format(**metrics)
    )
    return table("Results", ("who", "accuracy", "macro-F1 (95% interval)", "rows"), body) + work


def chat_table(metrics: dict) -> str:
    """What a language model's run reached on validation and test rows."""
    names = {
        "loss": "loss (nats a token)", "perplexity": "perplexity", "bits_per_byte": "bits per byte",
        "exact_match": "share right to the letter", "valid_json": "share valid JSON",
        "stopped": "share ended by itself", "accuracy": "accuracy of the sentiment",
        "macro_f1": "macro-F1 of the sentiment", "answer_tokens": "tokens of an answer",
    }  # fmt: skip
    titles, sides = ["validation", "test"], [metrics["validation"], metrics["test"]]
    if "before" in metrics:
        names = PAIR_SCORES | names | PAIR_SCORES
        titles, sides = [*titles, "test, before the training"], [*sides, metrics["before"]]
    cell = lambda name, side: f"{side[name]:.3f}" + interval_text(side.get(f"{name}_interval"))
    cells = lambda name: [cell(name, side) if name in side else "" for side in sides]
    body = [(words, *cells(name)) for name, words in names.items() if name in metrics["test"]]
    for name, words in {"n": "rows", "answered": "rows answered in full"}.items():
        body.append((words, *(f"{side[name]:,}" if name in side else "" for side in sides)))
    kinds = metrics["test"].get("by_kind", {}).items()
    found = [(kind, f"{part['pair_accuracy']:.3f}", f"{part['n']:,}") for kind, part in kinds]
    by_kind = table("Test pairs by kind", ("kind", "pair accuracy", "rows"), found) if found else ""
    return table("Results", ("what", *titles), body) + by_kind


def interval_text(interval: list[float] | None) -> str:
    """A 95% interval in brackets; nothing where there is none."""
    return "" if interval is None else " ({:.3f} to {:.3f})".format(*interval)


def written_table(folder: Path) -> str:
    """The first test answers that are not those that were wanted, to the letter."""
    answers = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    answers = answers[["id", "target", "prediction"]]
    other = answers[answers["target"].str.strip() != answers["prediction"].str.strip()].head(WORST)
    if other.empty:
        return "<p>All test answers are those that were wanted.</p>"
    return table("Answers that differ", ("id", "wanted", "written"), other.to_numpy().tolist())


def noticed(metrics: dict) -> str:
    """What the data made the run say, and how many texts were cut."""
    sentences, cut = list(metrics.get("noticed", [])), metrics.get("cut")
    if cut and cut["longer"]:
        how = "{longer:,} of {texts:,} texts are longer than {max_length:,} tokens and were cut"
        sentences.append(how.format(**cut))
    if not sentences:
        return ""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>What was noticed in the data</h2><ul>{items}</ul>"


def platform_table(metrics: dict) -> str:
    """Test metrics of each platform, where the rows have one."""
    if "by_platform" not in metrics:
        return ""
    found = metrics["by_platform"].items()
    body = [(name, f"{m['accuracy']:.3f}", f"{m['macro_f1']:.3f}", f"{m['n']:,}") for name, m in found]
    return table("Test rows by platform", ("platform", "accuracy", "macro-F1", "rows"), body)


def data_section(folder: Path, metrics: dict) -> str:
    """Rows per split, what cleaning did, and which rows or files were left out."""
    counts = {name.replace("_", " "): count for name, count in metrics["cleaning"].items()}
    counts |= {f"{name} rows used": count for name, count in metrics["rows"].items()}
    counts |= {f"{name} rows kept in the run folder": count for name, count in metrics["rows_kept"].items()}
    counts["bad rows or files left out"] = metrics["skipped"]
    result = table("Data", ("what", "rows"), [(name, f"{count:,}") for name, count in counts.items()])
    if metrics["skipped"]:
        skipped = pd.read_csv(folder / "skipped.csv", dtype=str, keep_default_na=False, nrows=MOST)
        result += table("Left out (all in skipped.csv)", ("where", "why"), skipped.to_numpy().tolist())
    return result


def worst_errors(predictions: pd.DataFrame, test: pd.DataFrame) -> str:
    """The test errors in which the true class got the least probability: wrong labels and hard cases."""
    errors = predictions[predictions["target"] != predictions["prediction"]]
    inputs = test.set_index("id")  # fewer, if not all could be kept
    worst = errors[errors["id"].isin(inputs.index)].nsmallest(WORST, "p_target")
    if worst.empty:
        return "<p>No test errors.</p>"
    names = (worst[column].map(printable) for column in ("target", "prediction"))
    columns = (worst["id"], *names, worst["p_target"].map("{:.3f}".format))
    body = [(*row, show_input(inputs.loc[row[0]])) for row in zip(*columns)]
    title = f"The {len(body)} worst of {len(errors):,} test errors"
    return table(title, ("id", "true class", "predicted", "p(true class)", "input"), body, raw_last=True)


def show_input(row: pd.Series) -> str:
    """A text, or a picture 64 pixels high, as HTML."""
    if "text" in row:
        return html.escape(row["text"])
    file = io.BytesIO()
    image = open_image(row["path"] if "path" in row else row["image"])
    image.thumbnail((64, 64))
    image.save(file, format="PNG")
    png = base64.b64encode(file.getvalue()).decode()
    alt = html.escape(f"test image labelled {row['label']}")
    return f'<img height="64" alt="{alt}" src="data:image/png;base64,{png}">'


def curves(folder: Path) -> Figure:
    """The learning curves of history.csv."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    plots.learning_curves(figure.subplots(), pd.read_csv(folder / "history.csv"))
    return figure


def confusions(predictions: pd.DataFrame, classes: list[str]) -> str:
    """Which classes are taken for which: the matrix of up to 30 classes, tables of more."""
    if len(classes) > plots.MAX_CLASSES:
        return frequent_confusions(predictions) + weakest_classes(predictions, classes)
    names, wanted = plots.drawn_names(classes), list(map(printable, classes))
    side = 5 if len(classes) < 7 else max(7, len(classes) / 3)  # inches
    side += max(0, max(map(len, names)) - 12) / 12
    figure = Figure(figsize=(side, side - 1), layout="constrained")
    plots.confusion_matrix(figure.subplots(), predictions["target"], predictions["prediction"], classes)
    legend = table("Names in the figure", ("in the figure", "class"), zip(names, wanted))
    return picture(figure, CONFUSION) + (legend if names != wanted else "")


def frequent_confusions(predictions: pd.DataFrame) -> str:
    """Pairs of true and predicted class, the most frequent first."""
    errors = predictions[predictions["target"] != predictions["prediction"]]
    pairs = errors.groupby(["target", "prediction"]).size().nlargest(MOST)
    rows = predictions["target"].value_counts()
    body = [
        (printable(target), printable(taken_for), f"{count:,}", f"{count / rows[target]:.0%}")
        for (target, taken_for), count in pairs.items()
    ]
    header = ("true class", "taken for", "test rows", "share of the true class")
    return table(f"The {len(body)} most frequent confusions", header, body)


def weakest_classes(predictions: pd.DataFrame, classes: list[str]) -> str:
    """The classes with the lowest F1."""
    number = {name: place for place, name in enumerate(classes)}
    sides = [predictions[column].map(number).to_numpy() for column in ("target", "prediction")]
    scores = f1_scores(*sides, len(classes))
    of_targets, of_predictions = (np.bincount(side, minlength=len(classes)) for side in sides)
    body = [
        (printable(classes[i]), f"{scores[i]:.3f}", f"{of_targets[i]:,}", f"{of_predictions[i]:,}")
        for i in scores.argsort(kind="stable")[:MOST]
    ]
    header = ("class", "F1", "test rows", "predicted")
    return table(f"The {len(body)} classes with the lowest F1, of {len(classes):,}", header, body)


def picture(figure: Figure, alt: str) -> str:
    """A figure inside the page."""
    return f"<p>{plots.image_html(figure, alt)}</p>"


def table(title: str, header, rows, *, raw_last: bool = False) -> str:
    """An HTML table; every cell is escaped, but the last of each row with `raw_last`."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = ""
    for row in rows:
        cells = [html.escape(str(cell)) for cell in row]
        if raw_last:
            cells[-1] = row[-1]
        body += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    start = f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>\n"
    return f"{start}{body}</tbody></table>"
