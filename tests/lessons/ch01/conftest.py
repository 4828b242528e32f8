"""The network that the tests of sizes and of the memory planner measure."""

import pytest

from helpers.models.pretrained import text_classifier


@pytest.fixture(scope="module")
def minilm():
    return text_classifier().model
