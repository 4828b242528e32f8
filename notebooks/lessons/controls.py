"""The frames of the course's widgets: controls with a picture and its sentence, a field for a comment."""

import html
from collections.abc import Callable

import ipywidgets as widgets
from matplotlib.figure import Figure

from helpers import plots

AT_WORK = '<p role="status">The answer is being computed.</p>'


def wide(label_width: int = 130) -> dict:
    """Options of a control with room for its description (pixels): `Dropdown(..., **wide())`."""
    return {
        "style": {"description_width": f"{label_width}px"},
        "layout": widgets.Layout(width="440px", max_width="calc(100% - 4px)"),
    }


def explorer(
    controls: dict[str, widgets.Widget], draw: Callable[..., tuple[Figure | None, str]]
) -> widgets.VBox:
    """Lay out `controls` with what `draw` makes of their values below; each change draws again.

    Args:
        controls: the controls, by the name of the argument of `draw` that gets the control's value.
        draw: returns a figure (None for no picture) and one sentence, shown above the figure and as its alt
            text.

    Returns:
        The controls in their order, then one `HTML` widget.
    """
    output = widgets.HTML()

    def update(_=None):
        output.value = as_html(*draw(**{name: control.value for name, control in controls.items()}))

    for control in controls.values():
        control.observe(update, "value")
    update()
    return widgets.VBox([*controls.values(), output])


def as_html(figure: Figure | None, sentence: str) -> str:
    """The sentence as a paragraph, and the figure with the sentence as its alt text."""
    text = html.escape(sentence, quote=False)
    return f'<p role="status">{text}</p>' + (plots.image_html(figure, sentence) if figure else "")


def comment_field(answer: Callable[[str], str], text: str, *, tooltip: str) -> widgets.VBox:
    """A text field and a button: type a comment, and `answer(comment)` is shown as HTML below.

    Args:
        answer: must escape what was typed.
        text: the comment to begin with.
        tooltip: tooltip of the button.
    """
    field = widgets.Text(
        value=text,
        description="Comment:",
        continuous_update=False,
        layout=widgets.Layout(width="600px", max_width="calc(100% - 4px)"),
    )
    button = widgets.Button(description="Label it", tooltip=tooltip, layout=widgets.Layout(width="110px"))
    result = widgets.HTML(value=answer(text))
    answered = text

    def show(_) -> None:
        nonlocal answered
        if field.value != answered:  # a click on the button is also a leaving of the field
            answered = field.value
            result.value = AT_WORK + result.value  # a language model takes its time
            result.value = answer(answered)

    button.on_click(show)
    field.observe(show, names="value")  # Enter, or leaving the field
    return widgets.VBox([widgets.HBox([field, button]), result])
