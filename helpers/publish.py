"""The command `publish`: buttons that open the chapters in Google Colab, and the address that Colab clones.

The course as it is committed has neither, for they name the public repository of whoever teaches with it.
What is written can be taken away again byte for byte: a button above the first heading of each chapter and of
the README, a link in the README's table of chapters, and the text of `ADDRESS` in each set-up cell.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from helpers import files
from helpers.errors import InputError

# In `notebooks`; where it cannot be shown its alternative text is the link.
PICTURE = "figures/open_in_colab.svg"
COLAB = "https://colab.research.google.com/github/"
NAME = re.compile(r"(\d\d|[A-Z])_")  # begins the name of a chapter; other notebooks are the learner's
BUTTON = re.compile(rf"\A\[!\[Open in Colab\]\([^()\s]*{PICTURE}\)\]\({COLAB}[^()\s]*\)(\r?\n){{2}}")
LINK = re.compile(rf" \[Colab\]\({COLAB}[^()\s]*\)")
CHAPTER = re.compile(r"\[(?:\d\d|[A-Z]) [^]]+\]\(notebooks/([^()\s]+\.ipynb)\)")  # in the README's table
ADDRESS = re.compile(r'^ADDRESS = "([^"\n]*)"', flags=re.MULTILINE)


def add_command(command: Callable) -> None:
    """Add the command by `command(name, function, help_text)`, which returns its parser."""
    about = "write buttons that open the chapters in Google Colab, and the address that Colab clones"
    parser = command("publish", publish, about)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--repo", metavar="OWNER/NAME", help="the course's public repository on GitHub")
    chosen.add_argument("--none", action="store_true", help="take everything away again")
    parser.add_argument("--branch", metavar="B", help="of the repository (default: main)")


def publish(options) -> None:
    """Print the files that were changed, one a line, and what to do now."""
    if options.none and options.branch is not None:
        raise InputError("--branch has no effect with --none; leave it out")
    place = None if options.none else (options.repo, "main" if options.branch is None else options.branch)
    changed = write(place, files.ROOT)
    for path in changed:
        print(path.relative_to(files.ROOT).as_posix())
    said = "no chapter has a button or an address"
    if place:
        said = f"the buttons open branch {place[1]} of https://github.com/{place[0]} as it is there: push it"
    print(f"files changed: {len(changed)}; {said}")


def write(place: tuple[str, str] | None, root: Path) -> list[Path]:
    """Write the buttons, links and addresses of a repository and its branch, or none; a second call is idle.

    Args:
        place: ("OWNER/NAME", "main"), or None to take everything away.
        root: the folder of the course.

    Returns: the files that were changed.

    Raises InputError: no such repository or branch can be; a chapter cannot be changed without changing more.
        Nothing has been written then.
    """
    if place is not None:
        _check(*place)
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    contents = {path: _chapter(path, place) for path in notebooks if NAME.match(path.name)}
    readme = root / "README.md"
    contents[readme] = _readme(readme.read_bytes().decode(), place).encode()
    changed = [path for path, content in contents.items() if content != path.read_bytes()]
    with files.writing(root, "make room, or get the right to write there, and publish again"):
        for path in changed:
            files.write_atomically(path, contents[path])
    return changed


def _check(repository: str, branch: str) -> None:
    owner, _, name = repository.partition("/")
    is_name = re.fullmatch(r"[\w.-]{1,100}", name, flags=re.ASCII) and name.strip(".")
    is_owner = re.fullmatch(r"[A-Za-z\d][A-Za-z\d-]{0,38}", owner)
    if not is_owner or not is_name or name.endswith(".git"):
        wanted = "OWNER/NAME, as in the repository's address https://github.com/OWNER/NAME"
        raise InputError(f"--repo must be {wanted}; found {repository!r}")
    parts = branch.split("/")
    are_names = all(re.fullmatch(r"\w[\w.-]*", part, flags=re.ASCII) for part in parts)
    if not are_names or ".." in branch or any(part.endswith((".", ".lock")) for part in parts):
        wanted = "the name of a branch (letters, digits, and . _ - / between them)"
        raise InputError(f"--branch must be {wanted}; found {branch!r}")


def _url(place: tuple[str, str], file: str) -> str:
    repository, branch = place
    return f"{COLAB}{repository}/blob/{branch}/notebooks/{file}"


def _button(place: tuple[str, str], file: str, folder: str = "") -> str:
    return f"[![Open in Colab]({folder}{PICTURE})]({_url(place, file)})"


def _readme(text: str, place: tuple[str, str] | None) -> str:
    text = LINK.sub("", BUTTON.sub("", text))
    if not place:
        return text
    text = CHAPTER.sub(lambda found: f"{found[0]} [Colab]({_url(place, found[1])})", text)
    ending = "\r\n" if "\r\n" in text else "\n"
    return f"{_button(place, '00_start_here.ipynb', 'notebooks/')}{ending}{ending}{text}"


def _chapter(path: Path, place: tuple[str, str] | None) -> bytes:
    """The bytes of a chapter with its button and address, everything else as it was."""
    old = path.read_bytes()
    ending = "\r\n" if b"\r\n" in old else "\n"
    try:
        book = json.loads(old)
        first = book["cells"][0]
        code = next(cell for cell in book["cells"] if cell["cell_type"] == "code")
        is_chapter = first["cell_type"] == "markdown" and len(ADDRESS.findall("".join(code["source"]))) == 1
    except (ValueError, LookupError, TypeError, StopIteration):
        is_chapter = False
    if not is_chapter:
        wanted = 'a text, then a set-up cell with one line ADDRESS = "..."'
        raise InputError(f"{path} must begin with {wanted}; get the file again, or rename it if it is yours")
    if _written(book, ending) != old:
        how = "indented by 1, with other signs than ASCII as they are and a line end at the end"
        raise InputError(f"{path} must be written as Jupyter does ({how}); open and save it there")
    button = f"{_button(place, path.name)}\n\n" if place else ""
    address = f"--branch {place[1]} https://github.com/{place[0]}" if place else ""
    _set(first, button + BUTTON.sub("", "".join(first["source"])))
    _set(code, ADDRESS.sub(f'ADDRESS = "{address}"', "".join(code["source"])))
    return _written(book, ending)


def _set(cell: dict, source: str) -> None:
    """Give a cell another source, in one string or a list of lines as it was."""
    cell["source"] = source if isinstance(cell["source"], str) else source.splitlines(keepends=True)


def _written(book: dict, ending: str) -> bytes:
    return (
        (json.dumps(book, indent=1, ensure_ascii=False) + "\n")
        .replace("\n", ending)
        .encode("utf-8", "surrogatepass")
    )
