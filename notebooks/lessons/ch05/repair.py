"""Repairs of chapter 05: words out of HTML, tables in an encoding that nobody wrote down."""

import io
import re
from pathlib import Path

import pandas as pd

from helpers.errors import InputError
from helpers.own.delimited import separator


def text_of_html(text: str) -> str:
    """The words of a piece of HTML: tags and comments go, what they enclose stays.

    A text without tags comes back as it is.

    Entities are left to `clean_text`: undone before the tags are read, "5 &lt; 6" would look like the
    beginning of one.
    """
    if not re.search(r"</?[a-zA-Z][^<>]*>|<!--", text):
        return text  # most texts; "<3" and "a < b" are no tags
    from bs4 import BeautifulSoup

    return BeautifulSoup(text, "html.parser").get_text(" ")


def read_table(file: Path, *, encoding: str | None = None) -> tuple[pd.DataFrame, dict[str, object]]:
    """A CSV file in an encoding that nobody wrote down.

    Args:
        file: a table with a header, separated by comma, semicolon or tab.
        encoding: where it is known; otherwise `decoded` looks for it.

    Returns:
        All cells as str (empty where nothing is), and `encoding`, `separator`, `rows`.

    Raises:
        InputError: the file does not exist, is empty, or cannot be decoded.
    """
    content = file.read_bytes() if file.is_file() else b""
    if not content.strip():
        raise InputError(f"the file {file} does not exist or is empty; give a CSV file with a header")
    text, encoding = decoded(content, encoding, source=file.name)
    mark = separator(text)
    frame = pd.read_csv(io.StringIO(text), sep=mark, dtype=str, keep_default_na=False)
    return frame, {"encoding": encoding, "separator": mark, "rows": len(frame)}


def decoded(content: bytes, encoding: str | None = None, *, source: str = "the text") -> tuple[str, str]:
    """Bytes as text, and the encoding that was used.

    The one given, else UTF-16 by its mark, else UTF-8, else Windows-1252.

    Nothing is replaced. The last step is a guess: most bytes mean something in Windows-1252, so look at a few
    lines.

    Raises:
        InputError: the bytes do not fit; the message names the place.
    """
    if encoding is None and content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    try:
        # Nearly no other text is valid UTF-8 by chance.
        return content.decode(encoding or "utf-8-sig"), encoding or "utf-8"
    except (UnicodeDecodeError, LookupError) as error:
        if encoding is not None:
            raise InputError(f"{source} is not {encoding}: {error}; name another encoding") from error
    try:
        return content.decode("cp1252"), "cp1252"
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is neither UTF-16, UTF-8 nor Windows-1252: {error}; name its encoding"
        ) from error
