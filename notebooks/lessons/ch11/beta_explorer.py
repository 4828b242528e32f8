"""Move beta, and see what is gained and how far the model goes for it: the widget of chapter 11."""

import ipywidgets as widgets

from lessons.ch11 import results
from lessons.controls import explorer, wide


def beta_explorer(found: dict) -> widgets.Widget:
    return widgets.HTML(results.MISSING)
