"""What a chapter prints of the course's code is all of it but the docstrings."""

import pytest

from lessons import show


def double(
    number: int,
    *,
    times: int = 1,
) -> int:
    """Twice the number.

    Args:
        times: how often.
    """

    # why: a sum, not a product

    for _ in range(times):
        number += number  # again
    text = """not a docstring"""
    return number, text


class Box:
    """Keeps one thing."""

    size = 1

    @staticmethod
    def opened(thing):
        """What is in the box."""
        return thing

    def closed(self):
        """The box, shut."""

        def lid():
            """On top."""
            return "lid"

        return lid


class Empty(Exception):
    """Nothing is in the box."""


def printed(capsys, shown):
    show.code(shown)
    return capsys.readouterr().out


def test_a_function_keeps_its_signature_and_comments(capsys):
    assert printed(capsys, double) == (
        "def double(\n    number: int,\n    *,\n    times: int = 1,\n) -> int:\n"
        "    # why: a sum, not a product\n\n"
        "    for _ in range(times):\n        number += number  # again\n"
        '    text = """not a docstring"""\n    return number, text\n'
    )


def test_a_class_loses_the_docstrings_of_its_methods_too(capsys):
    assert printed(capsys, Box) == (
        "class Box:\n    size = 1\n\n"
        "    @staticmethod\n    def opened(thing):\n        return thing\n\n"
        '    def closed(self):\n        def lid():\n            return "lid"\n\n        return lid\n'
    )


def test_a_method_begins_at_the_margin(capsys):
    assert printed(capsys, Box.opened) == "@staticmethod\ndef opened(thing):\n    return thing\n"


def test_what_is_a_docstring_alone_stays_whole(capsys):
    assert printed(capsys, Empty) == 'class Empty(Exception):\n    """Nothing is in the box."""\n'


def test_what_has_no_source_says_so():
    with pytest.raises(TypeError):
        show.code(len)
