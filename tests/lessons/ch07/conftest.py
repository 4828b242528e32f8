"""The code of chapter 07 as its cells have it."""

import json

import pytest

from helpers.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "07_sentiment_case_study.ipynb"


def definitions(*names: str) -> str:
    """The cells that define these names, each once, up to what they do with them."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for name in names:
        holders = [cell for cell in code if f"def {name}(" in cell or f"class {name}(" in cell]
        assert len(holders) == 1, name
        blocks = [
            block
            for block in holders[0].split("\n\n\n")
            if block.lstrip().startswith(("def ", "class ", "@"))
        ]
        found += blocks
    return "\n\n\n".join(found)


@pytest.fixture(scope="session")
def cell_definitions():
    """cell_definitions("collate", ...): the source of the cells that define these names."""
    return definitions
