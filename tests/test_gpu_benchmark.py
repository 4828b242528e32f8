"""The measurement of a GPU, tried in tiny sizes on the CPU: all of it is packed, measured and stored."""

import importlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from helpers import assets
from helpers.data import splits
from helpers.data.datasets import TextDataset
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.models.pretrained import text_classifier
from helpers.planner import CARDS, SHAPES, Workload, memory

NEEDS_GPU = "needs a GPU"


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield SimpleNamespace(
            **{
                name: importlib.import_module(name)
                for name in ("gpu", "gpu_pack", "gpu_parts", "gpu_language", "gpu_plan")
            }
        )


@pytest.fixture(scope="module")
def packed(scripts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    scripts.gpu.main(["pack", str(folder), "--quick"])
    return folder


@pytest.fixture(scope="module")
def results(packed, tmp_path_factory):
    """What the command writes, as a machine would run it that does not have the course installed."""
    file = tmp_path_factory.mktemp("results") / "gpu_cpu.json"
    options = ["--device", "cpu", "--quick", "--output", str(file)]
    command = [sys.executable, "benchmarks/gpu.py", "measure", str(packed), *options]
    path = os.pathsep.join([str(ROOT), str(ROOT / "notebooks")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(
        file.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(f"found {word}")
    )


def figures(value):
    """Every figure inside a JSON value."""
    if isinstance(value, dict) and "median" in value:
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from figures(part)


def test_every_entry_of_every_part_is_stored(scripts, results):
    plan = scripts.gpu.plan(scripts.gpu.QUICK)
    assert list(results["parts"]) == list(plan)
    for name, part in plan.items():
        rows = results["parts"][name]["rows"]
        assert [
            {key: row[key] for key in entry} for row, entry in zip(rows, part.entries, strict=True)
        ] == part.entries
        assert [row for row in rows if "error" in row] == []
        assert results["parts"][name]["seconds"] >= 0


def test_stored_results_hold_every_entry_with_its_figures_or_a_reason(scripts):
    files = sorted((ROOT / "benchmarks" / "results").glob("gpu_*.json"))
    assert files
    for file in files:
        stored = json.loads(file.read_text(encoding="utf-8"))
        assert (stored["scale"], stored["machine"]["device"]) == ("full", "cuda")
        assert scripts.gpu.results_file(file.parent, stored["machine"]["card"]) == file
        plan = scripts.gpu.plan(scripts.gpu.FULL)
        assert list(stored["parts"]) == list(plan)
        for name, part in plan.items():
            rows = stored["parts"][name]["rows"]
            for row, entry in zip(rows, part.entries, strict=True):
                assert entry.items() <= row.items()
                assert row.keys() & {"skipped", "error"} or list(figures(row)), (name, row)
        for figure in figures(stored):
            assert figure["min"] <= figure["median"] <= figure["max"]


def test_what_needs_a_gpu_says_so(results):
    rows = [(name, row) for name, part in results["parts"].items() for row in part["rows"]]
    for name, row in rows:
        skipped = name == "compile" or row.get("precision") in ("TF32", "fp16")
        assert row.get("skipped") == (NEEDS_GPU if skipped else None), (name, row)
    assert {row["measured"] for name, row in rows if name == "memory"} == {NEEDS_GPU}
    assert {row["at_once"]["ended"] for name, row in rows if name == "out_of_memory"} == {NEEDS_GPU}
    assert all(row["planned_peak"] > 1e6 for name, row in rows if name == "memory")


def test_every_figure_is_complete(results):
    found = list(figures(results))
    assert len(found) > 100
    for figure in found:
        assert set(figure) == {"median", "min", "max", "repeats", "unit"}
        assert figure["min"] <= figure["median"] <= figure["max"]
        assert figure["repeats"] >= 1
    assert all(0 < row["waiting"]["median"] < 1 for row in results["parts"]["loading"]["rows"])


def test_the_machine_and_the_precisions_are_named(scripts, results):
    machine = results["machine"]
    assert (machine["device"], machine["versions"]["torch"]) == ("cpu", torch.__version__.split("+")[0])
    assert {"card", "date", "cpu_cores", "torch_defaults"} <= set(machine)
    assert results["precisions"]["TF32"] == {"autocast": "no", "allow_tf32": True}
    bf16, float32 = (
        {row["precision"]: row for row in results["parts"]["rounding"]["rows"]}[p]
        for p in ("bf16", "float32")
    )
    assert float32["product"]["max"] < 1e-5 < 1e-3 < bf16["product"]["min"]


def test_small_parts_give_the_same_gradient_but_for_batch_norm(results):
    distances = {row["batch_norm"]: row["distance"] for row in results["parts"]["out_of_memory"]["rows"]}
    assert distances["none"]["max"] < 1e-4
    assert distances["frozen"]["max"] < 1e-4
    assert distances["of each part"]["min"] > 1e-2


def test_language_models_are_trained_in_every_way(results):
    rows = results["parts"]["training"]["rows"]
    assert {(row["strategy"], row.get("bits", 32)) for row in rows} == {
        ("full", 32),
        ("lora", 32),
        ("lora", 4),
    }
    assert {row["speed"]["unit"] for row in rows} == {"tokens/s"}
    assert all(row["planned_bytes"] > 1e5 for row in rows + results["parts"]["planner"]["rows"])
    written = {(row["cache"], row["batch"]) for row in results["parts"]["writing"]["rows"]}
    assert written == {(cache, batch) for cache in (True, False) for batch in (1, 2)}


def test_the_planned_trainings_span_what_cards_hold(scripts):
    planned = scripts.gpu.plan(scripts.gpu.FULL)["planner"].entries
    sizes = []
    for entry in planned:
        names = {"bits": "base_bits", "checkpointing": "activation_checkpointing"}
        same = {
            names.get(name, name): entry[name] for name in entry if name not in ("model", "batch", "padding")
        }
        workload = Workload(SHAPES[entry["model"]], entry["batch"], **same)
        sizes.append(memory(workload).total / 1e9)
    assert min(sizes) < 2 < 50 < max(sizes) < 60


def test_the_shape_that_is_measured_is_the_planned_one(scripts):
    bench = SimpleNamespace(scale=scripts.gpu.FULL, device=torch.device("meta"), forget=lambda: None)
    model = scripts.gpu_language.random_model(bench, "smollm2-1.7b")
    assert sum(p.numel() for p in model.parameters()) == SHAPES["smollm2-1.7b"].parameters


def test_what_was_measured_before_is_kept(scripts, bench, monkeypatch):
    monkeypatch.setattr(scripts.gpu_parts, "phases", lambda bench, seed, again=False: {"new": True})
    entries = [{"seed": 1}, {"seed": 1, "again": True}, {"seed": 2}]
    parts = {"first": scripts.gpu.Part("phases", entries)}
    old = [{"seed": 1, "new": False}, {"seed": 2, "skipped": "3 s were left"}]
    results = {"parts": {}}
    earlier = {"first": {"seconds": 5.0, "rows": old}}
    scripts.gpu.run(parts, bench, results, time.monotonic() + 60, lambda results: None, earlier)
    assert [row["new"] for row in results["parts"]["first"]["rows"]] == [False, True, True]
    assert results["parts"]["first"]["seconds"] >= 5


def test_a_run_that_is_cut_off_loses_no_earlier_figure(scripts, bench, monkeypatch):
    """What is stored after the first new entry holds every figure of the run before, of later parts, too."""
    monkeypatch.setattr(scripts.gpu_parts, "rounding", lambda bench, **_: {"product": {"median": 1.0}})
    parts = {name: scripts.gpu_plan.Part("rounding", [{"n": 1}, {"n": 2}]) for name in ("first", "second")}
    stored = {"n": 2, "product": {"median": 7.0}}
    earlier = {name: {"seconds": 1.0, "rows": [{"n": 1, "skipped": "no time"}, stored]} for name in parts}
    kept, results = [], {"parts": {}}
    keep = lambda results: kept.append(json.loads(json.dumps(results)))
    scripts.gpu.run(parts, bench, results, time.monotonic() + 60, keep, earlier)
    assert [part["rows"][1] for part in kept[0]["parts"].values()] == [stored, stored]


def test_figures_of_another_machine_are_not_kept(scripts, results, tmp_path):
    file, now = tmp_path / "gpu.json", results["machine"]
    assert scripts.gpu.earlier_run(file, now)["parts"] == {}
    file.write_text(json.dumps(results), encoding="utf-8")
    assert scripts.gpu.earlier_run(file, now) == results
    changed = now | {"card": "other", "versions": now["versions"] | {"torch": "1.0"}}
    with pytest.raises(InputError, match="has another torch, card; measure all anew, without --keep"):
        scripts.gpu.earlier_run(file, changed)


def test_the_case_studies_are_scored(results):
    for row in results["parts"]["case_studies"]["rows"]:
        assert row["rows"] == {"train": 8, "validation": 4, "test": 16}
        assert row["steps"] == 4
        assert 0 <= row["validation"]["macro_f1"] <= 1
        low, high = row["test"]["macro_f1_interval"]
        assert low <= row["test"]["macro_f1"] <= high


def test_packed_rows_are_those_of_the_recipe(scripts, packed, parts):
    bench = scripts.gpu_pack.Bench(packed, scripts.gpu.QUICK, packed)
    classifier = text_classifier()
    frame = splits.subsample(parts["train"], 16)
    dataset = TextDataset(frame, classifier.preprocessor, classifier.classes)
    rows = scripts.gpu_pack.TokenRows(bench.comments, "train", 16)
    assert rows.input_ids == dataset.input_ids
    assert rows.labels.tolist() == dataset.labels.tolist()
    assert rows.lengths.tolist() == dataset.lengths.tolist()


def test_packed_weights_are_the_embedded_ones_in_half_precision(scripts, packed):
    bench = scripts.gpu_pack.Bench(packed, scripts.gpu.QUICK, packed)
    state, body = (
        bench.build("minilm").model.state_dict(),
        load_file(assets.path("minilm") / "model.safetensors"),
    )
    known = bench.known_tokens
    for name, tensor in state.items():
        if name.startswith("classifier."):
            continue
        expected = body[name.removeprefix("bert.")]
        if "word_embeddings" in name:
            tensor, expected = tensor[known], expected[known]
        assert torch.equal(tensor, expected.half().float()), name
    head = bench.build("efficientnet_lite0").model.classifier
    assert head.out_features == 10


def test_a_folder_that_is_too_large_is_refused(scripts, packed, monkeypatch):
    monkeypatch.setattr(scripts.gpu_pack, "MOST_MEGABYTES", 1)
    with pytest.raises(InputError, match=r"must stay below 1 MB, found \d"):
        scripts.gpu_pack.check_size(packed)


@pytest.fixture
def bench(scripts):
    return SimpleNamespace(scale=scripts.gpu.QUICK, forget=lambda: None)


def run(scripts, parts, bench, deadline):
    kept, results = [], {"parts": {}}
    scripts.gpu.run(parts, bench, results, deadline, lambda results: kept.append(json.dumps(results)))
    assert json.loads(kept[-1]) == results  # what is stored is never behind
    return {name: part["rows"] for name, part in results["parts"].items()}


def test_a_failing_entry_loses_no_other(scripts, bench, monkeypatch, capsys):
    def fails(bench, seed):
        if seed == 1:
            raise RuntimeError("no luck\nwith details")
        return {"score": float("nan") if seed == 2 else 0.5}

    monkeypatch.setattr(scripts.gpu_parts, "phases", fails)
    monkeypatch.setattr(scripts.gpu_parts, "memory", lambda bench, seed: {"score": 0.25})
    entries = scripts.gpu_plan.axis("seed", [1, 2, 3])
    parts = {"first": scripts.gpu.Part("phases", entries), "second": scripts.gpu.Part("memory", entries[:1])}
    rows = run(scripts, parts, bench, time.monotonic() + 60)
    assert rows["first"][0] == {"seed": 1, "error": "RuntimeError: no luck"}
    assert rows["first"][1]["error"].startswith("ValueError: Out of range float values")
    assert rows["first"][2] == {"seed": 3, "score": 0.5}
    assert rows["second"] == [{"seed": 1, "score": 0.25}]
    assert "no luck" in capsys.readouterr().err


def test_nothing_begins_after_the_deadline(scripts, bench, monkeypatch):
    monkeypatch.setattr(scripts.gpu_parts, "phases", lambda bench, seed: time.sleep(0.2) or {"done": True})
    part = scripts.gpu.Part("phases", scripts.gpu_plan.axis("seed", range(4)))
    rows = run(scripts, {"first": part, "second": part}, bench, time.monotonic() + 0.3)
    assert [row.get("done", False) for row in rows["first"]] == [True, True, False, False]
    assert rows["second"] == [{"seed": seed, "skipped": "0 s were left"} for seed in range(4)]


def test_what_takes_longer_than_what_is_left_does_not_begin(scripts, bench, monkeypatch):
    monkeypatch.setattr(scripts.gpu_parts, "phases", lambda bench: {"done": True})
    bench.scale = scripts.gpu.FULL
    parts = {needs: scripts.gpu.Part("phases", [{}], float(needs)) for needs in ("100", "10")}
    rows = run(scripts, parts, bench, time.monotonic() + 60)
    assert rows["100"][0]["skipped"] in ("60 s were left", "59 s were left")
    assert rows["10"] == [{"done": True}]


def test_the_command_keeps_its_minutes(scripts, packed, tmp_path):
    file = scripts.gpu.measure(packed, tmp_path / "late.json", 0, scripts.gpu.QUICK)
    parts = json.loads(file.read_text(encoding="utf-8"))["parts"]
    assert list(parts) == list(scripts.gpu.plan(scripts.gpu.QUICK))
    assert {row["skipped"] for part in parts.values() for row in part["rows"]} == {"0 s were left"}


def test_a_wrong_call_gets_one_sentence(scripts, packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    calls = {
        "torch finds no GPU here": [str(packed)],
        "give --output FILE": [str(packed), "--device", "cpu", "--quick"],
        "holds no packed course": [
            str(tmp_path),
            "--device",
            "cpu",
            "--quick",
            "--output",
            str(tmp_path / "x.json"),
        ],
    }
    for sentence, arguments in calls.items():
        with pytest.raises(SystemExit) as ended:
            scripts.gpu.main(["measure", *arguments])
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err


def test_the_file_is_named_by_the_card(scripts, tmp_path):
    assert (
        scripts.gpu.results_file(tmp_path, "NVIDIA H100 80GB HBM3").name == "gpu_nvidia_h100_80gb_hbm3.json"
    )
    assert scripts.gpu.results_file(tmp_path / "here.json", "NVIDIA H200") == tmp_path / "here.json"


@pytest.fixture
def pretended_gpu(scripts, packed, tmp_path, monkeypatch):
    """A bench that takes the CPU for a GPU of 1,000 bytes; what it is asked to do is in `asked`."""
    asked = SimpleNamespace(peaks=iter(range(100, 100_000, 100)), shares=[])
    nothing = lambda *_: None
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, nothing)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 50)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(asked.peaks))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (600, 1000))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.shares.append)
    bench = scripts.gpu_pack.Bench(packed, scripts.gpu.QUICK, tmp_path)
    bench.on_gpu, bench.asked = True, asked
    return bench


def test_on_a_gpu_the_peak_stands_beside_the_plan(scripts, pretended_gpu):
    found = scripts.gpu_parts.memory(pretended_gpu, "efficientnet_lite0", "TF32", 2, size=32)
    assert found["measured"] == {"median": 150.0, "min": 50.0, "max": 250.0, "repeats": 3, "unit": "bytes"}


def test_on_a_gpu_the_limit_lies_between_the_two_ways_and_is_taken_back(scripts, pretended_gpu):
    found = scripts.gpu_parts.out_of_memory(pretended_gpu, "efficientnet_lite0", "frozen", size=32)
    assert found["at_once"]["peak_bytes"] < found["limit_bytes"] < found["in_parts"]["peak_bytes"]
    assert pretended_gpu.asked.shares == [found["limit_bytes"] / 1000, 1.0] * 2
    assert found["at_once"]["ended"] == found["in_parts"]["ended"] == "ok"


def test_running_out_of_memory_is_a_sentence_and_the_limit_is_taken_back(scripts, pretended_gpu):
    def call():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    ended = scripts.gpu_parts.ended_under(500, call, torch.nn.Linear(1, 1))
    assert ended == "CUDA out of memory"
    assert pretended_gpu.asked.shares == [0.5, 1.0]


def test_tf32_is_switched_for_its_measurement_alone(scripts, pretended_gpu):
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (products.allow_tf32, convolutions.allow_tf32)
    for precision, allowed in {"float32": False, "TF32": True, "bf16": False}.items():
        with scripts.gpu_parts.numbers(precision, pretended_gpu):
            assert (products.allow_tf32, convolutions.allow_tf32) == (allowed, allowed)
    assert (products.allow_tf32, convolutions.allow_tf32) == before


def test_jpegs_are_like_photographs(scripts, packed, tmp_path):
    bench = scripts.gpu_pack.Bench(packed, scripts.gpu.FULL, tmp_path)
    bench.scale = SimpleNamespace(jpegs=2, jpeg_size=scripts.gpu.FULL.jpeg_size)
    first, second = (np.asarray(Image.open(file), dtype=float) for file in bench.jpegs)
    assert not np.array_equal(first, second)
    assert first.shape == (375, 500, 3)
    assert all(80 < os.path.getsize(file) / 1000 < 160 for file in bench.jpegs)
    neighbours = np.corrcoef(first[:, :-1, 0].ravel(), first[:, 1:, 0].ravel())[0, 1]
    assert neighbours > 0.8  # of white noise it is 0


def test_a_card_is_known_by_its_name(scripts):
    names = {"NVIDIA H100 80GB HBM3": "h100", "NVIDIA GeForce RTX 4090": "rtx4090", "NVIDIA L40S": None}
    names |= {"NVIDIA A100-SXM4-80GB": "a100", "NVIDIA L4": "l4", "NVIDIA H200": "h200"}
    for name, key in names.items():
        assert scripts.gpu_language.card_named(name) == CARDS.get(key)
