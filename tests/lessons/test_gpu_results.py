"""The chapters find the newest measurement of a GPU, and only what was really measured in it."""

import ast
import functools
import json
import re

import pytest

from helpers.files import ROOT
from lessons import gpu_results
from lessons.gpu_results import card, measured, stored_gpu_results

ELSEWHERE = "README.md, Hardware, says what a GPU has measured."
SPEED = {"speed": {"median": 5.0, "min": 4.0, "max": 6.0}, "peak_bytes": 7e9}
CASE = {
    "training_rows": 2000, "rows": {"train": 2000}, "epochs": 3, "precision": "bf16",
    "whole": {"median": 9.0}, "test": {"macro_f1": 0.7, "macro_f1_interval": [0.6, 0.8]},
}  # fmt: skip
TEXT, RESNET = {"model": "minilm", "batch": 64}, {"model": "resnet50", "size": 224, "batch": 128}
WAY = {"seconds": {"median": 0.2}, "peak_bytes": 3e9, "ended": "ok"}
# Of each part that a chapter shows one whole entry for each cell that shows it.
WHOLE = {
    "rounding": [{"precision": "bf16", "product": {"median": 3e-3}}],
    "text_speed": [
        TEXT | {"tokens": tokens, "mode": "training", "precision": "bf16"} | SPEED for tokens in (32, 128)
    ],
    "image_speed": [RESNET | {"mode": "training", "layout": "channels_last", "precision": "bf16"} | SPEED],
    "phases": [TEXT | {"workers": 0, "synchronised": True, "phases": {"data": SPEED["speed"]}}],
    "memory": [TEXT | {"tokens": 32, "precision": "bf16", "planned_peak": 9e8, "measured": {"median": 8e8}}],
    "out_of_memory": [
        TEXT | {"batch_norm": "none", "rows": 256, "parts": 8, "limit_bytes": 5e9, "at_once": WAY}
        | {"in_parts": WAY, "distance": {"median": 1e-6}}
    ],
    "case_studies": [CASE | {"task": task} for task in ("text", "images")],
    "loading": [RESNET | {"mode": "training", "workers": 2, "waiting": {"median": 0.5}} | SPEED],
    "compile": [TEXT | {name: {"median": 4.0} for name in ("plain", "compiled", "first_step")}],
}  # fmt: skip


def results(
    card="NVIDIA H200", date="2026-11-20", device="cuda", scale="full", rows=(), minutes=8, parts=None
):
    versions = {"torch": "2.11.0", "cuda": "13.0"}
    machine = {"card": card, "date": date, "device": device, "driver": "580.1", "versions": versions}
    parts = {"text_speed": list(rows)} if parts is None else parts
    parts = {name: {"seconds": 1.0, "rows": rows} for name, rows in parts.items()}
    return {"scale": scale, "minutes": minutes, "machine": machine, "parts": parts}


def store(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def test_nothing_is_found_where_nothing_was_measured(tmp_path):
    assert stored_gpu_results(tmp_path) is None
    store(tmp_path, gpu_x86=results(device="cpu"), gpu_tried=results(scale="quick"), images=results())
    assert stored_gpu_results(tmp_path) is None
    assert card(None) == ELSEWHERE
    assert measured(None, "text_speed") == []


def test_the_newest_card_is_shown(tmp_path):
    store(
        tmp_path,
        gpu_a=results("A", "2026-11-20"),
        gpu_b=results("B", "2027-01-02"),
        gpu_c=results("C", "2026-12-31"),
    )
    found = stored_gpu_results(tmp_path)
    where = "B, torch 2.11.0, CUDA 13.0, driver 580.1, in at most 8 minutes, the last on 2027-01-02"
    assert card(found) == f"Measured on {where}:"


def test_only_whole_entries_with_the_wanted_values_are_found():
    speed = {"speed": {"median": 5.0}}
    rows = [
        {"mode": "training", "batch": 16} | speed,
        {"mode": "training", "batch": 64, "error": "RuntimeError: no"},
        {"mode": "training", "batch": 256, "skipped": "3 s were left"},
        {"mode": "inference", "batch": 16} | speed,
    ]
    stored = results(rows=rows)
    assert measured(stored, "text_speed", mode="training") == rows[:1]
    assert measured(stored, "text_speed") == [rows[0], rows[3]]
    assert measured(stored, "text_speed", layout="planes") == []
    assert measured(stored, "never") == []


def test_one_sentence_says_where_it_was_measured_or_where_to_look():
    rows = [{"batch": 16} | SPEED, {"batch": 64, "error": "RuntimeError: no"}]
    parts = {"text_speed": rows, "phases": [{"workers": 0, "skipped": "4 s were left"}], "memory": []}
    stored = results("A", parts=parts, minutes=1.5)
    where = "A, torch 2.11.0, CUDA 13.0, driver 580.1, in at most 1.5 minutes, the last on 2026-11-20"
    assert card(stored, "phases", "text_speed") == f"Measured on {where}:"
    assert card(stored, "phases", "memory", "compile") == ELSEWHERE


def test_language_models_are_shown_in_one_call():
    way = {"model": "smollm2-135m", "batch": 8, "tokens": 512, "precision": "bf16"} | SPEED
    sizes = {"planned_bytes": 6e9, "peak_bytes": 5e9, "efficiency": 0.25}
    rows = [way | {"strategy": "lora", "bits": 4, "checkpointing": True} | sizes, way | {"error": "no"}]
    written = [way | {"cache": True}]
    stored = results(parts={"training": rows, "writing": written})
    first, *lines = gpu_results.language_models(stored, "training").splitlines()
    assert first.startswith("Measured on NVIDIA H200")
    (line,) = lines
    for part in (
        "4-bit LoRA, bf16, checkpointing",
        "5 tokens/s",
        "peak   5.0 GB, planned   6.0 GB (+20%)",
        "25%",
    ):
        assert part in line
    assert "with cache" in gpu_results.language_models(stored, "writing")
    assert gpu_results.language_models(stored, "planner") == ELSEWHERE
    assert gpu_results.language_models(None, "planner") == ELSEWHERE


def gpu_cells(path):
    """The code of a chapter's cells that show what a GPU has measured."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [source for source in code if "gpu_results.measured(" in source]


CHAPTERS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if gpu_cells(path)]
FIGURES = {"precision", "model", "mode", "task", "tokens", "size", "batch", "layout", "workers"}


def shown(path, folder, monkeypatch, capsys):
    """What each of these cells of the chapter prints when the results lie in `folder`."""
    monkeypatch.setattr(gpu_results, "stored_gpu_results", functools.partial(stored_gpu_results, folder))
    names = {"gpu_results": gpu_results, "stored": stored_gpu_results(folder)}  # as an earlier cell reads it
    texts = []
    for source in gpu_cells(path):
        exec(source, names)
        texts.append(capsys.readouterr().out)
    return texts


def without_figures(parts, reason):
    return {
        name: [{key: row[key] for key in row if key in FIGURES} | reason for row in rows]
        for name, rows in parts.items()
    }


def test_five_chapters_show_what_a_gpu_has_measured():
    assert [path.stem[:2] for path in CHAPTERS] == ["01", "03", "04", "06", "07"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:2])
class TestCells:
    def test_a_whole_file_is_shown_without_a_gap(self, path, tmp_path, monkeypatch, capsys):
        store(tmp_path, gpu_a=results(parts=WHOLE))
        for text in shown(path, tmp_path, monkeypatch, capsys):
            assert text.startswith("Measured on NVIDIA H200, torch 2.11.0")
            assert text.count("\n") > 1

    @pytest.mark.parametrize("reason", [{"skipped": "4 s were left"}, {"error": "RuntimeError: no"}, None])
    def test_what_is_missing_is_told_in_the_readme_alone(self, path, reason, tmp_path, monkeypatch, capsys):
        parts = {} if reason is None else without_figures(WHOLE, reason)
        store(tmp_path, gpu_a=results(parts=parts, minutes=1.35))
        assert set(shown(path, tmp_path, monkeypatch, capsys)) == {f"{ELSEWHERE}\n"}

    @pytest.mark.parametrize("missing", WHOLE)
    def test_one_missing_part_hides_no_other(self, path, missing, tmp_path, monkeypatch, capsys):
        store(tmp_path, gpu_a=results(parts={part: WHOLE[part] for part in WHOLE if part != missing}))
        for source, text in zip(gpu_cells(path), shown(path, tmp_path, monkeypatch, capsys), strict=True):
            parts = [part for part in WHOLE if f'"{part}"' in source]
            assert (text == f"{ELSEWHERE}\n") == (parts == [missing])
            assert (text.count("\n") > 1) == (parts != [missing])

    def test_the_stored_outputs_are_those_of_the_stored_results(self, path, monkeypatch, capsys):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        stored = [
            "".join("".join(output["text"]) for output in cell["outputs"])
            for cell in cells
            if cell["cell_type"] == "code" and "gpu_results.measured(" in "".join(cell["source"])
        ]
        assert shown(path, gpu_results.RESULTS, monkeypatch, capsys) == stored


def test_chapter_12_shows_the_stored_plans():
    cells = json.loads((ROOT / "notebooks" / "12_beyond_one_machine.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    (cell,) = [cell for cell in cells if "gpu_results.language_models(" in "".join(cell["source"])]
    stored = "".join("".join(output["text"]) for output in cell["outputs"])
    assert stored == gpu_results.language_models(stored_gpu_results(), "planner") + "\n"


@pytest.fixture(scope="module")
def hardware():
    """README's section on what a GPU has measured."""
    return (ROOT / "README.md").read_text(encoding="utf-8").split("### Hardware")[1].split("\n## ")[0]


def test_the_readme_names_the_measured_card_and_all_entries(hardware):
    stored = stored_gpu_results()
    machine, parts = stored["machine"], stored["parts"]
    versions = (f"torch {machine['versions']['torch']}", f"CUDA {machine['versions']['cuda']}")
    minutes = sum(part["seconds"] for part in parts.values()) / 60
    said = f"at most {stored['minutes']:g} minutes, of which the parts took {minutes:.1f}"
    cores = f"{machine['card']} beside {machine['cpu_cores']} CPU cores"
    for named in (cores, machine["date"], machine["driver"], said, *versions):
        assert named in hardware
    entries = [row for part in parts.values() for row in part["rows"]]
    assert f"all {len(entries)} entries of its {len(parts)} parts" in hardware
    assert sum(len(measured(stored, name)) for name in parts) == len(entries)


ON_CPU = {
    ("text", 2000): "comments, 2,000 training rows",
    ("text", 0): "comments, all training rows",
    ("images", 2000): "animals, 2,000 training images",
}


def test_the_readme_tells_the_two_jobs_as_they_were_measured(hardware):
    jobs = json.loads((gpu_results.RESULTS / "case_studies.json").read_text(encoding="utf-8"))
    rows = measured(stored_gpu_results(), "case_studies")
    assert len(rows) == 4
    for row in rows:
        test, (low, high) = row["test"], row["test"]["macro_f1_interval"]
        accuracies = [f"{score['accuracy']:.3f}" for score in (row["validation"], test)]
        said = rf"{accuracies[0]}( on validation)? and {accuracies[1]}( on test rows, test macro-F1|,) "
        said += rf"{test['macro_f1']:.3f} \({low:.3f} to {high:.3f}\), {row['whole']['median']:.0f} s"
        assert re.search(said, hardware), said
        job = ON_CPU.get((row["task"], row["training_rows"]))
        assert job is None or low < jobs[job]["test"]["macro_f1"] < high, job


def median(part: str, figure: str = "speed", **names) -> float:
    """The median of the one stored entry with these values."""
    (row,) = measured(stored_gpu_results(), part, **names)
    return row[figure]["median"]


def test_the_readme_tells_speeds_as_they_were_measured(hardware):
    texts = {"part": "text_speed", "mode": "training", "batch": 256, "tokens": 32}
    images = {"part": "image_speed", "mode": "training", "batch": 128, "layout": "channels_last", "size": 224}
    files = {"part": "loading", "model": "efficientnet_lite0", "mode": "training"}
    cached, anew = ({"part": "writing", "tokens": 128, "cache": cache} for cache in (True, False))
    single, half = {"precision": "float32"}, {"precision": "bf16"}
    large, small = images | {"model": "resnet50"}, images | {"model": "efficientnet_lite0"}
    for said in (
        f"{median(**texts, **single):,.0f} per second in float32 and {median(**texts, **half):,.0f} in bf16",
        f"ResNet50 learns from {median(**large, **single):,.0f} pictures of 224 pixels per second",
        f"from {median(**large, **half):,.0f} in bf16, EfficientNet-Lite0",
        f"Lite0 from {median(**small, **single):,.0f} and {median(**small, **half):,.0f}.",
        f"from {median(**files, workers=0):,.0f} pictures per second without workers",
        f"from {median(**files, workers=8):,.0f} with eight",
        f"waits for {median(**files, workers=8, figure='waiting'):.0%} of the time",
        f"writes {median(**cached, batch=1):.0f} tokens per second in one row",
        f"and {median(**cached, batch=64):.0f} in 64 rows together",
        f"without a cache {median(**anew, batch=1):.0f} and {median(**anew, batch=64):.0f}:",
    ):
        assert said in hardware


def test_what_the_chapters_conclude_is_what_the_gpu_has_measured(hardware):
    stored = stored_gpu_results()
    text, images = measured(stored, "compile")
    assert text["plain"]["median"] < text["compiled"]["median"] < text["plain"]["max"]
    assert images["compiled"]["median"] < images["plain"]["median"]
    for row in measured(stored, "out_of_memory"):
        assert (row["at_once"]["ended"], row["in_parts"]["ended"]) == ("CUDA out of memory", "ok")
        assert row["limit_bytes"] < 0.6 * row["at_once"]["peak_bytes"]
        is_other = row["batch_norm"] == "of each part"
        distance = row["distance"]["median"]
        assert (distance > 1e-5) == is_other
        assert not is_other or f"(a relative distance of {distance:.2f})" in hardware
    plans = {True: [], False: []}  # planned over measured, of MiniLM and of the networks for pictures
    for row in measured(stored, "memory"):
        plans[row["model"] == "minilm"].append(row["planned_peak"] / row["measured"]["median"])
    said = [f"{min(ratios):.2f} to {max(ratios):.2f}" for ratios in (plans[False], plans[True])]
    assert (
        "{} of the measured peak for networks of pictures and {} of it for MiniLM".format(*said) in hardware
    )
    steps = [
        row["batch"] / row["speed"]["median"]
        for row in measured(stored, "text_speed", mode="training", tokens=32, precision="float32")
    ]
    assert max(steps) < 1.25 * min(steps)
    many, few = (median("loading", size=96, workers=workers) for workers in (8, 0))
    assert many > 5 * few


def names_of(source: str, context: type) -> set[str]:
    """Names that a cell reads (`ast.Load`) or leaves behind (`ast.Store`), but for comprehensions' own."""
    nodes = list(ast.walk(ast.parse(source)))
    targets = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    inner = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, context)} - inner


def assigned(source: str) -> set[str]:
    return names_of(source, ast.Store)


def read(source: str) -> set[str]:
    return names_of(source, ast.Load)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0*.ipynb")), ids=lambda p: p.stem[:2])
def test_no_cell_on_a_gpu_changes_what_the_chapter_uses_later(path):
    """Its loops run where a GPU has measured, and nowhere else: the chapter would break there alone."""
    book = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for place, cell in enumerate(cells):
        if "gpu_results.measured(" not in cell["source"]:
            continue
        before = set().union(*(assigned(other["source"]) for other in cells[:place]))
        for name in assigned(cell["source"]) & before:
            following = [other["source"] for other in cells[place + 1 :]]
            using = next((text for text in following if name in read(text) | assigned(text)), "")
            assert name not in read(using) or name in assigned(using), (cell["id"], name)


def test_the_planned_peaks_are_near_the_measured_ones_and_the_readme_says_how_near():
    stored, words = stored_gpu_results(), (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row for part in ("planner", "training", "sharing_out") for row in measured(stored, part)]
    ratios = [row["planned_bytes"] / row["peak_bytes"] for row in rows]
    assert len(measured(stored, "planner")) >= 6
    assert 0.85 < min(ratios) <= max(ratios) < 1.15
    smallest, largest = (choose(row["peak_bytes"] for row in rows) / 1e9 for choose in (min, max))
    assert f"all {len(rows)} trainings of language models" in words
    assert f"({smallest:.1f} to {largest:.1f} GB)" in words
    assert f"{min(ratios):.3f} to {max(ratios):.3f} of the measured one" in words
