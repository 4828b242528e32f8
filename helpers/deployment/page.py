"""The two pages of the HTTP service: one to try the model, one that lists its addresses (chapter 07).

Plain HTML with a little JavaScript of its own: no other host is asked for anything, and the content security
policy, which admits this script and this style by their hashes alone, would not let it.
"""

import base64
import hashlib
import html
import json

from fastapi.responses import HTMLResponse

from helpers.models.pretrained import Classifier

STYLE = """body{font:18px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.25rem}h3{font-size:1rem}caption{text-align:left;font-weight:600}label{display:block;font-weight:600}textarea,input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #666}
button{font:inherit;font-weight:600;margin:.7rem 0;padding:.5rem 1.2rem;border:0;border-radius:.3rem;background:#005a9e;color:#fff}
button:disabled{background:#666}:focus-visible{outline:3px solid #d55e00;outline-offset:2px}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:400;padding-right:1rem}td{padding:.2rem 0}
td:nth-child(2){width:75%}td.n{text-align:right;white-space:nowrap;padding-left:1rem;font-variant-numeric:tabular-nums}meter{display:block;width:100%;height:1.4rem}.error{color:#a00000}
pre{background:#f4f4f4;padding:.7rem;overflow:auto}"""

SCRIPT = """"use strict";
const form = document.querySelector("form"), field = document.querySelector("#input"), result = document.querySelector("#result");
const button = document.querySelector("button"), is_text = form.dataset.task === "text";

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;  // never as HTML: what people type stays text
  parent.append(made);
  return made;
}

function show(prediction) {
  const percent = p => (100 * p).toFixed(1) + " %";
  element("p", "The most probable label is " + prediction.label + ", " + percent(prediction.probabilities[prediction.label]) + ".", result);
  const table = element("table", "", result);
  element("caption", "Probability of each label", table);
  for (const [name, p] of Object.entries(prediction.probabilities)) {
    const row = element("tr", "", table);
    element("th", name, row).scope = "row";
    const meter = element("meter", "", element("td", "", row));
    meter.value = p;
    meter.setAttribute("aria-label", name + " " + percent(p));
    element("td", percent(p), row).className = "n";
  }
}

async function ask() {
  const picture = is_text ? null : field.files[0];
  const request = is_text ? {headers: {"Content-Type": "application/json"}, body: JSON.stringify({texts: [field.value]})}
                          : {headers: {"Content-Type": picture ? picture.type || "image/png" : "image/png"}, body: picture || ""};
  button.disabled = true;
  let answer, problem;
  try {
    const response = await fetch("predict", {method: "POST", ...request});
    answer = await response.json();
    if (!response.ok) problem = answer.detail;
  } catch {
    problem = "the service does not answer";
  }
  button.disabled = false;
  result.replaceChildren();
  if (problem) element("p", "Not labelled: " + problem + ".", result).className = "error";
  else show(answer.predictions[0]);
}

form.addEventListener("submit", event => { event.preventDefault(); ask(); });
const given = new URLSearchParams(location.search).get("text");  // a link can carry a comment: /?text=I%20like%20it
if (is_text && given !== null) { field.value = given; ask(); }
"""


def page(classifier: Classifier, characters: int) -> str:
    """The page on which a person labels one comment, at most so many characters long, or one picture."""
    field = (
        f'<label for="input">Your comment</label><textarea id="input" rows="4" maxlength="{characters}" '
        "required autofocus></textarea>"
    )
    if classifier.task != "text":
        field = (
            '<label for="input">Your picture</label><input id="input" type="file" accept="image/*" required>'
        )
    classes = html.escape(", ".join(classifier.classes))
    return _whole(
        "Try the model",
        f"<p>{html.escape(classifier.name)} chooses one of these labels: {classes}.</p>"
        f'<form data-task="{html.escape(classifier.task)}">{field}<button>Label it</button></form>'
        '<section id="result" aria-live="polite" aria-label="Result"></section>'
        '<p>For programs: <a href="docs">the addresses of this service</a>.</p><noscript><p>This page needs '
        "JavaScript.</p></noscript>"
        f"<script>{SCRIPT}</script>",
    )


def docs(schema: dict) -> str:
    """The page that lists the addresses of an OpenAPI schema; FastAPI's own loads its scripts from another
    host.
    """
    parts = ['<p>The machine-readable description is at <a href="openapi.json">openapi.json</a>.</p>']
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            parts.append(
                f"<h2>{method.upper()} "
                f"{html.escape(path)}</h2><p>{html.escape(described.get('summary', ''))}</p>"
            )
            if body := described.get("requestBody"):
                parts.append(f"<p>Body: {html.escape(', '.join(body['content']))}</p>")
    parts.append("<h2>Forms of bodies</h2>")
    for name, form in schema.get("components", {}).get("schemas", {}).items():
        if (
            "Error" not in name
        ):  # FastAPI's own form of errors; this service answers {"detail": "one sentence"}
            parts.append(
                f"<h3>{html.escape(name)}</h3><pre>{html.escape(json.dumps(form.get('properties', {}), indent=2))}</pre>"
            )
    parts.append(
        "<p>Errors have a status of 400 or more and the form <code>{&quot;detail&quot;: &quot;one "
        "sentence&quot;}</code>.</p>"
    )
    return _whole("Addresses of the service", "".join(parts))


def response(content: str) -> HTMLResponse:
    """A page with its content security policy."""
    script, style = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (SCRIPT, STYLE)
    )
    policy = (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; "
        "img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})


def _whole(title: str, body: str) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{title}</title><link rel="icon" href="data:,">'
    )
    return (
        "<!doctype html><html "
        f'lang="en"><head>{head}<style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n'
    )
