"""The pages that the course makes itself, in a real browser: both services and the report of a run."""

import pytest
from lab import DESKTOP, PHONE, TOO_WIDE

from lessons.running_service import running


def test_the_page_of_a_service_by_keyboard_alone_on_a_phone(tiny_run, page):
    page.set_viewport_size(PHONE)
    with running(tiny_run) as address:
        page.goto(address)
        page.keyboard.type("The lamp works well")  # the field has the focus
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("and looks good")
        assert page.locator("#input").input_value() == "The lamp works well\nand looks good"
        page.keyboard.press("Enter")
        page.wait_for_selector("#result table")
        assert page.locator("#result meter").count() == 2
        assert "The most probable label is" in page.locator("#result").inner_text()
        page.locator("#input").fill("The sofa broke at once <b>bold</b>")
        with page.expect_response("**/predict") as answered:
            page.get_by_role("button", name="Label it").click()
        assert answered.value.ok
        assert page.locator("#result b").count() == 0
        assert page.evaluate(TOO_WIDE) <= 0
        page.set_viewport_size(DESKTOP)
        assert page.evaluate(TOO_WIDE) <= 0
        page.keyboard.press("Tab")
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "who uses the keyboard must see where it is"
    assert page.problems == []


def test_the_chat_page_writes_piece_by_piece_and_stops(page):
    page.set_viewport_size(PHONE)
    with running("smollm2") as address:
        page.goto(address)
        page.keyboard.type("Tell a long story about a lighthouse and its keeper.")
        page.keyboard.press("Enter")
        answer = page.locator("#turns .assistant").last
        lengths = set()
        for _ in range(600):
            lengths.add(len(answer.inner_text()) if answer.count() else 0)
            if len(lengths) > 5:
                break
            page.wait_for_timeout(100)
        assert len(lengths) > 5, "the answer came in one piece"
        page.keyboard.press("Escape")
        page.wait_for_function("() => document.querySelector('#state').textContent === 'Stopped.'")
        length = len(answer.inner_text())
        page.wait_for_timeout(1000)
        assert len(answer.inner_text()) == length
        assert page.evaluate(TOO_WIDE) <= 0
        page.keyboard.type("Say yes.")  # the field has the focus again
        page.get_by_role("button", name="Send").click()
        page.wait_for_function(
            "() => document.querySelectorAll('#turns .assistant').length === 2"
            " && !document.querySelector('#turns').hasAttribute('aria-busy')",
            timeout=120_000,
        )
        assert len(page.locator("#turns .assistant").last.inner_text()) > len("Model")
        page.get_by_role("button", name="New conversation").press("Enter")
        assert page.locator("#turns p").count() == 0
        page.set_viewport_size(DESKTOP)
        assert page.evaluate(TOO_WIDE) <= 0
    assert page.problems == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_report_of_a_run_fits(tiny_run, page, size):
    page.set_viewport_size(size)
    page.goto((tiny_run / "report.html").as_uri())
    assert page.evaluate(TOO_WIDE) <= 0
    pictures = page.evaluate("() => [...document.images].map(i => [i.alt.length, i.naturalWidth, i.width])")
    assert len(pictures) >= 2
    assert all(alt > 20 and natural > 300 and shown <= size["width"] for alt, natural, shown in pictures)
    assert page.problems == []
