"""Fetch pages as a guest behaves: ask what is allowed, go slowly, say who you are (chapter 05)."""

import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from helpers.errors import InputError
from lessons.ch05.repair import decoded

# "Later": the server is busy. Any other 4xx will not change by asking again.
RETRY = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Page:
    """What became of one request.

    Attributes:
        url: as asked for.
        status: HTTP status; 0 where robots.txt forbids the page, so that it was never asked for.
        html: the page; empty unless the status is 200.
        from_cache: read from disk, no request was made.
    """

    url: str
    status: int
    html: str = ""
    from_cache: bool = False


class PoliteScraper:
    """Fetches pages of one site within the limits of its robots.txt.

    Args:
        site: the address of the site, e.g. "https://example.org".
        user_agent: who asks, with an address where the owner of the site can reach you.
        cache: folder in which pages are kept; a page that is there is not asked for again.
        least_pause: seconds between two requests; the site's Crawl-delay or Request-rate makes it longer,
            never shorter.
        attempts: requests for one page while the server answers "later"; the pause doubles each time.
        sleep: waits so many seconds; tests pass a function that notes them.

    Raises:
        InputError: the site cannot be reached.
    """

    def __init__(
        self,
        site: str,
        user_agent: str,
        cache: Path,
        *,
        least_pause: float = 1.0,
        attempts: int = 4,
        sleep: Callable = time.sleep,
    ):
        self.site, self.user_agent, self.cache = site.rstrip("/"), user_agent, cache
        self.attempts, self.sleep = attempts, sleep
        self.cache.mkdir(parents=True, exist_ok=True)
        # A proxy is for the world outside, not for a server on this machine.
        local = urlsplit(self.site).hostname in ("127.0.0.1", "localhost")
        self.opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
        self.robots = RobotFileParser()
        self.pause = least_pause
        self._read_robots()
        rate = self.robots.request_rate(user_agent)
        self.pause = max(
            least_pause, self.robots.crawl_delay(user_agent) or 0, rate.seconds / rate.requests if rate else 0
        )

    def allowed(self, url: str) -> bool:
        """Whether robots.txt lets us ask for this page; pages of other sites are none of ours."""
        return url.startswith(self.site + "/") and self.robots.can_fetch(self.user_agent, url)

    def get(self, url: str) -> Page:
        """The page, from the cache where it is there; a page that is not allowed is not asked for."""
        if not self.allowed(url):
            return Page(url, 0)
        kept = self.cache / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.html"
        if kept.exists():
            return Page(url, 200, kept.read_text(encoding="utf-8"), from_cache=True)
        status, html = self._ask(url)
        if status == 200:
            kept.write_text(html, encoding="utf-8")
        return Page(url, status, html)

    def _read_robots(self) -> None:
        # Not RobotFileParser.read(): it comes without our user agent.
        status, text = self._ask(self.site + "/robots.txt")
        if status == 0:
            raise InputError(f"{self.site} cannot be reached; check the address and the network")
        if 400 <= status < 500:
            self.robots.allow_all = True  # there is no robots.txt: nothing is forbidden
        elif status != 200:
            self.robots.disallow_all = True  # there may be one, but we could not read it: ask for nothing
        self.robots.parse(text.splitlines())

    def _ask(self, url: str) -> tuple[int, str]:
        """Status and text of one page; waits before each request, longer when the server says "later"."""
        status, wait = 0, self.pause
        for _attempt in range(self.attempts):
            self.sleep(wait)
            try:
                request = urllib.request.Request(url, headers={"User-Agent": self.user_agent})
                with self.opener.open(request, timeout=20) as answer:
                    return answer.status, _text_of(answer, url)
            except urllib.error.HTTPError as error:
                status, later = error.code, error.headers.get("Retry-After", "")
                error.close()
                if status not in RETRY:
                    break
                wait = max(2 * wait, float(later) if later.isdigit() else 0)
            except OSError:  # no connection: perhaps later
                status, wait = 0, 2 * wait
        return status, ""


def _text_of(answer, url: str) -> str:
    """The page's text in the encoding that the server names, or, where that is wrong, in one that fits."""
    content, named = answer.read(), answer.headers.get_content_charset()
    try:
        return decoded(content, named, source=url)[0]
    except InputError:
        return decoded(content, source=url)[0]
