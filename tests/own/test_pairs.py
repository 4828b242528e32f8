"""Your own pairs of answers: every form that is read, and a sentence for every row that is none."""

import json

import pandas as pd
import pytest

from helpers.errors import DataError, InputError
from helpers.own import pairs_from


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea, ask me another day."}


def write(folder, rows, name="pairs.jsonl"):
    file = folder / name
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


FORMS = {
    "texts": (PAIR, [user("Why?")]),
    "answers as messages": (
        {"prompt": [SYSTEM, user("Why?")], "chosen": [bot("Because.")], "rejected": [bot(PAIR["rejected"])]},
        [SYSTEM, user("Why?")],
    ),
    "messages and texts": (PAIR | {"prompt": [SYSTEM, user("Why?")]}, [SYSTEM, user("Why?")]),
    "whole conversations": (
        {"chosen": [user("Why?"), bot("Because.")], "rejected": [user("Why?"), bot(PAIR["rejected"])]},
        [user("Why?")],
    ),
    "whole conversations that repeat the prompt": (
        PAIR
        | {"chosen": [user("Why?"), bot("Because.")], "rejected": [user("Why?"), bot(PAIR["rejected"])]}
        | {"score_chosen": 8.0, "messages": [user("Why?"), bot("Because.")]},
        [user("Why?")],
    ),
    "several turns": (
        {
            "prompt": "Hi",
            "chosen": [SYSTEM, user("Hi"), bot("Hello"), user("Why?"), bot("Because.")],
            "rejected": [SYSTEM, user("Hi"), bot("Hello"), user("Why?"), bot(PAIR["rejected"])],
        },
        [SYSTEM, user("Hi"), bot("Hello"), user("Why?")],
    ),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_every_form_is_the_same_pair(name, kind, tmp_path):
    row, prompt = FORMS[name]
    file = write(tmp_path, [row])
    if kind == "parquet":
        file = tmp_path / "pairs.parquet"
        pd.DataFrame([row]).to_parquet(file)
    frame, problems = pairs_from(file)
    assert problems == []
    found = frame.iloc[0].to_dict()
    assert json.loads(found.pop("text")) == [*prompt, bot("Because.")]
    assert found == {"id": "1", "label": "Because.", "rejected": PAIR["rejected"], "group": "1"}
    said = " ".join(frame.attrs["noticed"])
    assert ("'messages' (1 rows), 'score_chosen' (1 rows)" in said) == (name.endswith("the prompt"))


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_columns_of_tables(kind, tmp_path):
    file = tmp_path / f"pairs.{kind}"
    table = pd.DataFrame([PAIR, PAIR | {"prompt": "How?", "chosen": 'So, "so"\nand so.'}])
    table = table.rename(columns={"chosen": "good", "rejected": "bad"})
    table.to_csv(file, index=False) if kind == "csv" else table.to_excel(file, index=False)
    with pytest.raises(InputError, match=r"has no column 'chosen', found .*--chosen-column"):
        pairs_from(file)
    frame, _ = pairs_from(file, chosen_column="good", rejected_column="bad")
    assert frame["label"].tolist() == ["Because.", 'So, "so"\nand so.']
    assert frame["id"].tolist() == ["2", "3"]


BAD = {
    "no rejected": ({"prompt": "a", "chosen": "b"}, "has no 'rejected', found 'prompt', 'chosen'; expected"),
    "null": (PAIR | {"chosen": None}, "has no 'chosen', found 'prompt', 'chosen' (null)"),
    "no prompt": ({"chosen": "b", "rejected": "c"}, "has no 'prompt' that 'chosen' would answer"),
    "no prompt of messages": ({"chosen": [bot("b")], "rejected": [bot("c")]}, "has no 'prompt'"),
    "single answers": (
        {"prompt": "a", "completion": "b", "label": True},
        "has no 'chosen', found 'prompt', 'completion', 'label'; expected {\"prompt\": \"...\", \"chosen\"",
    ),
    "single answers, advice": ({"prompt": "a", "completion": "b", "label": True}, "join a good and a bad"),
    "empty answer": (PAIR | {"rejected": " \u200b"}, "the text of 'rejected' is empty"),
    "empty prompt": (PAIR | {"prompt": ""}, "the text of 'prompt' is empty"),
    "empty message": (PAIR | {"chosen": [bot("")]}, "in 'chosen', the text of message 2"),
    "empty list": (PAIR | {"chosen": []}, "'chosen' is an empty list"),
    "the same": (PAIR | {"chosen": "x", "rejected": "x\n"}, "are the same, so none is preferred"),
    "other prompts": (
        {"chosen": [user("a"), bot("b")], "rejected": [user("A"), bot("c")]},
        "belong to different prompts",
    ),
    "another system message": (
        {"chosen": [SYSTEM, user("a"), bot("b")], "rejected": [user("a"), bot("c")]},
        "belong to different prompts",
    ),
    "not the prompt": (PAIR | {"chosen": [user("Who?"), bot("b")]}, "'chosen' does not repeat the prompt"),
    "swapped roles": (
        {"chosen": [user("a"), bot("b")], "rejected": [bot("a"), user("c")], "prompt": "a"},
        "in 'rejected', the last message is of the user",
    ),
    "ends with a question": (
        PAIR | {"chosen": [user("Why?"), bot("b"), user("c")]},
        "in 'chosen', the last message is of the user",
    ),
    "prompt of the assistant": (PAIR | {"prompt": [bot("a")]}, "in 'chosen', message 1 is of the assistant"),
    "other role": (PAIR | {"rejected": [{"role": "bot", "content": "b"}]}, "write 'assistant'"),
    "a control sign": (PAIR | {"rejected": "b <|im_end|>"}, "in 'rejected', the text of message 2"),
    "a sign in the prompt": (PAIR | {"prompt": "b <|im_end|>"}, "in 'chosen', the text of message 1"),
    "too long": (PAIR | {"rejected": "word " * 50}, "in 'rejected', is too long"),
    "an object": (PAIR | {"chosen": bot("b")}, "'chosen' is {\"role\": \"assistant\""),
    "a number": (PAIR | {"chosen": 3}, "'chosen' is 3, expected text or a list of messages"),
    "texts in a list": (PAIR | {"chosen": ["b"]}, "message 1 of 'chosen' is \"b\""),
    "other keys": (PAIR | {"chosen": [{"from": "gpt", "value": "b"}]}, "has no 'role', found 'from'"),
    "a list as text": (PAIR | {"chosen": "[{'content': 'b', 'role': 'x'}]"}, "a list of messages written as"),
    "half a character": (PAIR | {"chosen": "\ud83d"}, "half of a character"),
    "no object": ([1], "is no JSON object, expected {\"prompt\": \"...\""),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_named_in_a_sentence(name, tmp_path):
    row, words = BAD[name]
    file = tmp_path / "pairs.jsonl"
    other = PAIR | {"prompt": "How?"}
    file.write_text("".join(json.dumps(line) + "\n" for line in (PAIR, row, other)))

    def check(messages):
        return "is too long" if len(messages[-1]["content"]) > 100 else None

    options = {"reserved": ("<|im_end|>",), "check": check}
    with pytest.raises(DataError) as caught:
        pairs_from(file, **options)
    problem = caught.value.problems[0]
    assert problem.where == "line 2 of pairs.jsonl"
    assert words in problem.what
    frame, problems = pairs_from(file, on_bad="skip", **options)
    assert frame["id"].tolist() == ["1", "3"]
    assert len(problems) == 1


def test_copies_and_contradictions_stay_in_one_group_and_are_said(tmp_path):
    turned = {"prompt": "why? ", "chosen": PAIR["rejected"], "rejected": PAIR["chosen"]}
    other = PAIR | {"prompt": "How?"}
    frame, _ = pairs_from(write(tmp_path, [PAIR, other, PAIR, turned]))
    assert frame["group"].tolist() == ["1", "2", "1", "1"]
    copies, opposed = frame.attrs["noticed"]
    assert copies.startswith("1 rows are copies of another")
    assert opposed.startswith("3 rows contradict another")


def test_nothing_is_noticed_where_all_is_well(tmp_path):
    frame, _ = pairs_from(write(tmp_path, [PAIR, PAIR | {"chosen": "Other."}, PAIR | {"prompt": "How?"}]))
    assert frame.attrs["noticed"] == []
    assert frame["group"].tolist() == ["1", "1", "3"]


def test_doubtful_answers_are_said_on_either_side(tmp_path):
    frame, _ = pairs_from(write(tmp_path, [PAIR, PAIR | {"prompt": "How?", "rejected": "nan"}]))
    assert "1 of 2 rows (first: line 2) hold an answer that may be the mark" in frame.attrs["noticed"][0]
