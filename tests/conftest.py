"""Real data in small portions, shared by all tests; nothing here needs a network."""

import gc
import signal
from itertools import pairwise

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from helpers import assets
from helpers.cli import main
from helpers.data import cleaning, sources, splits
from helpers.models.language import LanguageModel
from helpers.runs.recipes import RunConfig, build_classifier, default_training, prepare


def pytest_collection_finish():
    """What is there before the first test stays: each `gc.collect` looked through it for half a second."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """At the end all of it is looked through once more, for libraries that count what was left behind."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def ordinary_signals():
    """Started by nohup or in the background, tests ignore two signals, and so would all that they start."""
    for name, usual in (("SIGHUP", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def picture_copies(tmp_path_factory):
    """Copies of pictures stay out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_progress():
    """What tests do with the exercises is not what a learner has done, wherever hers is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_PROGRESS", "off")
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


@pytest.fixture(scope="session")
def tiny_run(tiny_rows, tiny_encoder, tmp_path_factory):
    """The finished run folder of a training of the tiny encoder on the tiny rows; tests only read it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    options = ["--model", str(tiny_encoder), "--epochs", "1", "--limit", "0"]
    assert main(["train", "text", "--data", str(tiny_rows), "--output", str(run), *options]) == 0
    return run


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


def tiny_llama(vocabulary: int, **options) -> LlamaForCausalLM:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 8192, "initializer_range": 0.5}
    signs = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes | signs | options)).eval()


@pytest.fixture(scope="session")
def small_llama():
    return tiny_llama


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(assets.path("smollm2"))


@pytest.fixture(scope="session")
def random_lm(tokenizer):
    """It writes nonsense, and hardly ever an end sign."""
    torch.manual_seed(0)
    return LanguageModel("random", tiny_llama(len(tokenizer)), tokenizer, 1024)


@pytest.fixture(scope="session")
def parrot(tokenizer):
    """parrot("Hello!") is a model that answers so, whatever it is asked; every token may come once."""

    def build(text: str) -> LanguageModel:
        chain = [tokenizer.encode("\n")[-1], *tokenizer.encode(text), tokenizer.eos_token_id]
        assert len(chain) == len(set(chain)) <= 32, "a token comes twice, or there are too many"
        model = tiny_llama(len(tokenizer), num_hidden_layers=1, tie_word_embeddings=False)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.fill_(float("norm" in name))
            for place, (token, following) in enumerate(pairwise(chain)):
                model.model.embed_tokens.weight[token, place] = 1
                model.lm_head.weight[following, place] = 10
        return LanguageModel("parrot", model, tokenizer, 1024)

    return build


@pytest.fixture(scope="session")
def writer_folder(random_lm, tmp_path_factory):
    """The random model as a folder of transformers."""
    folder = tmp_path_factory.mktemp("writers") / "random"
    random_lm.model.save_pretrained(folder)
    random_lm.tokenizer.save_pretrained(folder)
    return folder
