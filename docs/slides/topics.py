"""What of a chapter stands on its slides: title, objectives, core sections, their questions, and the recap.

Decided by rule from the notebook as it is, so that nobody keeps two texts: a numbered section marked `core`
begins with its first sentences; a question to guess becomes a slide of its own; short code stands with its
output, of longer code the output alone. Optional sections, exercises and glossaries are left out.
"""

import html
import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from helpers.errors import InputError

CODE_LINES = 12  # more are for reading in the notebook
OUTPUT_LINES = 16  # of printed output; the rest is named, not shown
FIRST_WORDS = 45  # of a section's text: whole sentences up to about so many words
LEAD_WORDS = 60  # of the text that leads to a formula and says what its letters are
GUESS = re.compile(r"\*\*(?:[^*]{0,40}, )?(?:[Gg]uess|[Pp]redict)[^*]*\*\*")
HEADING = re.compile(r"^(#{1,4}) +(.+?) *$")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Block:
    """One piece of a slide.

    Attributes:
        kind: "text" (Markdown), "rule" (Markdown), "code" (Python), "printed", "html" (a table or picture
            that a cell made) or "picture".
        content: the text; of a picture its address, which may hold the picture itself (data:...).
        alt: what a picture shows, in words.
    """

    kind: str
    content: str
    alt: str = ""


@dataclass
class Topic:
    """What stands under one heading; the browser cuts it into as many slides as it needs.

    Attributes:
        kind: "title", "section", "mistake" (What went wrong), "guess" or "recap".
        groups: lists of pieces; those of one list stay on one slide where they fit.
        section: title of the numbered section that it is a part of; empty for the section itself.
    """

    title: str
    kind: str
    groups: list[list[Block]] = field(default_factory=list)
    section: str = ""


def read(notebook: Path) -> list[dict]:
    """The cells of a notebook with their sources as texts.

    Raises InputError: it cannot be read, or it is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{notebook}: expected a notebook (JSON with cells), found {error!r}") from error
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def topics(notebook: Path) -> list[Topic]:
    """The topics of a chapter, in the order of its cells.

    Raises InputError: no notebook, or the first cell has no title.
    """
    cells = read(notebook)
    if not cells or not cells[0]["source"].startswith("# "):
        raise InputError(f"{notebook}: the first cell must begin with '# ' and the chapter's title")
    found = opening(cells[0]["source"])
    shown, section = False, ""  # inside something that slides show; the numbered section marked core
    for cell in cells[1:]:
        if cell["cell_type"] == "code":
            if shown and found[-1].kind != "recap":
                found[-1].groups += filter(None, [of_code(cell)])
            continue
        for heading, depth, paragraphs in parts(cell["source"]):
            if depth == 2:
                section = heading.removesuffix(" · core") if heading.endswith("· core") else ""
            if depth:
                shown = bool(section or heading == "Recap") and not heading.startswith("Exercise")
            if not shown:
                continue
            if depth:
                found.append(headed(heading))
                found[-1].section = section if depth > 2 else ""
            found += of_text(found[-1], paragraphs, begins=bool(depth))
    return [topic for topic in found if topic.groups]


def headed(heading: str) -> Topic:
    """An empty topic for a heading."""
    mistake, recap = heading.startswith("What went wrong"), heading == "Recap"
    return Topic(heading.partition(" · ")[0], "mistake" if mistake else "recap" if recap else "section")


def opening(source: str) -> list[Topic]:
    """The title slide, with the chapter's question, and the slide of its objectives."""
    paragraphs = source.split("\n\n")
    title, rest = paragraphs[0].removeprefix("# "), paragraphs[1:]
    found = [Topic(title, "title", [[Block("text", text)] for text in rest[:1]])]
    for lead, text in pairwise(rest):
        if lead.startswith("**After this chapter"):
            found.append(Topic("After this chapter you can", "section", [[Block("text", text)]]))
    return found


def parts(source: str) -> list[tuple[str, int, list[str]]]:
    """(heading, its depth, paragraphs below it) of a cell; depth 0: what stands before the first heading."""
    found, fenced = [("", 0, [""])], False
    for line in source.split("\n"):
        fenced ^= line.startswith("```")
        heading = None if fenced else HEADING.match(line)
        if heading:
            found.append((heading[2], len(heading[1]), [""]))
        elif line or fenced:
            found[-1][2][-1] += line + "\n"
        else:
            found[-1][2].append("")
    return [(name, depth, [p for p in texts if p]) for name, depth, texts in found if depth or any(texts)]


def of_text(topic: Topic, paragraphs: list[str], *, begins: bool) -> list[Topic]:
    """Put on `topic` what its paragraphs have for a slide; a question to guess is returned as a topic, with
    another one for what follows it.
    """
    after: list[Topic] = []
    for number, text in enumerate(paragraphs):
        before = paragraphs[number - 1] if number else ""
        groups = after[-1].groups if after else topic.groups
        first = begins and number == 0
        if text.startswith("$$"):
            lead = (
                []
                if begins and number == 1 and groups
                else [Block("text", last_sentences(before, LEAD_WORDS))]
            )
            groups.append([*lead, Block("text", text)])
        elif text.startswith("|"):
            groups.append([Block("text", text)])
        elif text.startswith(("* ", "1. ")):
            if begins and number == 1 and before.rstrip().endswith(":"):
                groups.append([Block("text", text)])
        elif topic.kind != "recap" and not text.startswith("```"):
            guess, rule = GUESS.search(text), text.find("**Rule:**")
            plain = text[: guess.start()] if guess else text[:rule] if rule >= 0 else text
            if first and plain.strip() and not (guess and len(plain.split()) <= FIRST_WORDS):
                groups.append([Block("text", first_sentences(plain))])
            if rule >= 0:
                groups.append([Block("rule", first_sentences(text[rule:]))])
            if guess:
                after += [
                    asked(topic, text, guess, before),
                    Topic(topic.title, topic.kind, [], topic.section),
                ]
    return after


def asked(topic: Topic, text: str, guess: re.Match, before: str) -> Topic:
    """The slide of a question: what leads to it, and the question itself without its answer."""
    lead = re.sub(r"[^.!?:)*`]+[,;]?\s*$", "", text[: guess.start()])  # without the beginning of the question
    lead = last_sentences(lead or ("" if before.startswith(("|", "```")) else before))
    question = text[guess.start() :]
    end = question.rfind("?") + 1
    question = question[:end] if end else sentences(question)[0]
    blocks = [Block("text", lead)] if lead else []
    return Topic(topic.title, "guess", [[*blocks, Block("rule", question)]], topic.section)


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph; code and abbreviations do not end one."""
    return [one for one in re.split(r"(?<!\*\d\.)(?<=[.!?])\s+(?=[A-Z*`\"\[(])", text.strip()) if one]


def first_sentences(text: str) -> str:
    """Whole sentences from the beginning, at least one, up to about FIRST_WORDS words."""
    kept = []
    for sentence in sentences(text):
        if kept and len(" ".join([*kept, sentence]).split()) > FIRST_WORDS:
            break
        kept.append(sentence)
    return " ".join(kept)


def last_sentences(text: str, words: int = FIRST_WORDS) -> str:
    """Whole sentences to the end, at least one, up to about so many words; a formula as it is."""
    if text.startswith("$$"):
        return text
    kept = []
    for sentence in reversed(sentences(text)):
        if kept and len(" ".join([sentence, *kept]).split()) > words:
            break
        kept.insert(0, sentence)
    return " ".join(kept)


def of_code(cell: dict) -> list[Block]:
    """Short code with its output; of longer or hidden code, and of a call that draws, the output alone."""
    source, metadata = cell["source"], cell["metadata"]
    if re.search(r"\.check\(|# your code here", source):  # an exercise
        return []
    hidden = metadata.get("jupyter", {}).get("source_hidden", False)
    output = of_outputs(cell["outputs"])
    only_draws = len(source.splitlines()) == 1 and any(block.kind != "printed" for block in output)
    is_short = not hidden and not only_draws and len(source.splitlines()) <= CODE_LINES
    if is_short and (output or re.search(r"^(?:@.*\n)?(?:def|class) ", source, flags=re.MULTILINE)):
        return [Block("code", source), *output]
    return output


def of_outputs(outputs: list[dict]) -> list[Block]:
    """Pictures, tables and printed lines; neither widgets nor bars of progress."""
    found, printed = [], ""
    for output in outputs:
        data = output.get("data", {})
        if output["output_type"] == "stream":
            printed += "".join(output["text"])
        elif "application/vnd.jupyter.widget-view+json" in data:
            continue
        elif picture := of_picture(output):
            found.append(picture)
        elif re.search("<table|<img", "".join(data.get("text/html", ""))) and "sk-container" not in str(data):
            found.append(Block("html", "".join(data["text/html"])))
        elif "text/plain" in data and "text/html" not in data:
            printed += "".join(data["text/plain"]) + "\n"
    lines = ANSI.sub("", printed).strip("\n").splitlines()
    if len(lines) > OUTPUT_LINES:
        left = len(lines) - OUTPUT_LINES
        lines = [*lines[:OUTPUT_LINES], f"... and {left} more lines in the notebook"]
    return ([Block("printed", "\n".join(lines))] if lines else []) + found


def of_picture(output: dict) -> Block | None:
    """The picture of an output as an address that holds it, with its alternative text."""
    page = "".join(output.get("data", {}).get("text/html", ""))
    found = re.fullmatch(r'<img alt="([^"]*)" [^>]*src="(data:image/png[^"]*)">', page)
    return Block("picture", found[2], html.unescape(found[1])) if found else None
