"""Your own conversations: rows to learn from, and prompts to be answered (chapters 09 and 10).

Every text is kept as it stands in the file: nothing is stripped, cut or repaired, for all of it is learnt.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from ftfy.badness import is_bad

from helpers.errors import InputError, Problem
from helpers.own.conversation import (
    ANSWERS,
    KINDS,
    Messages,
    beside,
    conversation,
    fields,
    problem,
    prompt_keys,
)
from helpers.own.delimited import noticed_swallowing
from helpers.own.formats import json_objects, parquet_rows, read_json
from helpers.own.table import Inputs, decoded
from helpers.own.tables import READERS, existing, judge, read_table
from helpers.own.texts import Rows, text_lines

Check = Callable[[Messages], str | None]
LINE = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
MISSING = ("nan", "none", "null", "n/a", "na", "<na>", "-")
FOREIGN = re.compile(r"<\|\w+\|>|</?s>|\[/?INST\]|<(start|end)_of_turn>|### (Instruction|Response):")


def messages_from(
    file: str | Path,
    *,
    prompt_column: str | None = None,
    answer_column: str | None = None,
    on_bad: str = "stop",
    reserved: tuple[str, ...] = (),
    check: Check = lambda messages: None,
) -> Rows:
    """Your own conversations, each of which ends with an answer.

    JSON Lines or Parquet hold "messages" ({"role", "content"}), "conversations" ({"from", "value"}), or
    "prompt" and "completion" (or "answer"), two texts or two lists of messages; other tables two columns.

    Example: `frame, problems = messages_from("chats.jsonl", reserved=("<|im_start|>", "<|im_end|>"))`

    Args:
        prompt_column, answer_column: names of columns; naming one says that the rows are such pairs.
        on_bad: "stop" raises when any row is bad, "skip" leaves bad rows out and returns what was wrong.
        reserved: control signs of the model's template, which no text may hold.
        check: says what else is wrong with the messages of a row, or None.

    Returns:
        The good rows: `id` (number of the line or row), `text` (the messages as JSON), `label` (the last
        answer) and `group` (rows share it that have one prompt, or one of which goes on where another ends);
        the problems. `attrs["noticed"]` says in sentences what else a person should know.

    Raises InputError: the file is missing, empty or damaged, or has no good row; DataError: see `on_bad`.
    """
    columns = {"prompt": prompt_column, "answer": answer_column}
    good, problems, noticed = read_conversations(Path(file), columns, _single, on_bad, reserved, check)
    frame = conversation_rows(good)
    copies = int(frame["text"].duplicated().sum())
    if copies:
        noticed.append(f"{copies:,} rows are copies of another; they are kept, in its group")
    answers = frame["label"].groupby(last_prompts(frame)).agg(["nunique", "size"])
    differ = answers[answers["nunique"] > 1]
    if len(differ):
        noticed.append(f"{differ['size'].sum():,} rows share {len(differ):,} prompts and answer differently")
    frame.attrs["noticed"] = noticed
    return frame, problems


def prompts_from(
    source: str | Path | list[str],
    *,
    prompt_column: str | None = None,
    on_bad: str = "stop",
    reserved: tuple[str, ...] = (),
    check: Check = lambda messages: None,
) -> tuple[Inputs, list[Problem]]:
    """Prompts to be answered, as lists of messages: from texts, or a .txt file with one on each line.

    Or from a file as in `messages_from`, but its messages end with the user, and no answer is looked at.
    """
    columns = {"prompt": prompt_column}
    good, problems, noticed = read_conversations(source, columns, _single, on_bad, reserved, check)
    numbers, rows, prompts = zip(*((number, row, messages) for number, row, (messages,) in good))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    records = [[_written(row.get(name, "")) for name in columns] for row in rows]
    return Inputs(list(prompts), list(numbers), columns, records, noticed), problems


def _written(value) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)


def conversation_rows(good: list) -> pd.DataFrame:
    """`id`, `text`, `label` and `group`, see `messages_from`, of the first conversation of each good row."""
    conversations = [found[0] for _, _, found in good]
    frame = pd.DataFrame({"id": [number for number, _, _ in good]}).astype(str)
    frame["text"] = [json.dumps(messages, ensure_ascii=False) for messages in conversations]
    frame["label"] = [messages[-1]["content"] for messages in conversations]
    prompts, first = list(map(prompt_keys, conversations)), {}
    for number, keys in zip(frame["id"], prompts):
        first.setdefault(keys[-1], number)
    frame["group"] = [next(first[key] for key in keys if key in first) for keys in prompts]
    return frame


def last_prompts(frame: pd.DataFrame) -> list[str]:
    """A key of what each row's last answer answers, equal but for case and white space."""
    return [prompt_keys(json.loads(text))[-1] for text in frame["text"]]


def _single(row: dict, columns: dict) -> tuple[list[str], list[Messages]]:
    names = fields(row, columns["prompt"], columns.get("answer"), answered="answer" in columns)
    return names, [conversation(row, names)]


def read_conversations(
    source,
    columns: dict[str, str | None],
    parse: Callable,
    on_bad: str,
    reserved,
    check: Check,
    *,
    line: str = LINE,
    compare: Callable = lambda found: None,
):
    """The good rows as (number, row, conversations), the problems, and what a person should know.

    Args:
        columns: {role: name that the user gave it, or None}; without any role but "prompt", conversations end
            with a question.
        parse: (row, columns) -> names of the fields that it reads, and the conversations in them.
        line: a right row of JSON, to be shown to those who wrote none.
        compare: says what is wrong with the conversations of a row together, each of which is right, or None.
    """
    source = Path(source) if isinstance(source, str) else source
    unit, rows, faults, noticed = _rows(source, columns, line)
    good, ignored, doubts, answered = [], Counter(), defaultdict(list), len(columns) > 1
    for number, row in rows:
        try:
            names, found = parse(row, columns)
        except InputError as error:
            faults[number] = str(error)
            continue
        whats = [problem(messages, reserved, answered=answered) or check(messages) for messages in found]
        of = [f"in {name!r}, " if len(found) > 1 else "" for name in names[-len(found) :]]
        whats = [start + what for start, what in zip(of, whats) if what] or [compare(found)]
        if whats[0]:
            faults[number] = whats[0]
            continue
        good.append((number, row, found))
        ignored.update(sorted(beside(row, names)))
        texts = [message["content"] for messages in found for message in messages]
        if any(map(FOREIGN.search, texts)):
            doubts["signs of a chat template in a text: is it another model's?"].append(number)
        if any(not text.isascii() and ("\ufffd" in text or is_bad(text)) for text in texts):
            doubts["a text that looks like a wrong encoding"].append(number)
        if answered and any(messages[-1]["content"].strip().lower() in MISSING for messages in found):
            doubts["an answer that may be the mark of a missing one, like 'nan'"].append(number)
    of = f" of {source.name}" if isinstance(source, Path) else ""
    problems = [Problem(f"{unit} {number}{of}", faults[number]) for number in sorted(faults)]
    judge(good, problems, source if isinstance(source, Path) else Path("the input"), on_bad)
    if ignored:
        counts = ", ".join(f"{name} ({count:,} rows)" for name, count in ignored.most_common(12))
        noticed.append(f"beside the conversations stands what is not read: {counts}")
    for what, numbers in doubts.items():
        noticed.append(f"{len(numbers):,} of {len(good):,} rows (first: {unit} {numbers[0]}) hold {what}")
    return good, problems, noticed


def _rows(source, columns: dict[str, str | None], line: str):
    """What the numbers count, the rows by number, what is wrong with others, what a person should know."""
    name = columns["prompt"] or "prompt"
    if not isinstance(source, Path):
        return "input", [(number, {name: text}) for number, text in enumerate(source, 1)], {}, []
    kind = source.suffix.lower()
    if kind == ".txt" and len(columns) == 1:
        return "line", [(number, {name: text}) for number, text in enumerate(text_lines(source), 1)], {}, []
    file = existing(source)
    if READERS.get(kind) is read_json:
        unit, rows, faults = json_objects(file, line)
        if not rows:
            first = next((f" (first: {unit} {number} {faults[number]})" for number in faults), "")
            raise InputError(f"{file.name} holds no usable row{first}; expected {line} on each line")
        return unit, rows, faults, []
    if kind == ".parquet":
        rows, read = parquet_rows(file), [given or role for role, given in columns.items()]
        if any(isinstance(row.get(key), list) for _, row in rows for key in (*KINDS, *read)):
            return "row", rows, {}, []
    if kind not in READERS and decoded(file).lstrip().startswith(('{"', '[{"')):
        raise InputError(f"{file.name} holds JSON, expected a table with columns; give it the ending .jsonl")
    table = read_table(file)
    lists = [kind for kind in KINDS if kind in table.columns]
    if lists and not any(columns.values()) and "chosen" not in columns:
        found = f"{file.name} has a column {lists[0]!r}, but such a table holds no lists"
        raise InputError(f"{found}; save the rows as JSON Lines, or name other columns with --prompt-column")
    for role, given in columns.items():
        usual = ANSWERS if role == "answer" else (role,)
        table.place(role, given or next((name for name in usual if name in table.columns), usual[0]))
    known, names = table.columns, []
    for place, column in enumerate(known):  # a name that stands twice, like that of blank columns
        names.append(f"{column} ({place + 1})" if column in known[:place] else column)
    rows = [(number, dict(zip(names, record))) for number, record in zip(table.numbers, table.records)]
    return "row", rows, dict(table.faults), noticed_swallowing(table)
