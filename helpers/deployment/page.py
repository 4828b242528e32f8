"""The page of the HTTP service, on which a person tries the model (chapter 07).

Plain HTML with a little JavaScript of its own: no other host is asked for anything, and the content security
policy, which admits this script and this style by their hashes alone, would not let it.
"""

import base64
import hashlib
import html

from fastapi.responses import HTMLResponse

from helpers.models.pretrained import Classifier

STYLE = """
body { font: 18px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
h1 { font-size: 1.6rem } label { display: block; font-weight: 600 } .error { color: #a00000 }
textarea, input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid #666 }
button { font: inherit; font-weight: 600; margin: .7rem 0; padding: .5rem 1.2rem; border: 0;
  border-radius: .3rem; background: #005a9e; color: #fff } button:disabled { background: #666 }
:focus-visible { outline: 3px solid #d55e00; outline-offset: 2px }
table { border-collapse: collapse; width: 100% } caption { text-align: left; font-weight: 600 }
th { text-align: left; font-weight: 400; padding-right: 1rem } td { padding: .2rem 0 }
td.n { text-align: right; white-space: nowrap; padding-left: 1rem; font-variant-numeric: tabular-nums }
td:nth-child(2) { width: 75% } meter { display: block; width: 100%; height: 1.4rem }
"""

SCRIPT = """
"use strict";
const [form, field, button, result] = ["form", "#input", "button", "#result"].map(
  name => document.querySelector(name));
const is_text = form.dataset.task === "text";

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;  // never as HTML: what people type stays text
  parent.append(made);
  return made;
}

function show(label, probabilities) {
  const percent = p => (100 * p).toFixed(1) + " %";
  element("p", `The most probable label is ${label}, ${percent(probabilities[label])}.`, result);
  const table = element("table", "", result);
  element("caption", "Probability of each label", table);
  for (const [name, p] of Object.entries(probabilities)) {
    const row = element("tr", "", table);
    element("th", name, row).scope = "row";
    const meter = element("meter", "", element("td", "", row));
    meter.value = p;
    meter.setAttribute("aria-label", name + " " + percent(p));
    element("td", percent(p), row).className = "n";
  }
}

async function ask() {
  const picture = is_text ? "" : field.files[0] || "";
  const type = is_text ? "application/json" : picture.type || "image/png";
  const body = is_text ? JSON.stringify({texts: [field.value]}) : picture;
  button.disabled = true;
  let answer, problem;
  try {
    const response = await fetch("predict", {method: "POST", headers: {"Content-Type": type}, body});
    answer = await response.json();
    if (!response.ok) problem = answer.detail;
  } catch {
    problem = "the service does not answer";
  }
  button.disabled = false;
  result.replaceChildren();
  if (problem) element("p", "Not labelled: " + problem + ".", result).className = "error";
  else show(answer.predictions[0].label, answer.predictions[0].probabilities);
}

form.addEventListener("submit", event => { event.preventDefault(); ask(); });
const given = new URLSearchParams(location.search).get("text");  // a link can carry a comment: /?text=Nice
if (is_text && given !== null) { field.value = given; ask(); }
"""

FIELDS = {
    "text": ("comment", '<textarea id="input" rows="4" maxlength="{}" required autofocus></textarea>'),
    "images": ("picture", '<input id="input" type="file" accept="image/*" required>'),
}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Try the model</title><link rel="icon" href="data:,"><style>{style}</style></head>
<body><main><h1>Try the model</h1>
<p>{name} chooses one of these labels: {classes}.</p>
<form data-task="{task}"><label for="input">Your {noun}</label>{field}<button>Label it</button></form>
<section id="result" aria-live="polite" aria-label="Result"></section>
<p>For programs: <a href="openapi.json">the addresses of this service</a>.</p>
<noscript><p>This page needs JavaScript.</p></noscript><script>{script}</script></main></body></html>
"""


def page(classifier: Classifier, characters: int) -> HTMLResponse:
    """The page on which a person labels one picture, or one comment of at most so many characters."""
    noun, field = FIELDS[classifier.task]
    content = PAGE.format(
        name=html.escape(classifier.name),
        classes=html.escape(", ".join(classifier.classes)),
        task=classifier.task,
        noun=noun,
        field=field.format(characters),
        style=STYLE,
        script=SCRIPT,
    )
    policy = (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
