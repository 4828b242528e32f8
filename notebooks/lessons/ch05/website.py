"""A web site on this machine, made of real comments, to practise scraping without troubling anybody.

It keeps a log of who asked for what and when. That log is what the owner of a real site sees of you.
"""

import html
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd

LICENCE = "Comments: Hutto and Gilbert 2014, MIT licence."
PER_PAGE = 25


@dataclass(frozen=True)
class Request:
    """One line of the site's log: seconds since the site opened, path, user agent, status of the answer."""

    seconds: float
    path: str
    user_agent: str
    status: int


class CommentSite:
    """Serves pages of comments on 127.0.0.1 at a free port; use it in a `with` block, or call `close`.

    The third page answers "503, later" the first time. One link is dead. The folder /private/ is not for
    robots. Inside the pages there is what real pages have: nested tags, entities, attributes in any order,
    and a hidden comment.

    Args:
        frame: rows with `text` and `rating`.
        pages: number of pages, with `PER_PAGE` comments each.
        crawl_delay: seconds that robots.txt asks for between two requests, a whole number; 0 asks for
            nothing.
    """

    def __init__(self, frame: pd.DataFrame, *, pages: int = 4, crawl_delay: int = 1):
        self.frame = frame.head(pages * PER_PAGE).reset_index(drop=True)
        self.pages, self.crawl_delay = pages, crawl_delay
        self.log: list[Request] = []
        self.busy = {"/comments/3"}  # paths that will answer 503 once
        self.opened = time.monotonic()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site._answer(self)

            def log_message(self, *_):
                """Say nothing on stderr: `site.log` holds it all."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def __enter__(self) -> "CommentSite":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and free its port."""
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        busy = path in self.busy
        self.busy.discard(path)
        status, body = (503, "busy") if busy else self._page(path)
        self.log.append(
            Request(time.monotonic() - self.opened, path, handler.headers.get("User-Agent", ""), status)
        )
        content = body.encode("utf-8")
        handler.send_response(status)
        handler.send_header(
            "Content-Type", f"text/{'plain' if path == '/robots.txt' else 'html'}; charset=utf-8"
        )
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _page(self, path: str) -> tuple[int, str]:
        if path == "/robots.txt":
            delay = f"Crawl-delay: {self.crawl_delay}\n" if self.crawl_delay else ""
            return 200, f"User-agent: *\n{delay}Disallow: /private/\n"
        if path == "/private/accounts":
            return 200, "<html><body><p class='comment'>names and addresses</p></body></html>"
        number = path.removeprefix("/comments/")
        if path.startswith("/comments/") and number.isdigit() and 1 <= int(number) <= self.pages:
            return 200, self._listing(int(number))
        return 404, "not found"

    def _listing(self, number: int) -> str:
        rows = self.frame.iloc[(number - 1) * PER_PAGE : number * PER_PAGE]
        articles = "\n".join(
            _article(place, row.text, row.rating) for place, row in enumerate(rows.itertuples())
        )
        following = f'<a rel="next" href="/comments/{number + 1}">older</a>' if number < self.pages else ""
        return (
            f"<html><head><title>Page {number}</title></head><body>\n{articles}\n{following}"
            f'<a href="/comments/archive">archive</a> <a href="/private/accounts">accounts</a>\n'
            f'<footer rel="license">{LICENCE}</footer></body></html>'
        )


def _article(place: int, text: str, rating: float) -> str:
    """One comment as HTML; every few of them are written differently, as by different programs."""
    safe = html.escape(text)
    if place % 5 == 1:
        return f"<p data-rating='{rating}' id=c{place} class='comment long'>{safe}</p>"
    if place % 5 == 2:
        first, _, rest = safe.partition(" ")
        return f'<p class="comment" data-rating="{rating}"><em>{first}</em> {rest}\n</p>'
    if place % 5 == 3:
        return (
            '<!-- <p class="comment" data-rating="0">deleted by the moderator</p> -->\n<p '
            f'class="comment" data-rating="{rating}">{safe}</p>'
        )
    return f'<p class="comment" data-rating="{rating}">{safe}</p>'
