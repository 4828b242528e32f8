"""The site that `make site` builds, opened from its files in a real browser."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lab import DESKTOP, PHONE, TOO_WIDE

from lessons.workflows import NOTEBOOKS

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
PICTURES = "() => [...document.querySelectorAll('article img')].map(i => [i.alt.length, i.naturalWidth])"
LOST = """() => [...document.querySelectorAll("article a[href*='#']")]
    .filter(link => link.pathname === location.pathname && link.hash.length > 1)
    .map(link => decodeURIComponent(link.hash.slice(1)))
    .filter(id => !document.getElementById(id))"""


def test_the_first_page_leads_to_every_chapter_on_every_screen(site, page):
    page.goto((site / "index.html").as_uri())
    links = page.evaluate("() => [...document.querySelectorAll('.sidebar-tree a')].map(link => link.href)")
    assert [name for name in CHAPTERS if not any(f"{name}.html" in link for link in links)] == []
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate(TOO_WIDE) <= 0
    assert page.problems == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_chapter_shows_its_outputs_and_finds_its_headings(site, page, size):
    page.set_viewport_size(size)
    for name in CHAPTERS:
        page.goto((site / "notebooks" / f"{name}.html").as_uri())
        assert page.locator(".cell_output").count() > 5, name
        pictures = page.evaluate(PICTURES)
        assert pictures or name.startswith(("A", "B")), name
        assert [picture for picture in pictures if picture[0] < 20 or picture[1] < 50] == [], name
        assert page.evaluate(LOST) == [], name
        assert page.evaluate(TOO_WIDE) <= 0, name
        assert page.locator(".cell_output", has_text="Traceback (most recent call last)").count() == 0, name
    assert page.problems == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        """Requests are not what the test is about."""


def search(page, address: str) -> None:
    """Search for a word that has no page of its own, and open the first page that is found."""
    page.goto(address)
    page.locator(".sidebar-search").fill("BucketBatchSampler")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.click()
    page.wait_for_load_state()
    assert "BucketBatchSampler" in page.locator("article").inner_text()


def test_a_word_is_searched_and_found_without_a_network(site, page):
    asked = []
    page.on("request", lambda request: request.url.startswith("http") and asked.append(request.url))
    search(page, (site / "index.html").as_uri())  # without the lines around it: files may not fetch files
    assert asked == []


def test_a_site_that_is_served_searches_without_an_error(site, page):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        search(page, f"http://127.0.0.1:{server.server_port}/index.html")
        server.shutdown()
    assert page.problems == []
