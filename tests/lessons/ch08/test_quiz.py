"""The final quiz: each question has one right answer; the widget judges, explains and counts."""

import json
import re

import pytest

from helpers.files import ROOT
from lessons.ch08 import quiz
from lessons.ch08.questions import QUESTIONS, Question


def headings(chapter):
    files = list((ROOT / "notebooks").glob(f"{chapter}_*.ipynb"))
    assert len(files) == 1, f"chapter {chapter} has no notebook"
    cells = json.loads(files[0].read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.findall(r"^## (.+?)(?: · (?:core|optional))?$", text, flags=re.M)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.section.split()[0])
def test_each_question_is_sound(question):
    assert 3 <= len(question.options) <= 4
    assert len(set(question.options)) == len(question.options)
    assert question.right in range(len(question.options))
    assert question.text.endswith(("?", "."))
    assert len(question.explanation) > 40
    section = question.section.removesuffix(" · core").removesuffix(" · optional")
    assert section in headings(question.chapter), (
        f"no section {question.section!r} in chapter {question.chapter}"
    )


def test_the_quiz_covers_the_course():
    assert len(QUESTIONS) >= 15
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    assert {question.chapter for question in QUESTIONS} >= {"01", "02", "03", "04", "05", "06", "07", "08"}


def test_answers_are_shown_shuffled():
    orders = [quiz.shown_order(question) for question in QUESTIONS]
    assert all(
        sorted(order) == list(range(len(question.options))) for order, question in zip(orders, QUESTIONS)
    )
    places = [order.index(question.right) for order, question in zip(orders, QUESTIONS)]
    assert max(places.count(place) for place in set(places)) < 0.5 * len(places), (
        "whoever always clicks the same place would pass"
    )
    _, choice, *_ = quiz.final_quiz(QUESTIONS[:1]).children
    assert [label for label, _ in choice.options] == [QUESTIONS[0].options[place] for place in orders[0]]
    assert all(QUESTIONS[0].options[value] == label for label, value in choice.options), (
        "the value is the number of the answer"
    )


def test_answers_are_judged_explained_and_counted_once():
    widget = quiz.final_quiz(QUESTIONS[:2])
    title, choice, said, buttons, total = widget.children
    back, forward = buttons.children
    assert choice.value is None
    assert "0 of 2 answered" in total.value
    assert back.disabled
    wrong = (QUESTIONS[0].right + 1) % len(QUESTIONS[0].options)
    choice.value = wrong
    assert "Not quite. The right answer is: " in said.value
    assert QUESTIONS[0].explanation[:30] in said.value
    assert QUESTIONS[0].section in said.value
    choice.value = QUESTIONS[0].right
    assert "Right." in said.value
    assert "1 of 2 answered, 0 right" in total.value, "a second try must not count"
    forward.click()
    assert "Question 2 of 2" in title.value
    assert choice.value is None
    assert forward.disabled
    choice.value = QUESTIONS[1].right
    assert "2 of 2 answered, 1 right at the first try. That was the whole quiz." in total.value
    back.click()
    assert "Question 1 of 2" in title.value
    assert "2 of 2 answered, 1 right" in total.value


def test_texts_are_shown_as_written():
    widget = quiz.final_quiz(
        (Question("Is 1 < 2?", ("yes & always", "no", "maybe"), 0, "One is smaller.", "8.14 <b>"),)
    )
    widget.children[1].value = 0
    assert "1 &lt; 2" in widget.children[0].value
    assert "&lt;b&gt;" in widget.children[2].value
