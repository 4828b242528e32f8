"""`publish` on copies of this course's own notebooks and README: buttons, links and address, nothing else."""

import json
import re
import shutil

import pytest

from helpers import files, publish
from helpers.cli import main
from helpers.errors import InputError
from helpers.files import ROOT

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
URL = r"\((https://colab\.research\.google\.com/[^)]+)\)"
PLACE = ("some-one/a.course_2", "release/1.0")


def url(place: tuple[str, str], name: str) -> str:
    return f"https://colab.research.google.com/github/{place[0]}/blob/{place[1]}/notebooks/{name}"


def contents(course) -> dict[str, bytes]:
    return {
        path.relative_to(course).as_posix(): path.read_bytes() for path in course.rglob("*") if path.is_file()
    }


def said(course) -> dict[str, tuple[list[str], str]]:
    """Of each chapter the links to Colab in its first cell and the address in its set-up cell."""
    found = {}
    for name in CHAPTERS:
        cells = json.loads((course / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
        code = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        links = re.findall(URL, "".join(cells[0]["source"]))
        found[name] = links, re.findall(r'^ADDRESS = "(.*)"', code, flags=re.MULTILINE)[0]
    return found


@pytest.fixture
def course(tmp_path):
    """The chapters and the README of this course with nothing published, and one notebook more."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=lambda *_: ("lessons", "figures"))
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "notebooks" / "my_notes.ipynb").write_text("{}")
    publish.write(None, tmp_path)
    return tmp_path


def test_the_committed_chapters_agree_with_each_other():
    """All have a button or none has one, and one address is in all of them and in the README."""
    readme = re.findall(URL, (ROOT / "README.md").read_text(encoding="utf-8"))
    addresses = {address for _, address in said(ROOT).values()}
    assert len(addresses) == 1, addresses
    found = re.fullmatch(r"--branch (\S+) https://github\.com/(\S+)", addresses.pop() or "none")
    wanted = {name: [url((found[2], found[1]), name)] if found else [] for name in CHAPTERS}
    assert {name: links for name, (links, _) in said(ROOT).items()} == wanted
    assert set(readme) == {link for links in wanted.values() for link in links}


def test_all_set_up_cells_are_the_same():
    books = [json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8")) for name in CHAPTERS]
    first = {
        next("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
        for book in books
    }
    assert len(first) == 1


def test_every_chapter_and_the_readme_lead_to_the_repository(course):
    before = contents(course)
    changed = publish.write(PLACE, course)
    assert len(changed) == 16
    after = contents(course)
    assert {name for name in after if after[name] != before[name]} == {
        "README.md",
        *(f"notebooks/{name}" for name in CHAPTERS),
    }
    address = f"--branch {PLACE[1]} https://github.com/{PLACE[0]}"
    assert said(course) == {name: ([url(PLACE, name)], address) for name in CHAPTERS}
    cells = json.loads(after[f"notebooks/{CHAPTERS[0]}"])["cells"]
    assert max(map(len, "".join(cells[1]["source"]).splitlines())) <= 110  # as ruff wants it
    readme = after["README.md"].decode()
    assert re.findall(URL, readme) == [url(PLACE, name) for name in ("00_start_here.ipynb", *CHAPTERS)]
    for picture in re.findall(r"!\[Open in Colab\]\((.+?)\)", readme):
        assert (ROOT / picture).is_file()


def test_nothing_else_of_a_notebook_changes(course):
    name = f"notebooks/{CHAPTERS[0]}"
    before = (course / name).read_bytes().splitlines()
    publish.write(PLACE, course)
    after = (course / name).read_bytes().splitlines()
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(different) == 2
    button = f"[![Open in Colab](figures/open_in_colab.svg)]({url(PLACE, CHAPTERS[0])})\\n\\n".encode()
    assert different[0][1] == different[0][0].replace(b'"# 00', b'"' + button + b"# 00")
    assert (ROOT / "notebooks" / "figures" / "open_in_colab.svg").is_file()


def test_a_second_call_changes_nothing_and_another_repository_replaces(course):
    publish.write(PLACE, course)
    once = contents(course)
    assert publish.write(PLACE, course) == []
    assert contents(course) == once
    publish.write(("other/name", "main"), course)
    replaced = contents(course)
    assert not any(PLACE[0].encode() in content for content in replaced.values())
    assert len(publish.write(PLACE, course)) == 16
    assert contents(course) == once


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_none_restores_every_byte(course, ending):
    """With the line ends of any system, and sources as lines, as JupyterLab saves them."""
    path = course / "notebooks" / CHAPTERS[1]
    book = json.loads(path.read_bytes())
    for cell in book["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for file in [course / "README.md", *(course / "notebooks").glob("[0-9AB]*.ipynb")]:
        file.write_bytes(file.read_bytes().replace(b"\n", ending.encode()))
    before = contents(course)
    assert len(publish.write(PLACE, course)) == 16
    assert said(course)[CHAPTERS[1]][0] == [url(PLACE, CHAPTERS[1])]
    assert len(publish.write(None, course)) == 16
    assert contents(course) == before
    assert publish.write(None, course) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repo", "name"], "--repo must be OWNER/NAME"),
        (["--repo", "https://github.com/owner/name"], "--repo must be OWNER/NAME"),
        (["--repo", "owner/name.git"], "--repo must be OWNER/NAME"),
        (["--repo", "owner/.."], "--repo must be OWNER/NAME"),
        (["--repo", "owner/na me"], "--repo must be OWNER/NAME"),
        (["--repo=-owner/name\n"], "--repo must be OWNER/NAME"),
        (["--repo", "owner/name'; echo x #"], "--repo must be OWNER/NAME"),
        (["--repo", "owner/name", "--branch", ""], "--branch must be the name of a branch"),
        (["--repo", "owner/name", "--branch", "a b"], "--branch must be the name of a branch"),
        (["--repo", "owner/name", "--branch", "a..b"], "--branch must be the name of a branch"),
        (["--repo", "owner/name", "--branch", "a/"], "--branch must be the name of a branch"),
        (["--repo", "owner/name", "--branch=--upload-pack=x"], "--branch must be the name of a branch"),
        (["--repo", "owner/name", "--branch", "a.lock"], "--branch must be the name of a branch"),
        (["--none", "--branch", "main"], "--branch has no effect with --none"),
    ],
)
def test_what_can_be_no_repository_is_refused(arguments, words, capsys):
    before = contents(ROOT / "notebooks")
    assert main(["publish", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert contents(ROOT / "notebooks") == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-500], "must begin with a text"),
        (lambda raw: raw.replace(b"ADDRESS = ", b"ADRESS = "), "must begin with a text"),
        (lambda raw: json.dumps(json.loads(raw)).encode(), "must be written as Jupyter does"),
    ],
    ids=["cut", "no address", "another form"],
)
def test_a_chapter_that_cannot_be_changed_alone_is_refused_before_any_is(course, damage, words):
    last = course / "notebooks" / CHAPTERS[-1]
    last.write_bytes(damage(last.read_bytes()))
    before = contents(course)
    with pytest.raises(InputError, match=words):
        publish.write(PLACE, course)
    assert contents(course) == before


def test_the_command_says_what_it_changed(course, monkeypatch, capsys):
    monkeypatch.setattr(files, "ROOT", course)
    assert main(["publish", "--repo", "owner/name"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:-1] == [*(f"notebooks/{name}" for name in CHAPTERS), "README.md"]
    assert "16" in out.splitlines()[-1]
    assert "branch main of https://github.com/owner/name" in out
    assert main(["publish", "--none"]) == 0
    assert "no chapter has a button" in capsys.readouterr().out
