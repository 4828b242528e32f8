"""The files around the code keep their promises: lock, ranges, README."""

import importlib
import json
import re
import shlex
import shutil
import statistics
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement

from helpers import environment
from helpers.cli import build_parser
from helpers.files import ROOT

COLAB = {
    "torch": "2.11.0", "torchvision": "0.26.0", "transformers": "5.15.0", "accelerate": "1.14.0",
    "peft": "0.20.0", "timm": "1.0.28", "numpy": "2.1.3", "pandas": "2.2.3", "matplotlib": "3.10.0",
    "scikit-learn": "1.6.1", "pillow": "11.3.0", "ipywidgets": "7.7.1",
}  # fmt: skip


def direct_requirements():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_doctor_looks_at_every_requirement():
    assert list(environment.packages()) == [requirement.name for requirement in direct_requirements()]


def pins():
    """{name: [version, ...]} of the lock; some packages have one version per Python."""
    found = {}
    for name, version in re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)",
        (ROOT / "requirements.lock").read_text(encoding="utf-8"),
        flags=re.M,
    ):
        found.setdefault(name.lower(), []).append(version)
    return found


def test_lock_pins_every_direct_dependency_inside_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    extra = [Requirement(line) for line in [*extras["lab"], *extras["tables"]]]
    assert extra[0].name == project["project"]["name"]  # the lab has the tables
    assert extra[0].extras == {"tables"}
    for requirement in direct_requirements() + extra[1:]:
        versions = pins()[requirement.name.lower()]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_every_pin_has_a_hash_and_no_host_is_named():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9._-]+==)", lock, flags=re.M)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in lock


def test_ranges_admit_colab_and_the_newest():
    for requirement in direct_requirements():
        if requirement.name in COLAB:
            assert requirement.specifier.contains(COLAB[requirement.name]), requirement
        assert all(specifier.operator == ">=" for specifier in requirement.specifier), requirement


def test_the_readmes_commands_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"`(?:torchrun --nproc_per_node 2 -m|python -m) helpers ([^`]+)`", readme)
    assert len(commands) >= 10
    for command in commands:
        if "..." not in command and "--help" not in command:
            build_parser().parse_args(shlex.split(command))


BENCHMARKS = ROOT / "benchmarks"


def test_make_results_makes_every_result_file(monkeypatch):
    assert "benchmarks/all_results.py" in (ROOT / "Makefile").read_text(encoding="utf-8")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    parts = importlib.import_module("all_results").PARTS
    files_of = (re.sub(r"\.py|_(finish|full)$", "", part.replace(" ", "_")) for part in parts)
    called = list(files_of)
    # Those of a GPU are made by hand, where there is one; two have commands of their own in the Makefile.
    stems = sorted(file.stem for file in (BENCHMARKS / "results").iterdir())
    by_themselves = ("times", "colab", "durations")
    files = [stem for stem in stems if not stem.startswith("gpu_") and stem not in by_themselves]
    assert sorted(called) == files
    read = {
        name
        for path in [ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
        for name in re.findall(r"(\w+)\.json", path.read_text(encoding="utf-8"))
        if (BENCHMARKS / f"{name}.py").exists()
    }
    assert read <= set(files)


@pytest.mark.skipif(
    shutil.which("make") is None or not (ROOT / ".venv" / "ready").exists(),
    reason="the set-up was not made by make here",
)
def test_a_second_set_up_does_nothing():
    done = subprocess.run(["make", "--question", "setup"], cwd=ROOT)
    assert done.returncode == 0, (
        "either the set-up repeats its work, or its inputs changed since: run `make setup` and test again"
    )


def test_every_promise_names_a_test_that_exists():
    """The README's table "What it survives"."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("### What it survives")[1]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table)
    assert len(named) >= 20
    missing = [(file, name) for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing


def test_the_costs_are_those_that_were_measured():
    """The README's table "What it costs" against the stored results."""
    names = ("scale", "threads", "photographs", "rivals", "service_load", "rival_chat")
    scale, threads, photographs, rivals, service, chat = (
        json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8")) for name in names
    )
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("### What it costs")[1].split("##")[0]
    million, classes, predict = scale["prepare"]["1000000"], scale["classes"], scale["predict"]
    ratios, speed, scores = threads["ratios"], rivals["texts"]["speed"], rivals["texts"]["to_score"]
    later = {name: statistics.median(photographs[name]["later_epochs"]) for name in ("copies", "in full")}
    crowd, tuning = service["crowd"], chat["speed"]
    said = [
        f"| {tuning['ours']['median']:.0f}: {tuning['trainer']['ours_to_it']:.2f} and "
        f"{tuning['trl']['ours_to_it']:.2f} times as many",
        f"| {million['seconds']['total']:.0f} s, at most {million['peak_mb'] / 1000:.1f} GB",
        f"after {predict['seconds_to_first_row']} s, all after {predict['seconds']:.0f} s",
        f"| {classes['300']['seconds'] - classes['3']['seconds']:.1f} s and "
        f"{classes['300']['peak_mb'] - classes['3']['peak_mb']} MB more",
        f"| {ratios['default']['two_at_once_to_alone']:.1f} times as long; in a classroom "
        f"{ratios['classroom']['two_at_once_to_alone']:.2f} times",
        f"takes {photographs['copies']['first_epoch']:.1f} s (decoded in full: "
        f"{photographs['in full']['first_epoch']:.1f}), a later one {later['copies']:.2f} s "
        f"({later['in full']:.1f};",
        f"| {photographs['check']['seconds']:.1f} s, no memory more",
        f"| {speed['trainer']['ours_to_it']:.2f}, {speed['trainer_grouped']['ours_to_it']:.2f}, "
        f"{speed['lightning']['ours_to_it']:.2f} and {speed['textbook']['ours_to_it']:.1f} times",
        f"| {scores['trainer']['times_as_fast']:.1f}, {scores['trainer_grouped']['times_as_fast']:.1f} and "
        f"{scores['textbook']['times_as_fast']:.1f} times as fast",
        f"after {crowd['with_idle']['ms_p50']:.0f} ms ({crowd['without_idle']['ms_p50']:.0f} without",
        f"from {crowd['megabytes_after_a_tenth']:.0f} to {crowd['megabytes_after_all']:.0f} MB",
    ]
    assert [words for words in said if words not in table] == []


def test_the_citation_and_the_changes_name_todays_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    cited, changes = ((ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))
    assert re.search(r"^version: (.+)$", cited, flags=re.MULTILINE)[1] == version
    headings = re.findall(r"^## (.+)$", changes, flags=re.MULTILINE)
    assert headings[:2] == ["Not yet released", version]
