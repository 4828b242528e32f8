"""One conversation: a row becomes messages, and they are right or one sentence says why not (chapter 09)."""

import hashlib
import json
import re

from helpers.errors import InputError
from helpers.own.table import shortened
from helpers.own.tables import row_problem

Messages = list[dict[str, str]]  # {"role": one of ROLES, "content": text}, in their order
ROLES, ANSWERS = ("system", "user", "assistant"), ("completion", "answer")
KINDS = {"messages": ("role", "content"), "conversations": ("from", "value")}  # the second is ShareGPT's,
SHAREGPT = {"human": "user", "gpt": "assistant"}  # with its own roles
MEANT = {**SHAREGPT, "prompter": "user", "developer": "system"}
MEANT |= dict.fromkeys(("bot", "model", "ai", "chatgpt", "chatbot"), "assistant")
TOOLS = ("tool", "function", "function_call", "observation", "ipython")
WRITTEN_LIST = re.compile(r"\s*\[\s*\{\s*['\"](role|content|from|value)['\"]\s*:")


def fields(row: dict, prompt: str | None, answer: str | None, *, answered: bool) -> list[str]:
    """Names of the fields of a row that hold its conversation: a list, or prompt and (if `answered`) answer.

    Naming a column, `prompt` or `answer`, says that the row is a pair. Raises InputError: there are none.
    """
    for name in KINDS:
        if row.get(name) is not None and prompt is None and answer is None:
            return [name]
    answers = [name for name in ANSWERS if row.get(name) is not None]
    if answered and answer is None and len(answers) > 1:
        raise InputError("has both 'completion' and 'answer'; name one with --answer-column")
    names = [prompt or "prompt", answer or (answers or ANSWERS)[0]][: 1 + answered]
    missing = [name for name in names if row.get(name) is None]
    if missing:
        kinds = "'messages', or 'prompt' and 'completion'" if answered else "'messages' or 'prompt'"
        advice = "name other columns with --prompt-column" + " and --answer-column" * answered
        raise InputError(f"has no {missing[0]!r}, found {fields_found(row)}; expected {kinds}, or {advice}")
    return names


def conversation(row: dict, names: list[str]) -> Messages:
    """The messages in the `fields` of a row. Raises InputError: they are no objects with a role and text."""
    values = [row[name] for name in names]
    if all(isinstance(value, list) for value in values):
        return [message for name, value in zip(names, values) for message in messages_of(name, value)]
    expected = "a list" if names[0] in KINDS else "text, or lists"
    if names[0] in KINDS or not all(isinstance(value, str) for value in values):
        found = " and ".join(f"{name!r} is {shown(value)}" for name, value in zip(names, values))
        raise InputError(f"{found}, expected {expected} of messages")
    what = row_problem(dict(zip(("prompt", "answer"), values))) or written_list("prompt", values[0])
    if what:
        raise InputError(what)
    return [{"role": role, "content": value} for role, value in zip(("user", "assistant"), values)]


def written_list(what: str, text: str) -> str | None:
    """A sentence on a text that is a list of messages, as other programs write one into a table; or None."""
    if WRITTEN_LIST.match(text) and text.rstrip().endswith("]"):
        return f"the {what} is a list of messages written as text; write it as a list, in JSON Lines"
    return None


def messages_of(name: str, value: list) -> Messages:
    """Messages with the role and the text alone; a text that comes in parts is joined."""
    if not value:
        raise InputError(f"{name!r} is an empty list, expected messages")
    messages = []
    for number, message in enumerate(value, 1):
        where, pair = f"message {number} of {name!r}", []
        if not isinstance(message, dict):
            raise InputError(f"{where} is {shown(message)}, expected an object with a role and text")
        for key in _keys(name):
            if key not in message:
                raise InputError(f"{where} has no {key!r}, found {fields_found(message)}")
            pair.append(_joined(message[key]))
            if not isinstance(pair[-1], str):
                raise InputError(f"{where} has {shown(message[key])} as {key!r}, expected text")
        role = SHAREGPT.get(pair[0], pair[0]) if name == "conversations" else pair[0]
        messages.append({"role": role, "content": pair[1]})
    return messages


def problem(messages: Messages, reserved: tuple[str, ...] = (), *, answered: bool = True) -> str | None:
    """What is wrong with a conversation that ends with an answer, or else a question; or None.

    No text may hold one of `reserved`, the control signs of the model's template.
    """
    before = None
    for number, (role, text) in enumerate(((turn["role"], turn["content"]) for turn in messages), 1):
        if role in TOOLS:
            return f"message {number} has the role {role!r}: calls of tools are not learnt; take the row out"
        if role not in ROLES:
            meant = MEANT.get(role.strip().lower(), role.strip().lower())
            advice = f"; write {meant!r}" if meant in ROLES else ""
            found = f"message {number} has the role {shortened(role)!r}"
            return f"{found}, expected 'system', 'user' or 'assistant'{advice}"
        what = row_problem({f"text of message {number} ({role})": text})
        if what:
            return what
        sign = next((sign for sign in reserved if sign in text), None)
        if sign is not None:
            read = "which the model would read as its own control sign"
            return f"the text of message {number} ({role}) holds {sign!r}, {read}; take it out"
        if role == "system" and number > 1:
            return f"message {number} is of the system, which may only be the first"
        if role == before:
            return f"messages {number - 1} and {number} are both of the {role}, expected turns; join them"
        if role == "assistant" and before != "user":
            return f"message {number} is of the assistant, expected a question of the user before it"
        before = role
    if before == ("assistant" if answered else "user"):
        return None
    if not answered:
        return f"the last message is of the {before}, expected a question of the user; take it out"
    if all(turn["role"] != "assistant" for turn in messages):
        return "holds no answer of the assistant, so there is nothing to learn; add one"
    return (
        "the last message is of the user, expected an answer of the assistant; add it, or take this one out"
    )


def beside(row: dict, names: list[str]) -> set[str]:
    """What of a row is not read, in words: other fields, and what else its messages hold."""
    found = {repr(shortened(name)) for name in row if name not in names and row[name] not in (None, "")}
    for name in names:
        for message in row[name] if isinstance(row.get(name), list) else []:
            others = [key for key in message if key not in _keys(name) and message[key] is not None]
            found.update(f"{shortened(key)!r} of messages" for key in others)
    return found


def prompt_keys(messages: Messages) -> list[str]:
    """Keys of the prompts of all answers of a conversation, equal but for case and white space."""
    keys, so_far = [], hashlib.sha256()
    for message in messages:
        if message["role"] == "assistant":
            keys.append(so_far.hexdigest())
        text = " ".join(message["content"].split()).casefold()
        so_far.update(json.dumps([message["role"], text]).encode())
    return keys


def _keys(name: str) -> tuple[str, str]:
    return KINDS.get(name, KINDS["messages"])


def _joined(content):
    """The text of a list of parts that are all texts; anything else as it is."""
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    is_text = parts and len(texts) == len(parts) and all(isinstance(text, str) for text in texts)
    return "".join(texts) if is_text else content


def shown(value) -> str:
    """A value for a sentence."""
    return shortened(json.dumps(value, default=str))


def fields_found(row: dict) -> str:
    """The names of a row's fields for a sentence."""
    names = [repr(shortened(name)) + " (null)" * (value is None) for name, value in row.items()]
    return ", ".join(names[:12]) or "nothing"
