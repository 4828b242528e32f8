"""`report.html` of a run folder: one file with everything a reader needs to judge the run (chapter 07 reads
one).

Made from the files of the run folder alone, so it can be written again at any time; opens without a network.
"""

import base64
import html
import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.datasets import open_image
from helpers.files import write_atomically

WORST = 15  # errors listed
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;margin:1rem 0}th,td{border-bottom:1px solid #ccc;padding:.3rem .7rem;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}caption{text-align:left;font-weight:600;padding:.3rem 0}
pre{background:#f4f4f4;padding:1rem;overflow:auto}"""


def write_report(folder: Path, test: pd.DataFrame) -> Path:
    """Write `report.html` into a finished run folder; returns its path.

    Args:
        folder: holds config.json, history.csv, metrics.json and predictions.csv.
        test: the test rows with their texts or images, in the order of predictions.csv.
    """
    folder = Path(folder)
    config, metrics = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "metrics.json")
    )
    predictions = pd.read_csv(
        folder / "predictions.csv", dtype={"id": str, "target": str, "prediction": str}, keep_default_na=False
    )
    parts = [
        f"<h1>Run {html.escape(folder.name)}: {html.escape(config['task'])} with "
        f"{html.escape(config['model'])}</h1>",
        summary_table(metrics),
        picture(
            curves(folder),
            "Training loss falls with the optimizer steps; the orange-red dots are the validation loss after "
            "each epoch.",
        ),
        picture(
            confusion(predictions),
            "Confusion matrix of the test rows: rows are true classes, columns are predicted classes.",
        ),
        platform_table(metrics),
        data_section(folder, metrics),
        worst_errors(predictions, test),
        "<h2>Configuration and "
        f"versions</h2><pre>{html.escape(json.dumps(config, indent=2))}\n{html.escape(json.dumps(metrics['versions'], indent=2))}</pre>",
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Run '
        f"{html.escape(folder.name)}</title><style>{STYLE}</style></head><body>"
    )
    write_atomically(folder / "report.html", (page + "\n".join(parts) + "</body></html>\n").encode())
    return folder / "report.html"


def summary_table(metrics: dict) -> str:
    """Validation and test metrics beside the majority class and the human ceiling."""
    low, high = metrics["test"]["macro_f1_interval"]
    rows = [
        (
            "model, test rows",
            metrics["test"]["accuracy"],
            f"{metrics['test']['macro_f1']:.3f} ({low:.3f} to {high:.3f})",
            metrics["test"]["n"],
        ),
        (
            "model, validation rows",
            metrics["validation"]["accuracy"],
            f"{metrics['validation']['macro_f1']:.3f}",
            metrics["validation"]["n"],
        ),
        (
            f"always {metrics['majority_baseline']['class']!r}, test rows",
            metrics["majority_baseline"]["accuracy"],
            "",
            metrics["test"]["n"],
        ),
    ]
    if ceiling := metrics.get("human_ceiling"):
        rows.append(
            (
                "human ceiling: one person against the mean of the others, the same test rows",
                ceiling["accuracy"],
                f"{ceiling['macro_f1']:.3f}",
                ceiling["n"],
            )
        )
    body = [(name, f"{accuracy:.3f}", f1, f"{n:,}") for name, accuracy, f1, n in rows]
    work = (
        f"<p>{metrics['optimizer_steps']:,} optimizer steps, {metrics['trainable_parameters']:,} trainable "
        f"parameters, {metrics['seconds']:.0f} s on "
        f"{metrics['processes']} process(es), {metrics['device']}, precision {metrics['precision']}.</p>"
    )
    return table("Results", ("who", "accuracy", "macro-F1 (95% interval)", "rows"), body) + work


def platform_table(metrics: dict) -> str:
    """Test metrics of each platform, where the rows have one."""
    if "by_platform" not in metrics:
        return ""
    body = [
        (name, f"{m['accuracy']:.3f}", f"{m['macro_f1']:.3f}", f"{m['n']:,}")
        for name, m in metrics["by_platform"].items()
    ]
    return table("Test rows by platform", ("platform", "accuracy", "macro-F1", "rows"), body)


def data_section(folder: Path, metrics: dict) -> str:
    """Rows per split, what cleaning did, and which rows or files were left out."""
    counts = [(name.replace("_", " "), f"{count:,}") for name, count in metrics["cleaning"].items()]
    counts += [(f"{name} rows used", f"{count:,}") for name, count in metrics["rows"].items()]
    result = table(
        "Data", ("what", "rows"), [*counts, ("bad rows or files left out", f"{metrics['skipped']:,}")]
    )
    if metrics["skipped"]:
        skipped = pd.read_csv(folder / "skipped.csv", dtype=str, keep_default_na=False)
        result += table(
            "Left out (all in skipped.csv)",
            ("where", "why"),
            skipped.head(20).itertuples(index=False, name=None),
        )
    return result


def worst_errors(predictions: pd.DataFrame, test: pd.DataFrame) -> str:
    """The test errors in which the true class got the least probability: wrong labels and hard cases gather
    here.
    """
    p_target = [row[f"p_{row['target']}"] for row in predictions.to_dict("records")]
    errors = predictions.assign(p_target=p_target).query("target != prediction").nsmallest(WORST, "p_target")
    body = [
        (row.id, row.target, row.prediction, f"{row.p_target:.3f}", show_input(test.loc[row.Index]))
        for row in errors.itertuples()
    ]
    count = (predictions["target"] != predictions["prediction"]).sum()
    title = f"The {len(body)} worst of {count:,} test errors"
    return (
        table(title, ("id", "true class", "predicted", "p(true class)", "input"), body, raw_last=True)
        if body
        else "<p>No test errors.</p>"
    )


def show_input(row: pd.Series) -> str:
    """A text, or a picture 64 pixels high, as HTML."""
    if "text" in row:
        return html.escape(row["text"])
    import io

    picture_file = io.BytesIO()
    image = open_image(row["path"] if "path" in row else row["image"])
    image.thumbnail((64, 64))
    image.save(picture_file, format="PNG")
    return (
        f'<img height="64" alt="test image labelled {html.escape(row["label"])}" '
        f'src="data:image/png;base64,{base64.b64encode(picture_file.getvalue()).decode()}">'
    )


def curves(folder: Path) -> Figure:
    """The learning curves of history.csv."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    plots.learning_curves(figure.subplots(), pd.read_csv(folder / "history.csv"))
    return figure


def confusion(predictions: pd.DataFrame) -> Figure:
    """The confusion matrix of predictions.csv."""
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    figure = Figure(figsize=(5, 4) if len(classes) < 7 else (7, 6), layout="constrained")
    plots.confusion_matrix(figure.subplots(), predictions["target"], predictions["prediction"], classes)
    return figure


def picture(figure: Figure, alt: str) -> str:
    """A figure inside the page."""
    return (
        f'<p><img alt="{html.escape(alt)}" '
        f'src="data:image/png;base64,{base64.b64encode(plots.to_png(figure, dpi=100)).decode()}"></p>'
    )


def table(title: str, header, rows, *, raw_last: bool = False) -> str:
    """An HTML table; every cell is escaped, but the last of each row with `raw_last`."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = ""
    for row in rows:
        cells = [html.escape(str(cell)) for cell in row[:-1]] + [
            row[-1] if raw_last else html.escape(str(row[-1]))
        ]
        body += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    return f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
