"""The comparison with rivals is fair: as many updates of the same weights on the same rows for everyone."""

import importlib
import json

import pytest
import torch

from helpers.files import ROOT
from helpers.models.pretrained import Classifier, text_classifier
from helpers.runs.recipes import default_training


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture(scope="module")
def tiny():
    """A BERT of one narrow layer with random weights, behind MiniLM's tokenizer."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    classes, known = ("negative", "neutral", "positive"), text_classifier()
    config = BertConfig(vocab_size=len(known.preprocessor), num_labels=3, **sizes)
    return Classifier("text", "tiny", BertForSequenceClassification(config), classes, known.preprocessor)


@pytest.mark.parametrize("name", ["ours", "textbook", "trainer", "trainer_grouped", "lightning"])
def test_each_trainer_makes_the_same_updates_and_stops_the_clock_to_evaluate(name, script, tiny, clean):
    texts = script("rival_texts")
    if not texts.available(name):
        pytest.skip("lightning is not installed")
    first = {key: tensor.clone() for key, tensor in tiny.model.state_dict().items()}
    rows, config = clean.head(40), default_training("text", "full", epochs=2, precision="no")
    watch = texts.Watch(lambda model: {"macro_f1": 0.5})
    texts.TRAINERS[name](tiny, rows, config, watch)
    assert watch.steps == 2 * 3  # 40 rows in batches of 16, twice
    assert [point["macro_f1"] for point in watch.curve] == [0.5, 0.5]
    assert 0 < watch.curve[0]["seconds"] <= watch.curve[1]["seconds"] <= round(watch.seconds, 2)
    assert any(not torch.equal(first[key], tensor) for key, tensor in tiny.model.state_dict().items())
    tiny.model.load_state_dict(first)


def test_evaluations_stop_the_clock(script):
    import time

    watch = script("rival_texts").Watch(lambda _: time.sleep(0.3) or {"macro_f1": 0.1})
    watch.start()
    watch.score(None)
    watch.stop()
    assert watch.seconds < 0.2


def test_a_rivals_time_to_its_best_score_is_set_against_ours(script):
    curve = lambda *points: {"curve": [{"seconds": s, "macro_f1": f} for s, f in points]}
    full = {
        "ours": curve((1, 0.3), (2, 0.5), (3, 0.7), (4, 0.6)),
        "slow": curve((10, 0.4), (20, 0.55), (30, 0.55)),
        "better": curve((10, 0.8)),
    }
    found = script("rivals").to_score(full)
    assert found["slow"] == {
        "best_macro_f1": 0.55,
        "its_seconds": 20,
        "our_seconds": 3,
        "times_as_fast": 6.67,
    }
    assert found["better"]["our_seconds"] is None
    assert found["better"]["times_as_fast"] is None


def test_speeds_are_ratios_of_medians_and_a_share_of_the_peak(script):
    runs = lambda *seconds: [
        {"rows": 10, "seconds": s, "real_tokens": 50, "tokens": 100, "steps": 1} for s in seconds
    ]
    found = script("rivals").speeds({"ours": runs(1, 2, 100), "rival": runs(4, 4, 5)}, 1000, 6e5)
    assert found["rival"]["ours_to_it"] == 2.0
    assert found["ours"]["median"] == 5.0
    assert found["ours"]["share_of_peak"] == 0.25  # 6 * 1000 * 50 / 2 operations per second
    assert found["rival"]["tokens_that_are_padding"] == 0.5


def test_both_train_on_the_same_photographs(script, tmp_path):
    photographs = script("rival_photographs")
    photographs.make_photographs(tmp_path, count=24, size=(120, 90))
    results = [photographs.Bench(name, tmp_path).run(seed=1) for name in ("ours", "imagefolder")]
    assert results[0]["steps"] == results[1]["steps"] > 1
    assert results[0]["rows"] == results[1]["rows"]


@pytest.mark.parametrize("name", ["rivals", "threads"])
def test_the_stored_results_are_complete(name, script):
    file = ROOT / "benchmarks" / "results" / f"{name}.json"
    if not file.exists():
        pytest.skip(f"{name}.json was not measured yet: make results")
    found, module = json.loads(file.read_text(encoding="utf-8")), script(name)
    if name == "threads":
        assert set(found["ratios"]) == set(module.SETTINGS)
        assert all(len(times) == 5 for row in found["seconds_per_step"].values() for times in row.values())
        return
    measured = found["texts"]["speed"]
    assert set(measured) | set(found["texts"]["not_installed"]) == set(module.TEXTS)
    assert all(len(row["rows_per_second"]) >= 5 for row in measured.values())
    assert set(found["texts"]["to_score"]) == set(module.SCORED) - {"ours"}
    assert len({run["steps"] for run in found["texts"]["full"].values()}) == 1
    assert all(len(epochs) >= 5 for epochs in found["photographs"]["epochs"].values())


def test_a_worker_answers_and_says_when_it_ended(script, tmp_path):
    by_turns, file = script("by_turns"), tmp_path / "worker.py"
    file.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
        "from by_turns import serve\n"
        "def prepare():\n"
        "    print('a library talks')\n"
        "    return lambda number: {'double': 2 * number}\n"
        "serve(prepare)\n",
        encoding="utf-8",
    )
    worker = by_turns.Worker(file, environment=by_turns.own_environment())
    assert worker.receive() == {"ready": True}
    assert worker.ask(number=4) == {"double": 8}
    worker.send(wrong=1)
    with pytest.raises(SystemExit, match="a measuring process ended"):
        worker.receive()
    worker.close()
