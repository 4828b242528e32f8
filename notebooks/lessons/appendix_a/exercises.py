"""The exercises of appendix A: a reader of votes, tools for eight jobs, causes of four silent failures."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lessons.appendix_a import answers
from lessons.appendix_a.catalogue import TOOLS
from lessons.exercise import Exercise, check_causes


def _verify_read(attempt):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "votes.csv"
        file.write_text("id,rating\n007,1.5\n12,-2\n,0.5\n1e5,3\n", encoding="utf-8")
        found = attempt(file)
    if not isinstance(found, pd.DataFrame) or list(found.columns) != ["id", "rating"] or len(found) != 4:
        raise AssertionError(f"expected a table with the columns id and rating and 4 rows, found {found!r}")
    if not pd.api.types.is_numeric_dtype(found["rating"]):
        raise AssertionError("ratings should be numbers: with text you cannot take a mean")
    for row, expected in ((0, "007"), (1, "12"), (3, "1e5")):
        if found["id"].iloc[row] != expected:
            raise AssertionError(
                f"the id in row {row} of the file is the text {expected!r}, found {found['id'].iloc[row]!r}"
            )
    if not pd.isna(found["id"].iloc[2]):
        raise AssertionError(
            "the id in row 2 is missing and should be found by isna(), found the value "
            f"{found['id'].iloc[2]!r}"
        )


read_votes = Exercise(
    verify=_verify_read,
    hints=(
        "`read_csv` guesses a type for each column. Turning numbers into text afterwards is too late: the "
        "zeros are gone.",
        'Its argument `dtype` takes a dictionary from column to type. `"string"` is a type of text that '
        "keeps missing values missing.",
    ),
    answer=answers.read_votes,
    praise="An id is a name, not a number, even when it is written with digits.",
)


# The job; the tools that do it; why another one is the worse choice.
JOBS = {
    1: (
        "By noon the client wants to know whether 3,000 labelled tickets can be sorted at all. No GPU.",
        ("scikit-learn",),
        "a linear model on word counts answers in seconds, and is the score to beat anyway",
    ),
    2: (
        "Two CSV files do not join, and nobody knows why.",
        ("pandas",),
        "look at types, gaps and how many keys of each file find a partner",
    ),
    3: (
        "A training takes six hours on your own machine; you want to see whether it is worth going on.",
        ("TensorBoard", "trackio", "MLflow"),
        "curves while it trains, kept beside the run, without an account",
    ),
    4: (
        "Twelve students with old laptops shall fine-tune a small model once, in one afternoon.",
        ("Colab",),
        "a GPU for an hour is what is missing, and nothing may have to be installed",
    ),
    5: (
        "A public corpus of 200 GB shall be read in batches on a laptop.",
        ("datasets",),
        "it does not fit in memory, and it need not fit on the disk",
    ),
    6: (
        "Five colleagues shall try the model on sentences of their own before anybody builds a service.",
        ("Gradio",),
        "a page around one function; rights, load and monitoring are not asked for yet",
    ),
    7: (
        "On the GPU, a step got twice as slow since last week.",
        ("torch.profiler",),
        "first which operation takes the time, then which line to change",
    ),
    8: (
        "The service runs on your machine and stops on the server with a missing system library.",
        ("Docker",),
        "Python packages alone do not bring system libraries",
    ),
}
RIGHT_ENOUGH = 7


def _verify_tools(attempt) -> str:
    found = attempt()
    if not isinstance(found, dict) or set(found) != set(JOBS):
        raise AssertionError(f"expected a dictionary with the keys 1 to {len(JOBS)}, found {found!r}")
    names = {tool.name for tool in TOOLS}
    unknown = [name for name in found.values() if name not in names]
    if unknown:
        raise AssertionError(f"{unknown[0]!r} is in none of the tables; write names as they stand there")
    wrong = [number for number, (_, fitting, _) in JOBS.items() if found[number] not in fitting]
    if len(JOBS) - len(wrong) < RIGHT_ENOUGH:
        first = wrong[0]
        raise AssertionError(
            f"{len(JOBS) - len(wrong)} of {len(JOBS)} fit; for job {first} think again: {JOBS[first][2]}"
        )
    return f"{len(JOBS) - len(wrong)} of {len(JOBS)} fit."


tools = Exercise(
    verify=_verify_tools,
    hints=(
        "For each job ask what is missing: a score, a look, a machine, memory, a page, a cause?",
        "Read the column 'when not': it rules out more than the column before it rules in.",
    ),
    answer=answers.tools,
    praise="You chose by what was missing, not by what is well known.",
)


def failures() -> dict[str, str]:
    """What four programs print; each has run with one silent mistake."""
    first, second = np.full((2, 2), 255, np.uint8), np.full((2, 2), 100, np.uint8)
    table = pd.read_csv(io.StringIO("id,note\n7,a\n,b\n12,c\n"))
    joined = pd.DataFrame({"id": ["7", "12"]}).merge(table.assign(id=table["id"].astype(str)), on="id")
    pixels = np.array([1.0, 3.0], dtype=np.float32)
    torch.from_numpy(pixels).sub_(2.0)
    loss, decay = torch.tensor([0.2, 0.4, 0.6, 0.8]), torch.tensor(3.0)
    return {
        "A": f"ids '7' and '12' joined with the ids {table['id'].tolist()}: {len(joined)} rows",
        "B": f"a blend of pixels {first[0, 0]} and {second[0, 0]}: {((first + second) // 2)[0, 0]}",
        "C": f"pixels were [1.0, 3.0]; after a tensor made of them was centred, they are {pixels.tolist()}",
        "D": f"losses {[round(x, 1) for x in loss.tolist()]}, penalty {decay:.0f}: "
        f"minimised {loss.mean() + decay:.1f}, the other tool minimises {loss.sum() + decay:.1f}",
    }


SIGNS = {
    "ids became numbers": "look at how the ids of the file were read",
    "bytes overflowed": "a blend must lie between its two pixels",
    "shared memory": "two names stand for the same bytes",
    "mean, not sum": "one part of the sum depends on the number of rows, the other does not",
}


def _verify_causes(attempt) -> None:
    check_causes(attempt(), answers.causes(), SIGNS)


causes = Exercise(
    verify=_verify_causes,
    hints=(
        "Each line shows a value that cannot be right. Which one, and what should it be?",
        "An empty join, a value outside its two sources, a change at a distance, two sizes of one sum.",
    ),
    answer=answers.causes,
    praise="None of the four raised an error; a printed value gave each away.",
)
