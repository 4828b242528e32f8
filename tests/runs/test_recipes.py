"""What cleaning leaves of people's own rows."""

import pytest

from helpers.errors import InputError
from helpers.runs.recipes import RunConfig, prepare


def config_of(file, lines):
    file.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return RunConfig("text", data=str(file))


def test_classes_that_cleaning_empties_are_said(tmp_path):
    torn = [f"same {n},{label}" for n in range(5) for label in ("odd", "even")]
    with pytest.raises(InputError, match="no row of the classes 'even', 'odd'"):
        prepare(config_of(tmp_path / "torn.csv", torn))
    whole = [f"text {n},{'ab'[n % 2]}" for n in range(40)]
    prepared = prepare(config_of(tmp_path / "own.csv", torn + whole))
    assert prepared.classes == ("a", "b")
    assert prepared.noticed[0].startswith("cleaning left no row of the classes 'even', 'odd' (50 rows in, 10")
