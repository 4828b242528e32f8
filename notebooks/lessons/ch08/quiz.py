"""The final quiz (chapter 08): one question at a time, explained at once, counted."""

import html
import random
from dataclasses import dataclass, field

import ipywidgets as widgets

from lessons.ch08.questions import QUESTIONS, Question


@dataclass
class Score:
    """First answers by number of the question; a second try teaches, but does not count."""

    questions: tuple[Question, ...]
    first: dict[int, int] = field(default_factory=dict)

    def answer(self, number: int, chosen: int) -> None:
        """Note an answer if it is the first one to this question."""
        self.first.setdefault(number, chosen)

    def sentence(self) -> str:
        """How many were answered, and how many of them rightly at the first try."""
        right = sum(self.questions[number].right == chosen for number, chosen in self.first.items())
        done = " That was the whole quiz." if len(self.first) == len(self.questions) else ""
        return f"{len(self.first)} of {len(self.questions)} answered, {right} right at the first try.{done}"


def shown_order(question: Question) -> list[int]:
    """The numbers of a question's answers as they are shown: shuffled, always in the same way."""
    order = list(range(len(question.options)))
    random.Random(question.text).shuffle(order)
    return order


def feedback(question: Question, chosen: int) -> str:
    """What to say to an answer: right or not, why, and where the course says it."""
    begin = (
        "Right."
        if chosen == question.right
        else f"Not quite. The right answer is: {question.options[question.right]}."
    )
    return f"{begin} {question.explanation} (Chapter {question.chapter}, section {question.section})"


def final_quiz(questions: tuple[Question, ...] = QUESTIONS) -> widgets.VBox:
    """The quiz as a widget: Tab moves from answer to answer and to the buttons, the space bar chooses.

    (Radio buttons of ipywidgets 8.1 have no name, so they form no group and the arrow keys do not move
    between them.)

    Args:
        questions: asked in their order.
    """
    score = Score(questions)
    title, said, total = widgets.HTML(), widgets.HTML(), widgets.HTML()
    choice = widgets.RadioButtons(description="answer", layout=widgets.Layout(width="auto", max_width="100%"))
    back, forward = (
        widgets.Button(description=text, tooltip=f"Go to the {text}")
        for text in ("previous question", "next question")
    )
    number, asking = 0, False

    def ask(place: int) -> None:
        nonlocal number, asking
        number = place
        question = questions[number]
        title.value = f"<p><b>Question {number + 1} of {len(questions)}.</b> {_as_text(question.text)}</p>"
        asking = True  # new options change the value, which is nobody's answer
        choice.options = [(question.options[place], place) for place in shown_order(question)]
        choice.value = None
        asking = False
        said.value = "<p>Choose an answer.</p>"
        back.disabled, forward.disabled = number == 0, number == len(questions) - 1
        total.value = f"<p>{score.sentence()}</p>"

    def judge(change) -> None:
        if asking or change["new"] is None:
            return
        score.answer(number, change["new"])
        said.value = f'<p role="status">{_as_text(feedback(questions[number], change["new"]))}</p>'
        total.value = f"<p>{score.sentence()}</p>"

    choice.observe(judge, "value")
    back.on_click(lambda _: ask(number - 1))
    forward.on_click(lambda _: ask(number + 1))
    ask(0)
    return widgets.VBox([title, choice, said, widgets.HBox([back, forward]), total])


def _as_text(text: str) -> str:
    return html.escape(text, quote=False)
