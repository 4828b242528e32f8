"""The widgets' frames: controls redraw, pictures carry their sentence, typed text stays text."""

import html

import ipywidgets as widgets
from matplotlib.figure import Figure

from lessons.controls import AT_WORK, as_html, comment_field, explorer, wide


def test_explorer_draws_again_at_each_change():
    controls = {
        "count": widgets.IntSlider(value=1, description="count", **wide()),
        "name": widgets.Dropdown(options=["a", "b"], **wide()),
    }
    box = explorer(controls, lambda count, name: (None, f"{name} has {count}"))
    assert box.children[:-1] == tuple(controls.values())
    assert box.children[-1].value == '<p role="status">a has 1</p>'
    controls["count"].value = 3
    controls["name"].value = "b"
    assert box.children[-1].value == '<p role="status">b has 3</p>'


def test_a_picture_carries_its_sentence_as_alt_text():
    page = as_html(Figure(figsize=(1, 1)), 'p < 0.5, said "no"')
    assert page.startswith(
        '<p role="status">p &lt; 0.5, said "no"</p><img alt="p &lt; 0.5, said &quot;no&quot;" width="80" '
    )
    assert 'src="data:image/png;base64,iVBOR' in page


def test_comment_field_answers_enter_and_button():
    asked = []

    def answer(typed):
        asked.append(typed)
        return f"<p>{html.escape(typed.upper())}</p>"

    box = comment_field(answer, "good", tooltip="ask")
    (field, button), result = box.children[0].children, box.children[1]
    assert result.value == "<p>GOOD</p>"
    seen = []
    result.observe(lambda change: seen.append(change["new"]), "value")
    field.value = "bad"
    assert result.value == "<p>BAD</p>"
    assert seen == [AT_WORK + "<p>GOOD</p>", "<p>BAD</p>"]
    button.click()
    assert asked == ["good", "bad"], "the button asked again for what is shown"
