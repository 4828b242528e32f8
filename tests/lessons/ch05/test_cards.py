"""A data card answers all questions, counts every label, and refuses parts that leak."""

import pandas as pd
import pytest

from helpers.errors import InputError
from lessons.ch05.cards import CARD_QUESTIONS, data_card

ANSWERS = {question: f"answer to {question}" for question in CARD_QUESTIONS}
PARTS = {
    "train": pd.DataFrame({"label": ["cat", "cat", "dog"], "group": ["a", "a", "b"]}),
    "test": pd.DataFrame({"label": ["cat"], "group": ["c"]}),
}


def card(**changes):
    return data_card(
        **{
            "title": "Pets",
            "answers": ANSWERS,
            "parts": PARTS,
            "steps": [("read", {"rows_in": 1234})],
            "checks": {"a|b": "1"},
        }
        | changes
    )


def test_everything_is_there():
    text = card()
    assert text.startswith("# Pets\n")
    assert all(f"**{question.capitalize()}.** answer to {question}" in text for question in CARD_QUESTIONS)
    for line in (
        "| cat | 2 | 1 |",
        "| dog | 1 | 0 |",
        "| all | 3 | 1 |",
        "| read | rows in 1,234 |",
        "| a\\|b | 1 |",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("question", CARD_QUESTIONS)
def test_a_question_without_an_answer_is_refused(question):
    with pytest.raises(InputError, match=f"no answer for {question}"):
        card(answers=ANSWERS | {question: " "})


def test_parts_that_share_a_group_are_refused():
    with pytest.raises(InputError, match="share groups"):
        card(parts=PARTS | {"test": PARTS["train"]})
