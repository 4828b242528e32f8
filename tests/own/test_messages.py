"""People's own conversations: every row right, or named with its line; nothing learnt that nobody wrote."""

import json
import re
import time

import pandas as pd
import pytest

from helpers import own
from helpers.errors import DataError, InputError

SIGNS = ("<|im_start|>", "<|im_end|>")


def row(*contents: str, **others) -> str:
    """A line with turns of user and assistant; a pair ("role", "text") names another role."""
    turns = []
    for number, content in enumerate(contents):
        role, text = (("user", "assistant")[number % 2], content) if isinstance(content, str) else content
        turns.append({"role": role, "content": text})
    return json.dumps({"messages": turns, **others}, ensure_ascii=False)


GOOD = row("Who wrote Faust?", "Goethe.")


def write(path, *lines):
    content = "\n".join(lines) if isinstance(lines[0], str) else lines[0]
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problem_of(path, line, **options) -> str:
    """What is said of one bad line between two good ones; the good ones are kept."""
    file = write(path / "chats.jsonl", GOOD, line, GOOD)
    frame, problems = own.messages_from(file, on_bad="skip", **options)
    assert frame["id"].tolist() == ["1", "3"]
    assert [problem.where for problem in problems] == ["line 2 of chats.jsonl"]
    return problems[0].what


def turns_of(frame) -> list[list[tuple[str, str]]]:
    return [[(turn["role"], turn["content"]) for turn in json.loads(text)] for text in frame["text"]]


FAUST = [[("user", "Who wrote Faust?"), ("assistant", "Goethe.")]]
PAIR = {"user": "Who wrote Faust?", "assistant": "Goethe."}


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": PAIR["user"], "completion": PAIR["assistant"]},
        {"prompt": PAIR["user"], "answer": PAIR["assistant"]},
        {
            "prompt": [{"role": "user", "content": PAIR["user"]}],
            "completion": [{"role": "assistant", "content": PAIR["assistant"]}],
        },
        {"conversations": [{"from": "human", "value": PAIR["user"]}, {"from": "gpt", "value": "Goethe."}]},
        {"messages": [{"role": role, "content": [{"type": "text", "text": t}]} for role, t in PAIR.items()]},
        {"messages": [{"role": role, "content": text} for role, text in PAIR.items()], "prompt": None},
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_every_kind_of_row_gives_the_same_messages(value, kind, tmp_path):
    file = tmp_path / f"chats.{kind}"
    if kind == "parquet":
        pd.DataFrame([value]).to_parquet(file)
    else:
        write(file, json.dumps(value if kind == "jsonl" else [value], indent=None if kind == "jsonl" else 1))
    frame, problems = own.messages_from(file)
    assert problems == []
    assert turns_of(frame) == FAUST
    assert frame[["id", "label", "group"]].values.tolist() == [["1", "Goethe.", "1"]]
    assert frame.attrs["noticed"] == []


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet", "jsonl"])
def test_tables_with_columns_of_any_name(kind, tmp_path):
    frame = pd.DataFrame({"question": ["Ünï, \U0001f600\nهل؟", "6 * 7?"], "reply": ["是的", "42"]})
    file = tmp_path / f"chats.{kind}"
    writers = {
        "csv": lambda: frame.to_csv(file, index=False),
        "tsv": lambda: frame.to_csv(file, index=False, sep="\t"),
        "xlsx": lambda: frame.to_excel(file, index=False),
        "parquet": lambda: frame.to_parquet(file),
        "jsonl": lambda: frame.to_json(file, orient="records", lines=True),
    }
    writers[kind]()
    read, problems = own.messages_from(file, prompt_column="question", answer_column="reply")
    assert problems == []
    assert turns_of(read) == [[("user", q), ("assistant", a)] for q, a in frame.values.tolist()]
    with pytest.raises(InputError, match="question"):
        own.messages_from(file)


def test_lines_count_with_blank_ones_a_mark_at_the_start_and_the_line_ends_of_windows(tmp_path):
    lines = ["\ufeff" + GOOD, "", row("a\r\nb", "c\u2028d"), "  ", row("", "x"), ""]
    frame, problems = own.messages_from(write(tmp_path / "chats.jsonl", "\r\n".join(lines)), on_bad="skip")
    assert frame["id"].tolist() == ["1", "3"]
    assert turns_of(frame)[1] == [("user", "a\r\nb"), ("assistant", "c\u2028d")]
    assert list(map(str, problems)) == ["line 5 of chats.jsonl: the text of message 1 (user) is empty"]


def test_texts_are_kept_as_they_stand(tmp_path):
    texts = [
        " two  blanks ",
        "\U0001f468\u200d\U0001f469 \U0001f600",
        "مرحبا كيف حالك؟",
        "你好",
        "Größe &amp; `x`\n",
    ]
    file = write(tmp_path / "chats.jsonl", *(row(text, text[::-1]) for text in texts))
    frame, _ = own.messages_from(file)
    assert turns_of(frame) == [[("user", text), ("assistant", text[::-1])] for text in texts]
    assert frame["label"].tolist() == [text[::-1] for text in texts]
    assert texts[3] in frame["text"][3], "people can read what is kept"
    assert frame.attrs["noticed"] == []


# What stands in the line, and words of the sentence that it must get.
BAD_LINES = {
    "no json": "is no JSON object",
    '{"messages": [{"role": "user", "con': "Unterminated string",
    GOOD + ",": "Extra data.*, at ','",
    GOOD + GOOD: 'Extra data.*, at \'."messages"',
    GOOD[:-1] + ",}": "at '}'",
    str(json.loads(GOOD)): "enclosed in double quotes.*at \"'messages'",
    GOOD.replace("Who", "\tWho"): r"Invalid control character.*, at '\\tWho",
    GOOD.replace('"role": "user"', '"role": "user", "role": "user"'): "names a field twice",
    "[" + GOOD + "]": "is no JSON object, expected .*messages",
    '{"a":' * 20_000: "recursion",
    "5": "is no JSON object, expected .*messages",
    "{}": "has no 'prompt', found nothing; expected 'messages', or 'prompt' and 'completion'",
    '{"instruction": "a", "output": "b"}': "found 'instruction', 'output'; .*--prompt-column",
    '{"Messages": []}': "found 'Messages'",
    '{"messages": null}': r"found 'messages' \(null\)",
    '{"messages": []}': "'messages' is an empty list",
    '{"messages": {"role": "user"}}': "'messages' is {.*, expected a list of messages",
    json.dumps({"messages": '[{"role": "user"}]'}): "'messages' is \".*, expected a list of messages",
    '{"messages": ["hi"]}': "message 1 of 'messages' is \"hi\", expected an object",
    '{"messages": [{"role": "user"}]}': "message 1 of 'messages' has no 'content', found 'role'",
    '{"messages": [{"content": "hi"}]}': "message 1 of 'messages' has no 'role'",
    GOOD.replace("role", "Role"): "message 1 of 'messages' has no 'role', found 'Role', 'content'",
    row("hi", ("assistant", 42)): "message 2 of 'messages' has 42 as 'content', expected text",
    row("hi", ("assistant", None)): "message 2 of 'messages' has null as 'content', expected text",
    row(("user", float("nan")), "x"): "message 1 of 'messages' has NaN as 'content', expected text",
    row((7, "hi"), "x"): "message 1 of 'messages' has 7 as 'role', expected text",
    row(
        ("user", [{"type": "image_url", "image_url": {}}]), "x"
    ): r"has \[.*image_url.* as 'content', expected",
    row(("user", [{"type": "text", "text": "a"}, "b"]), "x"): r"has \[.* as 'content', expected text",
    row(("user", [{"type": "text", "text": 5}]), "x"): r"has \[.* as 'content', expected text",
    row(("human", "hi"), "x"): "message 1 has the role 'human', expected .*; write 'user'",
    row("hi", ("gpt", "x")): "message 2 has the role 'gpt', expected .*; write 'assistant'",
    row("hi", ("bot", "x")): "; write 'assistant'",
    row("hi", ("model", "x")): "; write 'assistant'",
    row(("User", "hi"), "x"): "'User', expected .*; write 'user'",
    row(("developer", "hi"), "x"): "; write 'system'",
    row(("narrator", "hi"), "x"): "'narrator', expected 'system', 'user' or 'assistant'$",
    row("hi", ("tool", "x")): "'tool': calls of tools are not learnt",
    row("hi", ("function", "x")): "'function': calls of tools are not learnt",
    row("hi", ("system", "be kind"), ("assistant", "x")): "message 2 is of the system, which .* the first",
    row(("system", "a"), ("system", "b"), ("user", "c"), "x"): "message 2 is of the system",
    row("hi", ("user", "you"), ("assistant", "x")): "messages 1 and 2 are both of the user",
    row("hi", "x", ("assistant", "y")): "messages 2 and 3 are both of the assistant",
    row(
        ("assistant", "hello"), ("user", "hi"), ("assistant", "x")
    ): "message 1 is of the assistant, expected",
    row(("system", "be kind"), "hello"): "message 2 is of the assistant, expected a question",
    row("hi"): "holds no answer of the assistant",
    row(("system", "be kind")): "holds no answer of the assistant",
    row("hi", "x", "and?"): "the last message is of the user, expected an answer",
    row("", "x"): r"the text of message 1 \(user\) is empty",
    row("hi", " \u200b\u2800"): r"the text of message 2 \(assistant\) is empty",
    row(("system", ""), ("user", "hi"), ("assistant", "x")): r"the text of message 1 \(system\) is empty",
    row(
        "hi <|im_end|>", "x"
    ): r"the text of message 1 \(user\) holds '<\|im_end\|>', which the model would read",
    row("hi", "x<|im_start|>user"): r"message 2 \(assistant\) holds '<\|im_start\|>'",
    row(("user", [{"type": "text", "text": t} for t in ("a <|im_", "end|>")]), "x"): "holds '<.im_end.>'",
    '{"prompt": "a", "completion": "b \\ud83d"}': "the answer holds half of a character",
    '{"prompt": "a", "completion": ""}': "the answer is empty",
    '{"prompt": " ", "completion": "b"}': "the prompt is empty",
    '{"prompt": "a", "completion": null}': r"has no 'completion', found 'prompt', 'completion' \(null\)",
    '{"prompt": "a", "completion": 3}': "'completion' is 3, expected text",
    '{"prompt": "a", "chosen": "b", "rejected": "c"}': "has no 'completion', found 'prompt', 'chosen'",
    '{"prompt": "a", "completion": "b", "answer": "c"}': "has both 'completion' and 'answer'",
    '{"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]}': "expected text, or lists",
    '{"prompt": [], "completion": [{"role": "assistant", "content": "b"}]}': "'prompt' is an empty list",
    '{"conversations": [{"role": "user", "content": "b"}]}': "of 'conversations' has no 'from'",
    '{"conversations": [{"from": "bing", "value": "b"}]}': "message 1 has the role 'bing'",
    "\ufeff" + GOOD: "BOM",
}


@pytest.mark.parametrize(("line", "words"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_gets_one_sentence(line, words, tmp_path):
    what = problem_of(tmp_path, line, reserved=SIGNS)
    assert re.search(words, what), what
    assert "\n" not in what
    assert len(what) < 250


def test_bytes_that_are_no_utf8_are_named(tmp_path):
    lines = [
        row("café", "x").encode("latin-1"),
        GOOD.encode(),
        GOOD.replace("user", "us\xe9r").encode("latin-1"),
    ]
    frame, problems = own.messages_from(write(tmp_path / "chats.jsonl", b"\n".join(lines)), on_bad="skip")
    assert frame["id"].tolist() == ["2"]
    assert str(problems[0]) == "line 1 of chats.jsonl: is not valid UTF-8; save the file as UTF-8"
    "".join(map(str, problems)).encode()  # can be printed


def test_bad_lines_stop_with_a_sentence_each(tmp_path):
    with pytest.raises(DataError, match=r"^2 bad entries; mend them in .*--on-bad skip") as caught:
        own.messages_from(write(tmp_path / "chats.jsonl", row("hi"), GOOD, row("", "x")))
    assert [problem.where for problem in caught.value.problems] == [
        "line 1 of chats.jsonl",
        "line 3 of chats.jsonl",
    ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("chats.jsonl", "", "chats.jsonl is empty"),
        ("chats.jsonl", "\n \n", "chats.jsonl is empty"),
        ("chats.jsonl", GOOD.encode("utf-16"), "is UTF-16, expected UTF-8"),
        ("chats.jsonl", b"PAR1\0\0", "is no text file"),
        ("chats.jsonl", "Hello\nyou\n", r"no usable row \(first: line 1 is no JSON object"),
        (
            "chats.jsonl",
            row("hi"),
            r"no usable row; 1 were bad \(first: line 1 of chats.jsonl: holds no answer",
        ),
        (
            "chats.json",
            json.dumps(json.loads(GOOD), indent=2),
            r"no usable row \(first: line 1 .*on each line",
        ),
        ("chats.json", f'{{"data": [{GOOD}]}}', "has no 'prompt', found 'data'"),
        (
            "chats.json",
            f"[{GOOD},]",
            "is no valid JSON .*, at '\\]'.*expected one list of objects, or an object",
        ),
        ("chats.jsonl", "[]", "holds no usable row; expected"),
        ("chats.csv", "prompt,completion\n", "holds no usable row"),
        ("chats.csv", f"{GOOD}\n", "holds JSON, expected a table with columns; give it the ending .jsonl"),
        ("chats.txt", f"{GOOD}\n", "holds JSON, expected a table with columns; give it the ending .jsonl"),
        (
            "chats.csv",
            "prompt,reply\na,b\n",
            "no column 'completion', found 'prompt', 'reply'; .*--answer-column",
        ),
        ("chats.csv", "question,answer\na,b\n", "no column 'prompt', .*--prompt-column"),
        ("chats.csv", "prompt,completion,completion\na,b,c\n", "'completion' stands 2 times"),
        (
            "chats.csv",
            "messages\n\"[{'role': 'user'}]\"\n",
            "column 'messages', but such a table holds no lists",
        ),
        ("chats.csv", 'prompt,completion\n"a,b\nc,d\n', "row 2 .* quotation mark that does not fit"),
        ("chats.parquet", b"PAR1 and nonsense", "chats.parquet cannot be read"),
        ("chats.xlsx", b"PK\x03\x04\0\0", "chats.xlsx cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(name, content, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence) as caught:
        own.messages_from(write(tmp_path / name, content), on_bad="skip")
    assert "\n" not in str(caught.value)


def test_a_path_that_leads_to_no_file(tmp_path):
    for reader in (own.messages_from, own.prompts_from):
        with pytest.raises(InputError, match="is a folder, expected a file"):
            reader(tmp_path)
        for name in ("none.jsonl", "none.csv", "none.txt"):
            with pytest.raises(InputError, match="does not exist"):
                reader(str(tmp_path / name))


def test_rows_of_a_table_are_named_as_a_spreadsheet_shows_them(tmp_path):
    frame = pd.DataFrame(
        {"prompt": ["a\nb", "", [{"role": "user", "content": "x"}], "d"], "answer": list("wxyz")}
    )
    frame.to_csv(tmp_path / "chats.csv", index=False)
    read, problems = own.messages_from(tmp_path / "chats.csv", on_bad="skip")
    assert read[["id", "label"]].values.tolist() == [["2", "w"], ["5", "z"]]
    assert [str(problem).split(";")[0] for problem in problems] == [
        "row 3 of chats.csv: the prompt is empty",
        "row 4 of chats.csv: the prompt is a list of messages written as text",
    ]


def test_missing_values_of_a_table_are_no_answers(tmp_path):
    frame = pd.DataFrame({"prompt": ["a", None, "c"], "completion": ["x", "y", None]})
    for kind, write_it in (
        ("parquet", frame.to_parquet),
        ("xlsx", lambda file: frame.to_excel(file, index=False)),
    ):
        write_it(tmp_path / f"chats.{kind}")
        read, problems = own.messages_from(tmp_path / f"chats.{kind}", on_bad="skip")
        assert read["label"].tolist() == ["x"]
        assert [problem.what for problem in problems] == ["the prompt is empty", "the answer is empty"]


def test_rows_with_one_prompt_share_a_group(tmp_path):
    lines = [
        row("Hi", "a"),
        row("hi ", "b"),
        row("Hi", "a"),
        row("Hi", "A", "And?", "c"),  # goes on where others end
        row(("system", "Hi"), ("user", "Hi"), ("assistant", "a")),
        row("H i", "a"),
        row("x", "a", "And?", "c"),
        row("x", "b", "And?", "c"),
    ]
    frame, _ = own.messages_from(write(tmp_path / "chats.jsonl", *lines))
    assert frame["group"].tolist() == ["1", "1", "1", "1", "5", "6", "7", "8"]
    assert frame.attrs["noticed"] == [
        "1 rows are copies of another; they are kept, in its group",
        "3 rows share 1 prompts and answer differently",
    ]


def test_turns_cannot_be_confused_by_a_group(tmp_path):
    lines = [row("ab", "c", "d", "x"), row("a", "bc", "d", "x"), row("abcd", "x")]
    lines.append(row(("system", "ab"), ("user", "cd"), ("assistant", "x")))
    frame, _ = own.messages_from(write(tmp_path / "chats.jsonl", *lines))
    assert frame["group"].nunique() == 4


def test_what_is_not_read_is_said(tmp_path):
    extra = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "a", "images": ["x.png"], "name": None},
                {"role": "assistant", "content": "b", "weight": 0},
            ],
            "id": 7,
        }
    )
    frame, _ = own.messages_from(write(tmp_path / "chats.jsonl", row("x", "y", id=3, prompt="x"), extra))
    assert frame.attrs["noticed"] == [
        "beside the conversations stands what is not read: "
        "'id' (2 rows), 'prompt' (1 rows), 'images' of messages (1 rows), 'weight' of messages (1 rows)"
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (row("a", "b</s>"), "signs of a chat template in a text: is it another model's?"),
        (row("[INST] a [/INST]", "b"), "signs of a chat template in a text: is it another model's?"),
        (row("a<|eot_id|>", "b"), "signs of a chat template in a text: is it another model's?"),
        (row("a", "cafÃ© crÃ¨me"), "a text that looks like a wrong encoding"),
        (row("a", "caf\ufffd"), "a text that looks like a wrong encoding"),
        (row("a", "NaN"), "an answer that may be the mark of a missing one, like 'nan'"),
    ],
)
def test_what_may_be_wrong_is_asked(line, sentence, tmp_path):
    frame, problems = own.messages_from(write(tmp_path / "chats.jsonl", GOOD, line, GOOD))
    assert problems == []
    assert frame.attrs["noticed"][0] == f"1 of 3 rows (first: line 2) hold {sentence}"


def test_the_check_of_the_caller_sees_good_messages_alone(tmp_path):
    seen = []

    def check(messages):
        seen.append(messages[-1]["content"])
        return "has 9 tokens, at most 8 fit" if messages[-1]["content"] == "long" else None

    file = write(tmp_path / "chats.jsonl", row("a", "long"), row("", "bad"), row("b", "short"))
    frame, problems = own.messages_from(file, on_bad="skip", check=check)
    assert seen == ["long", "short"]
    assert frame["label"].tolist() == ["short"]
    assert str(problems[0]) == "line 1 of chats.jsonl: has 9 tokens, at most 8 fit"


def test_code_with_line_breaks_in_a_table_is_noticed_at_most(tmp_path):
    answers = ["name,age\nbob,3\nann,4", "y"]
    pd.DataFrame({"prompt": ["make a table", "x"], "answer": answers}).to_csv(
        tmp_path / "chats.csv", index=False
    )
    frame, _ = own.messages_from(tmp_path / "chats.csv")
    assert frame["label"].tolist() == answers
    assert "row 2 of chats.csv has a field with line breaks" in frame.attrs["noticed"][0]


def test_many_lines_and_long_ones_are_read_soon(tmp_path):
    lines = [row(f"question {n} " + "word " * 40, "answer " * 60, "é?", "x") for n in range(20_000)]
    lines.append(row("word " * 500_000, "y"))
    lines.append(json.dumps({"prompt": "[{" + "'role': " * 100_000 + "}", "completion": "z"}))
    lines.append(row(*["word " * 50] * 4000))
    file = write(tmp_path / "chats.jsonl", *lines)
    start = time.perf_counter()
    frame, _ = own.messages_from(file, reserved=SIGNS)
    assert time.perf_counter() - start < 30  # about 4 s: nothing grows with the square of a length
    assert len(frame) == frame["group"].nunique() == 20_003


def test_prompts_of_every_kind(tmp_path):
    one = [{"role": "user", "content": "Who?"}]
    two = [{"role": "system", "content": "Be kind."}, *one]
    lines = [{"prompt": "Who?", "n": 1}, {"messages": two}, {"prompt": one, "completion": None}]
    inputs, problems = own.prompts_from(write(tmp_path / "in.jsonl", *map(json.dumps, lines)))
    assert (inputs.values, inputs.numbers, problems) == ([one, two, one], [1, 2, 3], [])
    assert inputs.columns == ["prompt", "n", "messages", "completion"]
    assert inputs.records[0] == ["Who?", "1", "", ""]
    assert inputs.records[2][3] == ""
    assert json.loads(inputs.records[1][2]) == two
    assert own.prompts_from(["Who?"])[0].values == [one]
    assert own.prompts_from(write(tmp_path / "in.txt", "Who?\r\nWho?\r\n"))[0].values == [one, one]
    inputs, _ = own.prompts_from(write(tmp_path / "in.csv", "q,,,price\nWho?,x,y,3.50\n"), prompt_column="q")
    assert inputs.values == [one]
    assert inputs.records == [["Who?", "x", "y", "3.50"]]


@pytest.mark.parametrize(
    ("name", "content", "where", "words"),
    [
        ("in.txt", "a\n\nb", "line 2 of in.txt", "the prompt is empty"),
        (
            "in.jsonl",
            '{"prompt": "a"}\n' + GOOD,
            "line 2 of in.jsonl",
            "is of the assistant, expected a question",
        ),
        ("in.jsonl", '{"prompt": "a"}\n{"text": "b"}', "line 2 of in.jsonl", "has no 'prompt', found 'text'"),
        ("in.jsonl", '{"prompt": "a"}\n{"prompt": 5}', "line 2 of in.jsonl", "'prompt' is 5, expected text"),
        ("in.txt", "a\nb<|im_end|>", "line 2 of in.txt", "holds '<|im_end|>'"),
        ("in.csv", "prompt,n\na,1\n,2\n", "row 3 of in.csv", "the prompt is empty"),
        ("in{0}.txt", "a\n\nb", "line 2 of in{0}.txt", "the prompt is empty"),
    ],
)
def test_prompts_that_cannot_be_answered(name, content, where, words, tmp_path):
    file = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        own.prompts_from(file, reserved=SIGNS)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert words in problem.what
    assert own.prompts_from(file, on_bad="skip", reserved=SIGNS)[0].numbers[0] in (1, 2)


def test_prompts_from_a_list_are_numbered():
    with pytest.raises(DataError, match="input 2: the prompt is empty"):
        own.prompts_from(["a", "\u200b"])
    with pytest.raises(InputError, match="the input holds no usable row"):
        own.prompts_from([])
