"""The real service answers inside the block and is gone after it; one that cannot start says why."""

import json
import urllib.error
import urllib.request

import pytest

from helpers.errors import InputError
from helpers.models.pretrained import save_classifier
from lessons.running_service import running


def test_it_answers_for_the_length_of_the_block(text_classifier, tmp_path):
    save_classifier(text_classifier, tmp_path / "model")
    with running(tmp_path) as address, urllib.request.urlopen(f"{address}/health", timeout=30) as response:
        assert json.load(response)["status"] == "ok"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/health", timeout=30)


def test_a_service_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(InputError, match=r"the service did not start: error: .* holds no trained model"),
        running(tmp_path),
    ):
        pass
