"""Real data in small portions, shared by all tests; nothing here needs a network."""

import pytest
import torch

from helpers import assets
from helpers.data import cleaning, sources, splits
from helpers.runs.recipes import RunConfig, build_classifier, default_training, prepare


@pytest.fixture(scope="session", autouse=True)
def picture_copies(tmp_path_factory):
    """Copies of pictures stay out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def comments():
    return sources.comments()


@pytest.fixture(scope="session")
def clean(comments):
    return cleaning.clean_comments(comments, key=cleaning.letters_key)[0]


@pytest.fixture(scope="session")
def parts(clean):
    return splits.split(clean)


@pytest.fixture(scope="session")
def animals():
    return sources.animals()


@pytest.fixture
def text_classifier():
    torch.manual_seed(0)
    return build_classifier(RunConfig(task="sentiment"), sources.SENTIMENTS)


@pytest.fixture(scope="session")
def small_run():
    """A configuration and rows small enough to train in seconds."""
    config = RunConfig(task="sentiment", limit=64, training=default_training("sentiment", "full", epochs=2))
    return config, prepare(config)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A folder for --model: an encoder of one small layer with random weights, which trains in a second."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_rows(tmp_path_factory):
    """A CSV file of 60 distinct short texts of two classes that a word tells apart."""
    file = tmp_path_factory.mktemp("rows") / "own.csv"
    things = ("kettle", "lamp", "chair", "mixer", "sofa", "phone")
    lines = [f"The {thing} {word} {n},{label}" for n in range(5) for thing in things
             for word, label in (("works well", "good"), ("broke at once", "bad"))]  # fmt: skip
    file.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def refused(capsys):
    """refused(exercise, attempt, sentence): the exercise says "Not yet" to a wrong attempt, with a sentence
    that helps.
    """

    def check(exercise, attempt, sentence):
        exercise.check(attempt)
        out = capsys.readouterr().out
        assert out.startswith("Not yet: ")
        assert sentence in out

    return check
