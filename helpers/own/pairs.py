"""Your own pairs of answers to one prompt, of which people prefer one (chapter 11)."""

from pathlib import Path

from helpers.errors import InputError
from helpers.own.conversation import Messages, fields_found, messages_of, shown, written_list
from helpers.own.messages import Check, conversation_rows, last_prompts, read_conversations
from helpers.own.tables import row_problem
from helpers.own.texts import Rows

LINE = '{"prompt": "...", "chosen": "...", "rejected": "..."}'
SINGLE = "a completion with a label is one answer alone: join a good and a bad one to the same prompt"


def pairs_from(
    file: str | Path,
    *,
    prompt_column: str | None = None,
    chosen_column: str | None = None,
    rejected_column: str | None = None,
    on_bad: str = "stop",
    reserved: tuple[str, ...] = (),
    check: Check = lambda messages: None,
) -> Rows:
    """Your own pairs: a prompt, the answer that people chose, and the one that they rejected.

    JSON Lines or Parquet hold "prompt", "chosen" and "rejected" as texts or lists of messages; the two may
    be the answers alone, or whole conversations that repeat the prompt, and then it may be missing. Other
    tables have three columns of texts.

    Example: `frame, problems = pairs_from("pairs.jsonl", reserved=("<|im_start|>", "<|im_end|>"))`

    Args:
        prompt_column, chosen_column, rejected_column: where the fields or columns have other names.
        on_bad, reserved, check: as in `messages_from`.

    Returns:
        The good rows: `id`, `text` (the chosen conversation, as JSON), `label` (its last answer), `rejected`
        (the other last answer, all before it is the same) and `group`, as in `messages_from`; the problems.
        `attrs["noticed"]` says in sentences what else a person should know.

    Raises InputError: the file is missing, empty or damaged, or has no good row; DataError: see `on_bad`.
    """
    columns = {"prompt": prompt_column, "chosen": chosen_column, "rejected": rejected_column}
    good, problems, noticed = read_conversations(
        Path(file), columns, _pair, on_bad, reserved, check, line=LINE, compare=_compare
    )
    frame = conversation_rows(good)
    frame["rejected"] = [found[1][-1]["content"] for _, _, found in good]
    pairs = list(zip(last_prompts(frame), frame["label"], frame["rejected"]))
    known = set(pairs)
    if len(known) < len(pairs):
        noticed.append(f"{len(pairs) - len(known):,} rows are copies of another; they are kept, in its group")
    opposed = sum((prompt, rejected, chosen) in known for prompt, chosen, rejected in pairs)
    if opposed:
        what = f"{opposed:,} rows contradict another, which prefers the other one of the same two answers"
        noticed.append(f"{what}; they are kept, and teach nothing together")
    frame.attrs["noticed"] = noticed
    return frame, problems


def _pair(row: dict, columns: dict) -> tuple[list[str], list[Messages]]:
    """The fields of a row, and its chosen and its rejected conversation. Raises InputError: it is no pair."""
    asked, *sides = names = [given or role for role, given in columns.items()]
    missing = [name for name in sides if row.get(name) is None]
    if missing:
        single = f"; {SINGLE}" if {"completion", "label"} <= set(row) else ""
        raise InputError(f"has no {missing[0]!r}, found {fields_found(row)}; expected {LINE}{single}")
    prompt = [] if row.get(asked) is None else _turns(asked, row[asked], "user")
    return names, [_whole(prompt, asked, name, row[name]) for name in sides]


def _compare(pair: list[Messages]) -> str | None:
    """What is wrong with the two of a pair together, or None."""
    chosen, rejected = pair
    if chosen[:-1] != rejected[:-1]:
        what = "the chosen and the rejected answer belong to different prompts"
        return f"{what}; all before the last message must be the same"
    if chosen[-1]["content"].strip() == rejected[-1]["content"].strip():
        return "the chosen and the rejected answer are the same, so none is preferred; take the row out"
    return None


def _whole(prompt: Messages, asked: str, name: str, value) -> Messages:
    """A conversation of a prompt and the answer, or of messages that repeat the prompt before it."""
    turns = _turns(name, value, "assistant")
    if turns[0]["role"] not in ("system", "user"):
        if not prompt:
            advice = f"add it, or write {name!r} as a list of messages that begins with the question"
            raise InputError(f"has no {asked!r} that {name!r} would answer; {advice}")
        return [*prompt, *turns]
    if any(message not in turns[:-1] for message in prompt):
        raise InputError(f"{name!r} does not repeat the prompt; let it begin so, or give the answer alone")
    return turns


def _turns(name: str, value, role: str) -> Messages:
    """A list of messages as it is, a text as one message of `role`."""
    if isinstance(value, list):
        return messages_of(name, value)
    if not isinstance(value, str):
        raise InputError(f"{name!r} is {shown(value)}, expected text or a list of messages")
    what = row_problem({f"text of {name!r}": value}) or written_list(f"text of {name!r}", value)
    if what:
        raise InputError(what)
    return [{"role": role, "content": value}]
