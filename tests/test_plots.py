"""The figures take class names as they are: user text, in any script, of any length."""

import base64
import io
import re
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from helpers import plots

ALIKE = [f"{'a' * 40}{letter}{'z' * 40}" for letter in "bc"]


def drawn(classes):
    """The tick labels of a confusion matrix that was really drawn, no warning shown."""
    figure = Figure(layout="constrained")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plots.confusion_matrix(figure.subplots(), classes, classes[::-1], classes)
        assert "data:image/png;base64," in plots.image_html(figure, "counts")
    return [label.get_text() for label in ax.get_xticklabels()]


@pytest.mark.parametrize(
    "names",
    [
        ["$0_to_$50", "$50_to_$100"],
        ["costs $10-$20", "a_b^c", r"C:\\temp\\$x$", r"\\frac{1}{0}", "{", "%"],
        ["ja", "naïve", "Ωμέγα", "<b>", '"quoted, with a comma"'],
    ],
)
def test_names_are_no_formulas(names):
    assert drawn(names) == names


def test_characters_without_a_shape_are_escaped():
    assert drawn(["one\ntwo", "bell\a", "caf\udce9"]) == [r"one\ntwo", r"bell\x07", r"caf\udce9"]
    assert plots.printable("می\u200cخواهم") == "می\u200cخواهم"  # the joiner belongs to the word


def test_long_names_are_shortened_in_the_middle_and_stay_different():
    names = ["first " + "long " * 40 + "end", "second " + "long " * 40 + "end", *ALIKE, "x"]
    first, second, *alike, short = drawn(names)
    assert first.startswith("first long ")
    assert first.endswith("long end")
    assert second.startswith("second long")
    assert max(map(len, (first, second))) == plots.LONGEST_NAME
    assert [*alike, short] == ["№ 3", "№ 4", "x"]
    assert drawn(["a\nb", r"a\nb"]) == ["№ 1", "№ 2"]


@pytest.fixture
def chinese_font(tmp_path, monkeypatch):
    """A font with the two letters of one word, made here and installed under a name that is looked for."""
    pen = TTGlyphPen(None)
    for at in ((0, 0), (0, 500), (500, 500), (500, 0)):
        (pen.lineTo if pen.points else pen.moveTo)(at)
    pen.closePath()
    glyph = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    names = [".notdef", "hao", "ping"]
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord("好"): "hao", ord("评"): "ping"})
    font.setupGlyf(dict.fromkeys(names, glyph))
    font.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "chinese.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", manager.ttflist.copy())
    manager.addfont(tmp_path / "chinese.ttf")
    plots._fonts.cache_clear()
    yield
    plots._fonts.cache_clear()


def test_other_scripts_are_drawn_where_a_font_has_them(chinese_font):
    assert drawn(["好评", "差\U000f0000"]) == ["好评", "№ 2"]


def test_other_scripts_are_numbers_where_no_font_has_them(monkeypatch):
    monkeypatch.setattr(plots, "FAMILIES", ("DejaVu Sans",))
    plots._fonts.cache_clear()
    assert drawn(["差评 👎", "mixed", "好评"]) == ["№ 1", "mixed", "№ 3"]
    plots._fonts.cache_clear()


def test_the_counts_are_in_their_cells():
    ax = plots.confusion_matrix(Figure().subplots(), list("aab"), list("abb"), ["a", "b"])
    counts = np.zeros((2, 2), dtype=int)
    for text in ax.texts:
        counts[text.get_position()[::-1]] = text.get_text()
    assert counts.tolist() == [[1, 1], [0, 1]]


def test_a_figure_is_sharp_and_as_wide_as_before(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: shown.append((bundle, options)))
    plots.show(Figure(figsize=(4, 2)), "<nothing> is drawn")
    bundle, options = shown[0]
    assert (bundle["text/plain"], options) == ("<nothing> is drawn", {"raw": True})
    image = re.fullmatch(
        r'<img alt="(.+?)" width="320" style="(.+?)" src="data:.+?,(.+)">', bundle["text/html"]
    )
    assert (image[1], image[2]) == ("&lt;nothing&gt; is drawn", "max-width:100%;height:auto")
    assert Image.open(io.BytesIO(base64.b64decode(image[3]))).size == (600, 300)
