"""Moving the controls of a widget, by mouse and by keyboard, and seeing whether what it shows changes."""

import re
import time

from helpers import progress
from lessons import keeping
from lessons.controls import AT_WORK

COMPUTING = re.sub("<[^>]*>", "", AT_WORK)
IS_READY = "([box, sentence]) => !box.innerText.includes(sentence)"
SLOWEST = 2.0  # seconds from a movement to the new output
KINDS = {
    "slider": ".noUi-handle",
    "list": "select",
    "tick box": "input[type=checkbox]",
    "radio button": "input[type=radio]",
    "text": "input[type=text], textarea",
    "button": "button",
}
SHOWN = """box => {
    const shown = element => element.tagName === "IMG" ? element.src
        : [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.data).join();
    const is_output = element => !element.closest(".widget-slider, .widget-dropdown, button");
    return [...box.querySelectorAll("*")].filter(is_output).map(shown).join();
}"""


def boxes(page) -> list:
    """The outermost boxes of all widgets of a notebook, in its order; bars of progress are none."""
    found = page.query_selector_all(
        ".jp-OutputArea-output.jupyter-widgets, .jp-OutputArea-output > .jupyter-widgets"
    )
    return [box for box in found if any(box.query_selector(selector) for selector in KINDS.values())]


def is_free(box, kind: str, place: int) -> bool:
    """Whether a control can be moved now."""
    return box.query_selector_all(KINDS[kind])[place].is_enabled()


def moved(page, box, kind: str, place: int, way: str) -> float:
    """Move one control and wait for another output: the seconds, infinite if none came.

    Args:
        kind: one of `KINDS`.
        place: which control of this kind in the box, from 0.
        way: "mouse" or "keyboard".
    """
    page.wait_for_function(IS_READY, arg=[box, COMPUTING], timeout=120_000)  # an answer may still be written
    for turn in range(2):  # a slider may stand at its end, a button may have no more to show
        control = box.query_selector_all(KINDS[kind])[place]
        for _ in range(2):  # what comes into view may grow, and move the control away
            control.scroll_into_view_if_needed()
            control.wait_for_element_state("stable")
            page.wait_for_timeout(150)
        before, begun = box.evaluate(SHOWN), time.monotonic()
        MOVES[kind, way](page, control, turn)
        while time.monotonic() - begun < SLOWEST:
            if box.evaluate(SHOWN) != before:
                return time.monotonic() - begun
            page.wait_for_timeout(20)
    return float("inf")


def _drag(page, handle, turn: int) -> None:
    bar = handle.evaluate_handle("handle => handle.closest('.noUi-target')").as_element().bounding_box()
    knob = handle.bounding_box()
    at = (knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2)
    is_left = at[0] < bar["x"] + bar["width"] / 2  # looked at in each turn: it may have moved in the first
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(bar["x"] + bar["width"] * (0.8 if is_left else 0.2), at[1], steps=4)
    page.mouse.up()


def _arrow(page, handle, turn: int) -> None:
    handle.focus()
    for _ in range(3):  # one step may round to the same output
        page.keyboard.press(("ArrowRight", "ArrowLeft")[turn])


def _choose(page, select, turn: int) -> None:
    """Another entry; the list that the system draws is no part of the page, so no mouse reaches it there."""
    here, count = select.evaluate("s => [s.selectedIndex, s.options.length]")
    select.select_option(index=(here + 1 + turn) % count)


def _choose_by_key(page, select, turn: int) -> None:
    here, count = select.evaluate("s => [s.selectedIndex, s.options.length]")
    select.focus()
    page.keyboard.press("Space")  # opens the list
    page.wait_for_timeout(100)
    page.keyboard.press("ArrowUp" if here == count - 1 or turn else "ArrowDown")
    page.keyboard.press("Enter")


def _other(page, radio, turn: int):
    """The next button of the same group, as an element."""
    group = radio.evaluate_handle("r => r.closest('.widget-radio-box')").as_element()
    free = [each for each in group.query_selector_all("input") if not each.is_checked()]
    return free[turn % len(free)]


def _press_other(page, radio, turn: int) -> None:
    _other(page, radio, turn).focus()
    page.keyboard.press("Space")


def _type(page, field, turn: int) -> None:
    field.click()
    field.fill(("A quiet afternoon.", "It rained all day!")[turn])
    page.mouse.click(5, 5)  # leaving the field


def _type_by_key(page, field, turn: int) -> None:
    field.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type(("The best day of my life", "Nobody answered my letter")[turn])
    page.keyboard.press("Enter")


def _prepare(page, button) -> None:
    """Something new for a button: another text to ask about, or another attempt to read."""
    if button.inner_text() == "Read again":
        for chapter, exercise in progress.titles():  # whichever chapter is shown
            keeping.keep(chapter, exercise, lambda work: keeping.tried(work, right=False))
    beside = "button => button.closest('.widget-hbox, .widget-vbox')?.querySelector('input[type=text]')"
    field = button.evaluate_handle(beside).as_element()
    if field:
        written = field.input_value()
        field.focus()
        page.keyboard.press("Control+a")  # typed as by a person: a filled field does not tell that it changed
        page.keyboard.type("Never again." if written != "Never again." else "Once more, please.")


def _click(page, button, turn: int) -> None:
    _prepare(page, button)
    button.click()


def _press(page, button, turn: int) -> None:
    _prepare(page, button)
    button.focus()
    page.keyboard.press("Space")


MOVES = {
    ("slider", "mouse"): _drag,
    ("slider", "keyboard"): _arrow,
    ("list", "mouse"): _choose,
    ("list", "keyboard"): _choose_by_key,
    ("tick box", "mouse"): lambda page, box, turn: box.click(),
    ("tick box", "keyboard"): _press,
    ("radio button", "mouse"): lambda page, radio, turn: _other(page, radio, turn).click(),
    ("radio button", "keyboard"): _press_other,
    ("text", "mouse"): _type,
    ("text", "keyboard"): _type_by_key,
    ("button", "mouse"): _click,
    ("button", "keyboard"): _press,
}
