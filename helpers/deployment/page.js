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
field.addEventListener("keydown", event => {
  if (!is_text || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
const given = new URLSearchParams(location.search).get("text");  // a link can carry a comment: /?text=Nice
if (is_text && given !== null) { field.value = given; ask(); }
