"""The chapters find the newest measurement of a GPU, and only what was really measured in it."""

import ast
import functools
import json

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
    "phases": [TEXT | {"workers": 0, "synchronised": True, "phases": {"data": {"median": 2.0}}}],
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
    where = "B, 2027-01-02, torch 2.11.0, CUDA 13.0, driver 580.1, in a run of at most 8 minutes"
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
    where = "A, 2026-11-20, torch 2.11.0, CUDA 13.0, driver 580.1, in a short run of at most 1.5 minutes"
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
            assert text.startswith("Measured on NVIDIA H200, 2026-11-20, torch 2.11.0")
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


def test_the_readme_names_the_measured_card_and_its_parts():
    stored = stored_gpu_results()
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("### Hardware")[1].split("\n## ")[0]
    machine = stored["machine"]
    versions = (f"torch {machine['versions']['torch']}", f"CUDA {machine['versions']['cuda']}")
    for named in (
        machine["card"],
        machine["date"],
        machine["driver"],
        f"{stored['minutes']:g} of",
        *versions,
    ):
        assert named in section
    for name, part in stored["parts"].items():
        found = measured(stored, name)
        assert not found or f"{len(found)} of {len(part['rows'])}" in section, name


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
