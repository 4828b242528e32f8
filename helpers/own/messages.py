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
    good, problems, noticed = _read(Path(file), [prompt_column, answer_column], True, on_bad, reserved, check)
    numbers, _, conversations = zip(*good)
    frame = pd.DataFrame({"id": numbers}).astype(str)
    frame["text"] = [json.dumps(messages, ensure_ascii=False) for messages in conversations]
    frame["label"] = [messages[-1]["content"] for messages in conversations]
    prompts, first = list(map(prompt_keys, conversations)), {}
    for number, keys in zip(frame["id"], prompts):
        first.setdefault(keys[-1], number)
    frame["group"] = [next(first[key] for key in keys if key in first) for keys in prompts]
    copies = int(frame["text"].duplicated().sum())
    if copies:
        noticed.append(f"{copies:,} rows are copies of another; they are kept, in its group")
    answers = frame["label"].groupby([keys[-1] for keys in prompts]).agg(["nunique", "size"])
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
    good, problems, noticed = _read(source, [prompt_column, None], False, on_bad, reserved, check)
    numbers, rows, prompts = zip(*good)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    records = [[_written(row.get(name, "")) for name in columns] for row in rows]
    return Inputs(list(prompts), list(numbers), columns, records, noticed), problems


def _written(value) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)


def _read(source, columns: list[str | None], answered: bool, on_bad: str, reserved, check: Check):
    """The good rows as (number, row, messages), the problems, and what a person should know."""
    source = Path(source) if isinstance(source, str) else source
    unit, rows, faults, noticed = _rows(source, columns, answered)
    good, ignored, doubts = [], Counter(), defaultdict(list)
    for number, row in rows:
        try:
            names = fields(row, *columns, answered=answered)
            messages = conversation(row, names)
        except InputError as error:
            faults[number] = str(error)
            continue
        what = problem(messages, reserved, answered=answered) or check(messages)
        if what:
            faults[number] = what
            continue
        good.append((number, row, messages))
        ignored.update(sorted(beside(row, names)))
        texts = [message["content"] for message in messages]
        if any(map(FOREIGN.search, texts)):
            doubts["signs of a chat template in a text: is it another model's?"].append(number)
        if any(not text.isascii() and ("\ufffd" in text or is_bad(text)) for text in texts):
            doubts["a text that looks like a wrong encoding"].append(number)
        if answered and texts[-1].strip().lower() in MISSING:
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


def _rows(source, columns: list[str | None], answered: bool):
    """What the numbers count, the rows by number, what is wrong with others, what a person should know."""
    name = columns[0] or "prompt"
    if not isinstance(source, Path):
        return "input", [(number, {name: text}) for number, text in enumerate(source, 1)], {}, []
    kind = source.suffix.lower()
    if kind == ".txt" and not answered:
        return "line", [(number, {name: text}) for number, text in enumerate(text_lines(source), 1)], {}, []
    file = existing(source)
    if READERS.get(kind) is read_json:
        unit, rows, faults = json_objects(file, LINE)
        if not rows:
            first = next((f" (first: {unit} {number} {faults[number]})" for number in faults), "")
            raise InputError(f"{file.name} holds no usable row{first}; expected {LINE} on each line")
        return unit, rows, faults, []
    if kind == ".parquet":
        rows = parquet_rows(file)
        if any(isinstance(row.get(key), list) for _, row in rows for key in (*KINDS, name)):
            return "row", rows, {}, []
    if kind not in READERS and decoded(file).lstrip().startswith(('{"', '[{"')):
        raise InputError(f"{file.name} holds JSON, expected a table with columns; give it the ending .jsonl")
    table = read_table(file)
    lists = [kind for kind in KINDS if kind in table.columns]
    if lists and columns == [None, None]:
        found = f"{file.name} has a column {lists[0]!r}, but such a table holds no lists"
        raise InputError(f"{found}; save the rows as JSON Lines, or name other columns with --prompt-column")
    table.place("prompt", name)
    if answered:
        table.place("answer", columns[1] or next((a for a in ANSWERS if a in table.columns), ANSWERS[0]))
    known, names = table.columns, []
    for place, column in enumerate(known):  # a name that stands twice, like that of blank columns
        names.append(f"{column} ({place + 1})" if column in known[:place] else column)
    rows = [(number, dict(zip(names, record))) for number, record in zip(table.numbers, table.records)]
    return "row", rows, dict(table.faults), noticed_swallowing(table)
