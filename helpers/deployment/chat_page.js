"use strict";
const [form, input, turns, state, stop, fresh, system, temperature] = [
  "form", "#input", "#turns", "#state", "#stop", "#fresh", "#system", "#temperature"
].map(name => document.querySelector(name));
const send = form.querySelector("button");
let messages = [], writing = null;

function turn(role, text) {
  const made = document.createElement("p");
  made.className = role;
  made.append(Object.assign(document.createElement("b"), {textContent: role === "user" ? "You" : "Model"}));
  made.append(text);  // never as HTML: what people and models write stays text
  turns.append(made);
  turns.scrollTop = turns.scrollHeight;
  return made.lastChild;
}

function tell(text, is_error) {
  state.textContent = text;
  state.className = is_error ? "error" : "";
}

async function* pieces(response) {  // of the answer, from server-sent events
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) throw new Error("the answer broke off");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") return;
      const choice = JSON.parse(event.slice("data: ".length)).choices[0];
      if (choice.finish_reason === "length") tell("The answer was cut at its longest length.");
      yield choice.delta.content ?? "";
    }
  }
}

async function ask() {
  if (writing || !form.reportValidity()) return;
  writing = new AbortController();
  [send.disabled, stop.disabled] = [true, false];
  const history = messages, question = {role: "user", content: input.value};
  const given = system.value.trim() ? [{role: "system", content: system.value.trim()}] : [];
  const body = {model: form.dataset.model, stream: true, temperature: Number(temperature.value)};
  body.messages = [...given, ...history, question];
  const asked = turn("user", question.content), answer = turn("assistant", "");
  input.value = "";
  tell("The model is writing.");
  turns.setAttribute("aria-busy", "true");  // a screen reader waits for the whole answer
  try {
    const options = {method: "POST", headers: {"Content-Type": "application/json"}, signal: writing.signal};
    const response = await fetch("v1/chat/completions", {...options, body: JSON.stringify(body)});
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const piece of pieces(response)) {
      answer.data += piece;
      turns.scrollTop = turns.scrollHeight;
    }
    if (state.textContent === "The model is writing.") tell("");
  } catch (error) {
    if (error.name === "AbortError") tell("Stopped.");
    else tell("No answer: " + error.message + ".", true);
  }
  if (answer.data) history.push(question, {role: "assistant", content: answer.data});
  else {  // the question can be mended and sent again
    asked.parentNode.remove();
    answer.parentNode.remove();
    input.value ||= question.content;
  }
  writing = null;
  turns.removeAttribute("aria-busy");
  [send.disabled, stop.disabled] = [false, true];
  input.focus();
}

form.addEventListener("submit", event => { event.preventDefault(); ask(); });
stop.addEventListener("click", () => writing?.abort());
fresh.addEventListener("click", () => {
  writing?.abort();
  messages = [];
  turns.replaceChildren();
  tell("");
  input.focus();
});
document.addEventListener("keydown", event => { if (event.key === "Escape") writing?.abort(); });
input.addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
