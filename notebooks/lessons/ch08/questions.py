"""The questions of the final quiz (chapter 08), as `questions.toml` lists them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Question:
    """One question with one right answer.

    Attributes:
        text: the question.
        options: three or four answers, in any order: the quiz shuffles them.
        right: place of the right one, counted from 0.
        explanation: why it is right; shown after every answer.
        section: the heading of the section that answers it, without the hashes, e.g. "2.6 Padding: what a
            rectangle costs".
    """

    text: str
    options: tuple[str, ...]
    right: int
    explanation: str
    section: str

    @property
    def chapter(self) -> str:
        """The two digits that the chapter's file name begins with."""
        return self.section.split(".")[0].zfill(2)


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
QUESTIONS = tuple(Question(**entry | {"options": tuple(entry["options"])}) for entry in _TABLES["questions"])
