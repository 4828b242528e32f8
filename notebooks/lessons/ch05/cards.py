"""A data card: what somebody must know before using a dataset, written from measured values (chapter 05)."""

import pandas as pd

from helpers.errors import InputError

# Questions that no program can answer for you; a card without them is refused.
CARD_QUESTIONS = ("source", "licence", "collected", "labels", "intended use", "limits")


def data_card(
    title: str,
    answers: dict[str, str],
    parts: dict[str, pd.DataFrame],
    steps: list[tuple[str, dict[str, int]]],
    checks: dict[str, str],
) -> str:
    """The card as Markdown.

    Args:
        title: name of the dataset.
        answers: one sentence or more for each of `CARD_QUESTIONS`: where it comes from, who may use it for
            what, when and how it was collected, who gave the labels, what it is made for, and what it must
            not be used for.
        parts: the splits, rows with `label` and `group`.
        steps: what cleaning did, in order: the name of a step and its counts.
        checks: what was measured, e.g. {"agreement of raters (alpha)": "0.78"}.

    Raises:
        InputError: a question has no answer, or two parts share a group.
    """
    if missing := [question for question in CARD_QUESTIONS if not answers.get(question, "").strip()]:
        raise InputError(
            f"a data card must answer {', '.join(CARD_QUESTIONS)}; no answer for {', '.join(missing)}: write "
            "a sentence for each"
        )
    groups = [set(rows["group"]) for rows in parts.values()]
    if sum(map(len, groups)) != len(set().union(*groups)):
        raise InputError(
            f"the parts {', '.join(parts)} share groups, so a score on one would flatter; split by group"
        )
    counts = (
        pd.DataFrame({name: rows["label"].value_counts() for name, rows in parts.items()})
        .fillna(0)
        .astype(int)
        .sort_index()
    )
    counts.loc["all"] = counts.sum()
    lines = [f"# {title}", ""]
    for question in CARD_QUESTIONS:
        lines += [f"**{question.capitalize()}.** {answers[question]}", ""]
    lines += [
        "## Rows",
        "",
        *_table(
            ["label", *counts.columns], [[label, *row] for label, row in zip(counts.index, counts.to_numpy())]
        ),
        "",
    ]
    lines += [
        "## Cleaning",
        "",
        *_table(["step", "what it did"], [[name, _counts(numbers)] for name, numbers in steps]),
        "",
    ]
    lines += ["## Checks", "", *_table(["what", "value"], [list(check) for check in checks.items()])]
    return "\n".join(lines) + "\n"


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in numbers.items())


def _table(header: list, rows: list[list]) -> list[str]:
    cells = lambda row: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    return [cells(header), cells(["---"] * len(header)), *map(cells, rows)]
