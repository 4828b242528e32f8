"""The measuring scripts: their shared file grows and can be gone on with, and what is stored is all that they
measure.
"""

import importlib
import json

import pytest

from helpers.files import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv(
        "OMP_NUM_THREADS", "1"
    )  # some scripts set it on import; the fixture's end takes it back
    return importlib.import_module


def stored(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_a_stopped_measurement_goes_on_and_other_settings_begin_again(script, tmp_path):
    runs, file = script("runs"), tmp_path / "results.json"
    results = runs.opened(file, {"rows": 5})
    results["runs"] = [{"seed": 2, "score": 0.5}, {"seed": 9, "score": 0.1}]  # seed 9 is no longer wanted
    runs.complete(file, results, "runs", [{"seed": 1}, {"seed": 2}, {"seed": 3}], dict, processes=1)
    assert runs.opened(file, {"rows": 5})["runs"] == [{"seed": 1}, {"seed": 2, "score": 0.5}, {"seed": 3}]
    assert runs.opened(file, {"rows": 6})["runs"] == []


def test_all_measurements_go_on_after_the_part_that_failed(script, tmp_path, monkeypatch, capsys):
    results, log, ready = tmp_path / "results", tmp_path / "log", tmp_path / "ready"
    results.mkdir()
    for name in ("old.json", "gpu_card.json"):
        (results / name).write_text("{}")
    for name in ("first", "second"):
        wait = f"sys.exit(not Path({str(ready)!r}).exists())" if name == "second" else ""
        told = f"open({str(log)!r}, 'a').write({name!r} + sys.argv[1])"
        lines = ("import sys", "from pathlib import Path", told, wait)
        (tmp_path / f"{name}.py").write_text("\n".join(lines))
    everything = script("all_results")
    places = {"FOLDER": tmp_path, "RESULTS": results, "STATE": tmp_path / "state.json"}
    for name, value in (places | {"PARTS": ("first.py a", "second.py b")}).items():
        monkeypatch.setattr(everything, name, value)
    monkeypatch.setattr(everything, "KEPT_RUNS", tmp_path / "kept.json")
    assert everything.main() == 1
    assert sorted(file.name for file in results.iterdir()) == ["gpu_card.json"]
    ready.touch()
    assert everything.main() == 0
    assert log.read_text() == "firstasecondbsecondb"
    assert set(json.loads((results / "times.json").read_text())) == {"first.py a", "second.py b"}
    assert "first.py a: done before" in capsys.readouterr().out


def test_a_table_is_made_of_results_that_are_there(script):
    parts = script("all_results").PARTS
    assert parts.index("strategies.py pooler") < parts.index("strategies.py")


@pytest.mark.parametrize("name", ["case_studies", "strategies"])
def test_the_readmes_tables_are_the_measured_ones(name, script):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    with_table = script("readme_tables").with_table
    assert readme == with_table(readme, name, script(name).table(stored(name)))
    assert readme != with_table(readme, name, "| another | table |")


def test_the_readmes_ladder_is_the_measured_one(script):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = script("chat_finish").readme(stored("chat"))
    assert readme == script("readme_tables").with_table(readme, "chat", table)


def test_the_results_are_complete(script):
    strategies, images, augmentation, sentiment = map(
        script, ("strategies", "images", "augmentation", "sentiment")
    )
    assert set(stored("case_studies")) == set(script("case_studies").RUNS)
    wanted = {
        ("strategies", "tuning"): strategies.tuning_jobs(),
        ("strategies", "runs"): strategies.jobs(stored("strategies")["tuning"]),
        ("images", "forgetting"): images.forgetting_jobs(),
        ("strategies_pooler", "tuning"): strategies.tuning_jobs(strategies.POOLER_RATES),
        ("strategies_pooler", "runs"): strategies.jobs(
            stored("strategies_pooler")["tuning"], strategies.POOLER_RATES
        ),
        ("images", "ladder"): [{"timing": name} for name in images.LADDER],
        ("images", "runs"): images.jobs(),
        ("images", "logs"): [{"fault": fault} for fault in images.LOGS],
        ("augmentation", "images"): augmentation.image_jobs(),
    }
    for (name, part), jobs in wanted.items():
        assert [{key: run[key] for key in jobs[0]} for run in stored(name)[part]] == jobs, (name, part)
    for part, jobs in script("fine_tuning").wanted().items():
        assert [{key: run[key] for key in jobs[0]} for run in stored("fine_tuning")[part]] == jobs, part
    sentiment_jobs = [(run["recipe"], run["seed"]) for run in stored("sentiment")["runs"]]
    assert sentiment_jobs == [(recipe, seed) for seed in sentiment.SEEDS for recipe in sentiment.RECIPES]
    assert [run["seed"] for run in stored("sentiment")["full_runs"]] == list(sentiment.FULL_SEEDS)
    assert [run["seed"] for run in stored("augmentation")["texts"]] == list(augmentation.SEEDS)
    assert [run["seed"] for run in stored("cleaning")["seeds"]] == list(script("cleaning").SEEDS)


def test_the_exports_keep_what_was_promised():
    texts = stored("export")["texts"]["test"]
    assert texts["onnx"]["max_difference"] <= 1e-3
    assert texts["int8"]["agreement"] >= 0.99
    assert texts["int8"]["megabytes"] <= texts["torch"]["megabytes"] / 2


def test_the_service_answered_every_request_with_the_right_status(script):
    service_load, measured = script("service_load"), stored("service_load")
    for engine in service_load.ENGINES:
        kinds = measured["engines"][engine]["kinds"]
        assert measured["engines"][engine]["alive_afterwards"]
        assert {kind: row["status"] for kind, row in kinds.items()} == service_load.MIX
        assert sum(row["requests"] for row in kinds.values()) == measured["requests"] == 1000
