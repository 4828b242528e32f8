"""The pages of the HTTP services, on which a person tries a model (chapters 07 and 10).

Plain HTML with a little JavaScript of its own: no other host is asked for anything, and the content security
policy, which admits this script and this style by their hashes alone, would not let it.
"""

import base64
import functools
import hashlib
import html
from pathlib import Path, PureWindowsPath
from string import Template

from fastapi.responses import HTMLResponse

from helpers.models.pretrained import Classifier

FIELDS = {
    "text": (
        "comment",
        '<textarea id="input" rows="4" maxlength="{}" required autofocus aria-describedby="keys"></textarea>'
        '<p id="keys">Enter sends, Shift+Enter begins a line.</p>',
    ),
    "images": ("picture", '<input id="input" type="file" accept="image/*" required>'),
}


def page(classifier: Classifier, characters: int) -> HTMLResponse:
    """The page on which a person labels one picture, or one comment of at most so many characters."""
    noun, field = FIELDS[classifier.task]
    names = {"name": short_name(classifier), "classes": ", ".join(classifier.classes)}
    asked = {"task": classifier.task, "noun": noun, "field": field.format(characters)}
    return rendered("page", names, asked)


def rendered(part: str, names: dict[str, str], markup: dict[str, str] | None = None) -> HTMLResponse:
    """The page of `part`.html with its style and script; names are shown as they are, markup is HTML."""
    style = "".join(map(_part, dict.fromkeys(("page.css", f"{part}.css"))))
    script = _part(f"{part}.js")
    values = {what: html.escape(name) for what, name in names.items()} | (markup or {})
    content = Template(_part(f"{part}.html")).substitute(values, style=style, script=script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})


def short_name(classifier: Classifier) -> str:
    """Name of the pretrained model; of a folder only the last part: strangers need not know this disk."""
    return PureWindowsPath(classifier.name).name or classifier.task  # knows the separators of all systems


@functools.cache
def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
