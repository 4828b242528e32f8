"""The local site and the polite scraper: the server's log proves what was asked, when and by whom."""

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from bs4 import BeautifulSoup

from helpers.errors import InputError
from lessons.ch05.scraping import PoliteScraper
from lessons.ch05.website import PER_PAGE, CommentSite

AGENT = "test-bot/1.0 (owner@example.org)"


@pytest.fixture
def site(comments):
    with CommentSite(comments, pages=3, crawl_delay=7) as site:
        yield site


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def scraper(site, tmp_path, pauses):
    return PoliteScraper(site.url, AGENT, tmp_path, least_pause=2, sleep=pauses.append)


def asked(site):
    return [(request.path, request.status) for request in site.log]


def test_private_pages_are_never_asked_for(site, scraper):
    page = scraper.get(site.url + "/private/accounts")
    assert (page.status, page.html) == (0, "")
    assert asked(site) == [("/robots.txt", 200)]


def test_other_sites_are_not_asked_either(scraper):
    assert not scraper.allowed("http://127.0.0.1:1/comments/1")
    assert not scraper.allowed(scraper.site + "0/comments/1")  # another port that begins in the same way


def test_the_sites_delay_wins_over_a_shorter_one(site, scraper, pauses):
    scraper.get(site.url + "/comments/1")
    assert pauses == [2, 7]  # robots.txt itself, before its delay is known


def test_busy_is_tried_again_later_and_longer(site, scraper, pauses):
    page = scraper.get(site.url + "/comments/3")
    assert page.status == 200
    assert asked(site)[1:] == [("/comments/3", 503), ("/comments/3", 200)]
    assert pauses[1:] == [7, 14]


def test_a_dead_link_is_asked_once(site, scraper):
    assert scraper.get(site.url + "/comments/archive").status == 404
    assert asked(site)[1:] == [("/comments/archive", 404)]


def test_what_is_cached_is_not_asked_again(site, scraper):
    first, again = (scraper.get(site.url + "/comments/1") for _ in range(2))
    assert (first.from_cache, again.from_cache) == (False, True)
    assert first.html == again.html
    assert len(site.log) == 2


def test_every_request_says_who_asks(site, scraper):
    scraper.get(site.url + "/comments/1")
    assert {request.user_agent for request in site.log} == {AGENT}


def test_an_unreachable_site_is_refused(tmp_path, site):
    site.close()
    with pytest.raises(InputError, match="cannot be reached"):
        PoliteScraper(site.url, AGENT, tmp_path, sleep=lambda _: None)


def test_without_robots_all_is_allowed_and_behind_a_broken_one_nothing(comments, tmp_path):
    for status, expected in ((404, True), (500, False)):
        with CommentSite(comments) as site:
            site._page = lambda path, status=status: (status, "") if path == "/robots.txt" else (200, "x")
            scraper = PoliteScraper(site.url, AGENT, tmp_path, sleep=lambda _: None)
            assert scraper.allowed(site.url + "/comments/1") == expected


def test_a_parser_finds_every_comment_with_its_rating(site, scraper, comments):
    soup = BeautifulSoup(scraper.get(site.url + "/comments/2").html, "html.parser")
    found = [(" ".join(p.get_text(" ").split()), float(p["data-rating"])) for p in soup.select("p.comment")]
    rows = comments.iloc[PER_PAGE : 2 * PER_PAGE]
    assert found == [(" ".join(text.split()), rating) for text, rating in zip(rows["text"], rows["rating"])]


def test_the_site_answers_503_once(site):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="503"):
        opener.open(site.url + "/comments/3")
    assert opener.open(site.url + "/comments/3").status == 200


class WrongCharset(BaseHTTPRequestHandler):
    """Says UTF-8 and sends Windows-1252."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write("Café – open".encode("cp1252"))

    def log_message(self, *_args):
        pass


def test_a_page_whose_server_names_the_wrong_encoding_is_read_all_the_same(tmp_path):
    with HTTPServer(("127.0.0.1", 0), WrongCharset) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        page = PoliteScraper(address, AGENT, tmp_path, sleep=lambda _seconds: None).get(f"{address}/menu")
        server.shutdown()
    assert (page.status, page.html) == (200, "Café – open")
