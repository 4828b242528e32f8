"""The learner's own table of exercises, as a widget: `progress.show()`."""

import html

import ipywidgets as widgets
import pandas as pd

from helpers import progress, progress_report
from helpers.errors import InputError
from helpers.files import ROOT
from lessons.controls import wide

ALL = "all chapters"


def show() -> widgets.VBox:
    """What you have done of the exercises: of all chapters, or of one, exercise by exercise.

    Tab goes to the choice of the chapter (arrow keys) and to the button (space bar): it reads the file again.
    """
    chapters = sorted({chapter for chapter, _ in progress.titles()})
    choice = widgets.Dropdown(options=[ALL, *chapters], description="chapter", **wide())
    button = widgets.Button(description="Read again", tooltip="Read again what was done in other notebooks")
    shown = widgets.HTML()

    def update(_=None) -> None:
        shown.value = as_table(choice.value)

    choice.observe(update, "value")
    button.on_click(update)
    update()
    return widgets.VBox([widgets.HBox([choice, button]), shown])


def as_table(chapter: str) -> str:
    """The table as HTML; where there is none, a sentence that says why."""
    try:
        works = progress_report.own_record()
    except InputError as error:
        return f'<p role="status">{html.escape(str(error))}</p>'
    if chapter == ALL:
        table = progress_report.by_chapter(works).reset_index()
    else:
        table = by_exercise({key: work for key, work in works.items() if key[0] == chapter})
    file = progress.place()
    where = f"{file.name} in the course's folder" if file.parent == ROOT else f"{file} on this machine"
    kept = html.escape(f"Kept in {where}, and sent nowhere.", quote=False)
    return f'<div role="status">{table.to_html(index=False, border=0)}<p>{kept}</p></div>'


def by_exercise(works: dict[progress.Key, progress.Work]) -> pd.DataFrame:
    """One chapter's exercises with what was done of each; a date is the day in UTC."""
    titles = progress.titles()
    rows = []
    for key, work in works.items():
        solved, shown = (date[:10] if date else "" for date in (work.solved, work.solution))
        rows.append((titles.get(key) or key[1], solved, work.tries, len(work.hints), shown))
    return pd.DataFrame(rows, columns=["exercise", "solved", "tries", "hints", "solution shown"])
