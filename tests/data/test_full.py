"""Full scale on small data of the same form: the table, the download, the rows, the chapters' cells."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from torchvision.datasets import Flowers102, OxfordIIITPet
from torchvision.models import ResNet50_Weights

from helpers import assets, cli
from helpers.data import cleaning, full, full_download, sources
from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.models.adapters import has_lora
from helpers.models.language import language_model, load_language_model
from helpers.models.pretrained import image_classifier, load_classifier, save_classifier, text_classifier
from helpers.runs import recipes
from helpers.training.loop import fit
from helpers.tuning.freezing import begin_strategy, num_trainable
from helpers.tuning.layers import layer_groups

ENCODERS = ("bert-base-uncased", "roberta-base", "modernbert-base")
WRITERS = ("smollm2-360m", "smollm2-1.7b")


@pytest.fixture(scope="module")
def standing_in(tmp_path_factory, standins):
    """A folder with everything that full scale needs but ResNet50: `data/full` and `hub`."""
    root = tmp_path_factory.mktemp("full")
    standins.pets(root / "data" / "full")
    standins.flowers(root / "data" / "full")
    for name in ENCODERS:
        standins.encoder(root / "hub", name)
    for name in WRITERS:
        standins.writer(root / "hub", name)
    standins.tweets(root / "hub")
    return root


@pytest.fixture
def here(standing_in, monkeypatch):
    """This machine, after `fetch --full`, without a network."""
    from huggingface_hub import constants

    # Only what full scale adds lies elsewhere: the embedded weights stay where they are.
    monkeypatch.setattr(full, "place", lambda asset: standing_in / "data" / "full" / (asset.folder or "none"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(standing_in / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("COURSE_SCALE", "full")
    mats = ("label", "imagelabels.mat"), ("setid", "setid.mat")
    folder = standing_in / "data" / "full" / "flowers-102"
    md5 = {key: (name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for key, name in mats}
    monkeypatch.setattr(Flowers102, "_file_dict", Flowers102._file_dict | md5)


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(assets, "FOLDER", tmp_path / "data")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_the_table_pins_everything():
    for name, asset in full.ASSETS.items():
        assert asset.group in full.GROUPS, name
        assert asset.licence, name
        assert asset.checked, f"{name}: say in README that nobody could verify this pin"
        if asset.revision:
            assert re.fullmatch("[0-9a-f]{40}", asset.revision), name
        else:
            assert all({"url", "size"} <= set(file) and {"md5", "sha256"} & set(file) for file in asset.files)
        largest = max(asset.files, key=lambda file: file.get("size", 0))
        assert asset.is_data or {"md5", "sha256"} & set(largest), name


def test_the_table_says_what_torchvision_says():
    pinned = {
        file["url"]: file.get("md5")
        for asset in full.ASSETS.values()
        for file in asset.files
        if "url" in file
    }
    expected = dict(OxfordIIITPet._RESOURCES)
    expected |= {Flowers102._download_url_prefix + name: md5 for name, md5 in Flowers102._file_dict.values()}
    assert expected.items() <= pinned.items()
    (file,) = full.ASSETS["resnet50"].files
    assert file["url"] == ResNet50_Weights.IMAGENET1K_V2.url
    assert file["name"] == f"resnet50-{file['sha256'][:8]}.pth"


def test_what_is_missing_is_said_and_never_downloaded(nothing_here, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "full")
    for embedded, wanted in (("minilm", "roberta-base"), ("efficientnet_lite0", "resnet50"), (None, "pets")):
        group = full.ASSETS[wanted].group
        with pytest.warns(
            UserWarning, match=f"{wanted} is not .*`python -m helpers fetch --full {group}` gets it"
        ):
            assert full.choose(embedded, wanted) == embedded
    for name in ("pets", "tweet_eval"):
        with pytest.raises(
            InputError, match=f"{name} is not on this machine; `python -m helpers fetch --full"
        ):
            sources.NAMED[name][1]()


def test_scale_and_what_is_here_decide(here, monkeypatch):
    assert full.choose("minilm", "roberta-base") == "roberta-base"
    assert full.choose(None, "pets") == "pets"
    monkeypatch.setenv("COURSE_SCALE", "quick")
    assert full.choose("minilm", "roberta-base") == "minilm"
    assert full.choose(None, "pets") is None


def test_half_a_model_is_not_here(here, monkeypatch):
    name = "bert-base-uncased"
    lacking = replace(full.ASSETS[name], files=(*full.ASSETS[name].files, {"name": "another.json"}))
    monkeypatch.setitem(full.ASSETS, name, lacking)
    assert not full.is_here(name)


# The rows


def test_pets_are_rows_with_the_names_of_their_breeds(here):
    frame = sources.photographs("pets")
    assert list(frame) == ["id", "group", "path", "label", "part"]
    assert len(frame) == 37 * 12
    assert frame["label"].nunique() == 37
    assert frame["id"].is_unique
    assert (frame["id"] == frame["group"]).all()
    stems = frame["path"].str.extract(r"([^/\\]+)_\d+\.jpg$")[0]
    assert (stems.str.replace("_", " ").str.title() == frame["label"]).all()
    assert frame["part"].value_counts().to_dict() == {"trainval": 222, "test": 222}


def test_flowers_are_rows_with_the_names_of_their_species(here):
    frame = sources.photographs("flowers")
    assert len(frame) == 306
    assert frame["label"].nunique() == 102
    numbers = frame["path"].str.extract(r"image_(\d+)\.jpg$")[0].astype(int)
    assert frame["label"].tolist() == [Flowers102.classes[(number - 1) % 102] for number in numbers]
    assert frame["part"].value_counts().to_dict() == {"train": 102, "val": 102, "test": 102}


def test_a_photograph_that_is_gone_is_one_sentence(tmp_path, monkeypatch, standins):
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    root = standins.pets(tmp_path / "full", each=2)
    (root / "images" / "Breed_01_2.jpg").unlink()
    with pytest.raises(InputError, match=r"1 photographs are missing \(first: .*Breed_01_2\.jpg\); delete"):
        sources.photographs("pets")
    (root / "annotations" / "test.txt").unlink()
    with pytest.raises(InputError, match=r"is damaged .* delete it, and fetch it again"):
        sources.photographs("pets")


def test_tweets_have_words_for_labels(here):
    frame = sources.tweets()
    assert list(frame) == ["id", "group", "text", "label", "part"]
    assert frame.groupby("part").size().to_dict() == {"train": 60, "validation": 60, "test": 60}
    words = dict(zip(("bad", "so", "good"), sources.SENTIMENTS))
    assert [words[text.split("is ")[1]] for text in frame["text"]] == frame["label"].tolist()
    assert frame["id"].is_unique


def test_labels_that_nobody_knows_are_one_sentence(here, tmp_path, monkeypatch):
    import pandas as pd

    file = tmp_path / "train-00000-of-00001.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [0, 3]}).to_parquet(file)
    monkeypatch.setattr(full, "paths", lambda name: [file])
    with pytest.raises(InputError, match="must hold a column text and labels 0, 1, 2"):
        sources.tweets()


# The models


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_the_hub_become_classifiers(name, here, tmp_path):
    """By the table's name and by NAME@REVISION; every strategy, saved, loaded and exported."""
    torch.manual_seed(0)
    classifier = text_classifier(name)
    torch.manual_seed(0)
    asset = full.ASSETS[name]
    by_revision = text_classifier(f"{asset.repository}@{asset.revision}")
    texts = ["good", "a good phone and a bad film", "bad"]
    expected = predict(classifier, texts)
    np.testing.assert_array_equal(predict(by_revision, texts), expected)
    np.testing.assert_allclose(
        np.concatenate([predict(classifier, [text]) for text in texts]), expected, atol=1e-5
    )
    groups = [group for group, _ in layer_groups(classifier.model)]
    assert groups == ["embeddings", "layer 0", "layer 1", "head"]
    begin_strategy(by_revision.model, "lora")
    with_lora = {key.split(".lora_")[0] for key, _ in by_revision.model.named_parameters() if "lora_" in key}
    assert len(with_lora) >= 4
    assert num_trainable(by_revision.model) < num_trainable(classifier.model)
    save_classifier(classifier, tmp_path / "model")
    np.testing.assert_array_equal(predict(load_classifier(tmp_path / "model"), texts), expected)


@pytest.mark.parametrize("name", WRITERS)
def test_writers_of_the_hub_are_language_models(name, here):
    lm, asset = language_model(name), full.ASSETS[name]
    by_revision = language_model(f"{asset.repository}@{asset.revision}")
    assert lm.name == name
    ids = lm.tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], return_dict=True)[
        "input_ids"
    ]
    with torch.no_grad():
        logits = [one.model(torch.tensor([ids])).logits for one in (lm, by_revision)]
    torch.testing.assert_close(*logits)
    assert lm.tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("name", ENCODERS + WRITERS)
def test_a_model_that_was_fetched_is_read_from_its_folder(name, here):
    """By its name in the cache, each optional file that it lacks would be asked for in the network."""
    folder, revision = full.hub_source(name)
    assert Path(folder).is_dir()
    assert Path(folder).name == revision == full.ASSETS[name].revision


# One step on the road of the chapters


@pytest.mark.parametrize(
    ("config", "classes"),
    [
        (recipes.RunConfig(task="images", data="pets", model="efficientnet_lite0"), 37),
        (recipes.RunConfig(task="text", data="tweet_eval", model="bert-base-uncased"), 3),
        (recipes.RunConfig(task="text", data="tweet_eval", model="modernbert-base"), 3),
    ],
    ids=lambda value: getattr(value, "model", value),
)
def test_named_data_take_the_road_of_every_run(config, classes, here):
    config = replace(config, limit=0, training=replace(config.training, max_steps=1, batch_size=8))
    prepared = recipes.prepare(config)
    assert len(prepared.classes) == classes
    job = recipes.job(config, prepared)
    rows = {name: len(loader.dataset) for name, loader in job.loaders.items()}
    assert rows == {name: len(prepared.splits[name]) for name in rows}
    parts = {"loss": job.loss, "score": lambda model: {"macro_f1": 0.0}, "runtime": job.runtime}
    step = next(fit(job.model, job.loaders["train"], job.config, **parts))
    assert abs(step.train_loss - np.log(classes)) < 1


def test_resnet50_reads_photographs_at_its_own_size(here):
    rows = cleaning.clean_images(sources.photographs("pets"))[0].head(2)
    classifier = image_classifier("resnet50", tuple(sorted(set(rows["label"]) | {"other"})), pretrained=False)
    loader = recipes.evaluation_loader(classifier, rows)
    (batch,) = loader
    assert batch["images"].shape == (2, 3, 224, 224)
    assert classifier.logits({"images": batch["images"]}).shape == (2, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["text", "--data", "pets"], "pets is data for images, and the task is text"),
        (
            ["text", "--data", "tweet_eval", "--text-column", "text"],
            "--text-column has no effect on tweet_eval",
        ),
        (["images", "--data", "pets", "--on-bad", "skip"], "--on-bad has no effect on pets"),
    ],
)
def test_named_data_on_the_command_line(options, sentence, here, tmp_path, capsys):
    assert cli.main(["train", *options, "--output", str(tmp_path / "run")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_of_that_name_comes_first(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tweet_eval").mkdir()
    assert not full.is_data_set("tweet_eval")
    assert full.is_data_set("pets")
    assert not full.is_data_set("resnet50")


def test_a_run_on_named_data_is_evaluated_from_its_folder(here, tmp_path, capsys):
    run = tmp_path / "run"
    options = [
        "--data",
        "tweet_eval",
        "--model",
        "bert-base-uncased",
        "--max-steps",
        "2",
        "--output",
        str(run),
    ]
    assert cli.main(["train", "text", *options]) == 0
    assert cli.main(["evaluate", str(run)]) == 0
    assert cli.main(["evaluate", str(run), "--data", "tweet_eval"]) == 0
    assert "180 rows: accuracy" in capsys.readouterr().out
    export = ["export", str(run), "--format", "onnx", "--output", str(tmp_path / "onnx")]
    assert cli.main(export) == 0  # which checks it against the run


def test_a_larger_language_model_is_trained_by_its_name(here, tmp_path):
    lines = [{"prompt": f"Say {number}", "completion": f"{number}!"} for number in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = tmp_path / "run"
    options = ["--data", str(tmp_path / "rows.jsonl"), "--model", "smollm2-1.7b", "--max-steps", "1"]
    assert cli.main(["train", "chat", *options, "--output", str(run)]) == 0
    lm = load_language_model(run / "model")
    assert lm.name == "smollm2-1.7b"
    assert has_lora(lm.model)


# The download


@pytest.fixture
def mirror(tmp_path, monkeypatch, nothing_here, standins):
    """A mirror of the archives of pets, which the table then pins with its own hashes."""
    root = standins.pets(tmp_path / "made", each=2)
    contents = {f"/{part}.tar.gz": standins.archive(root / part) for part in ("images", "annotations")}
    with standins.Mirror(contents) as server:
        files = [
            {"name": path[1:], "url": server.address + path, "size": len(content)}
            | {"md5": hashlib.md5(content).hexdigest()}
            for path, content in contents.items()
        ]
        only = {"pets": replace(full.ASSETS["pets"], files=tuple(files))}
        monkeypatch.setattr(full, "ASSETS", only)
        monkeypatch.setattr(full_download, "ASSETS", only)
        yield server


def test_archives_are_fetched_once_and_read(mirror, capsys):
    assert cli.main(["fetch", "--full", "images"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert re.match(r"pets: \d+ MB; Oxford-IIIT Pets.*licence: CC BY-SA", said[0])
    assert said[1:] == [said[1], "pets: fetched, verified"]
    assert len(sources.photographs("pets")) == 74
    assert [path.name for path in (assets.FOLDER / "full").iterdir()] == ["oxford-iiit-pet"]
    before = len(mirror.asked)
    assert cli.main(["fetch", "--full"]) == 0
    assert len(mirror.asked) == before
    assert "pets: is here" in capsys.readouterr().out


def test_weights_are_fetched_to_where_torch_looks(tmp_path, monkeypatch, nothing_here, standins):
    (pin,) = full.ASSETS["resnet50"].files
    with standins.Mirror({"/weights": b"weights"}) as server:
        digest = hashlib.sha256(b"weights").hexdigest()
        file = {"name": pin["name"], "url": f"{server.address}/weights", "size": 7, "sha256": digest}
        asset = replace(full.ASSETS["resnet50"], files=(file,))
        monkeypatch.setitem(full.ASSETS, "resnet50", asset)
        for name in ("pets", "flowers"):
            monkeypatch.delitem(full.ASSETS, name)
        full_download.fetch(("images",), say=lambda line: None)
    place = tmp_path / "torch" / "hub" / "checkpoints"
    assert [path.name for path in place.iterdir()] == [pin["name"]]
    assert (place / pin["name"]).read_bytes() == b"weights"


def test_a_broken_download_goes_on_where_it_was(mirror, capsys):
    mirror.break_after = 5_000
    assert cli.main(["fetch", "--full", "images"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the connection ended after 5,000 bytes" in error
    assert not full.is_here("pets")
    mirror.break_after = None
    assert cli.main(["fetch", "--full", "images"]) == 0
    assert ("GET", "/images.tar.gz", "bytes=5000-") in mirror.asked
    assert len(sources.photographs("pets")) == 74


def test_another_file_than_the_pinned_one_is_deleted(mirror, capsys):
    mirror.files["/annotations.tar.gz"] = mirror.files["/annotations.tar.gz"][:-1] + b"?"
    assert cli.main(["fetch", "--full", "images"]) == 2
    assert re.search(r"annotations\.tar\.gz of .* must have md5 .* it was deleted", capsys.readouterr().err)
    work = assets.FOLDER / "full" / ".oxford-iiit-pet-unfinished"
    assert [path.name for path in work.iterdir()] == ["images.tar.gz"]
    assert not full.is_here("pets")


def test_an_archive_cannot_write_elsewhere(mirror, tmp_path):
    (tmp_path / "evil.txt").write_text("owned")
    import io
    import tarfile

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(tmp_path / "evil.txt", "../../../escaped.txt")
    content = file.getvalue()
    mirror.files["/images.tar.gz"] = content
    full.ASSETS["pets"].files[0].update(size=len(content), md5=hashlib.md5(content).hexdigest())
    with pytest.raises(tarfile.OutsideDestinationError):
        full_download.fetch(say=lambda line: None)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_without_a_network_it_is_one_sentence_and_nothing_is_written(mirror, capsys):
    for file in full.ASSETS["pets"].files:
        file["url"] = "http://127.0.0.1:9/" + file["name"]
    assert cli.main(["fetch", "--full", "images"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"error: pets could not be downloaded \(.*\); connect to a network, then run .*\n", error
    )
    assert not full.is_here("pets")


HUB = """
import json, sys
from dataclasses import replace
from helpers import cli
from helpers.data import full
files = json.loads(sys.argv[1])
for name in list(full.ASSETS):
    if name not in files:
        del full.ASSETS[name]
for name, found in files.items():
    full.ASSETS[name] = replace(full.ASSETS[name], files=tuple(found))
raise SystemExit(cli.main(["fetch", "--full", "text"]))
"""


def from_hub(address, files, cache):
    surroundings = os.environ | {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HUB, json.dumps(files)]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True)


def test_the_hub_is_asked_for_pinned_revisions(tmp_path, standins):
    """The real client against a server that answers as the hub does."""
    bert, data = full.ASSETS["bert-base-uncased"], full.ASSETS["tweet_eval"]
    contents = {
        f"/{bert.repository}/resolve/{bert.revision}/config.json": b"{}",
        f"/{bert.repository}/resolve/{bert.revision}/model.safetensors": b"weights",
        f"/datasets/{data.repository}/resolve/{data.revision}/sentiment/test.parquet": b"rows",
    }
    hashed = {"name": "model.safetensors", "sha256": hashlib.sha256(b"weights").hexdigest()}
    files = {
        "bert-base-uncased": [{"name": "config.json"}, hashed],
        "tweet_eval": [{"name": "sentiment/test.parquet"}],
    }
    with standins.Mirror(contents) as server:
        done = from_hub(server.address, files, tmp_path / "hub")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "tweet_eval: fetched, verified"
        snapshot = tmp_path / "hub" / "models--google-bert--bert-base-uncased" / "snapshots" / bert.revision
        assert (snapshot / "model.safetensors").read_bytes() == b"weights"
        hashed["sha256"] = 64 * "0"
        done = from_hub(server.address, files, tmp_path / "other")
        assert done.returncode == 2
        assert re.search(
            r"error: model\.safetensors of .* must have sha256 0000.* it was deleted", done.stderr
        )
        assert not list((tmp_path / "other").rglob("model.safetensors"))
        del contents[f"/{bert.repository}/resolve/{bert.revision}/config.json"]
        done = from_hub(server.address, files, tmp_path / "third")
        assert done.returncode == 2
        assert done.stderr.startswith("error: bert-base-uncased could not be downloaded (")


def test_an_error_of_the_hubs_own_client_is_one_sentence(nothing_here, monkeypatch):
    """Its version 2 has another client than version 1, with errors of its own."""
    import huggingface_hub

    fails = lambda *_, **__: huggingface_hub.get_session().get("http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(InputError, match=r"could not be downloaded \(.*\); connect to a network"):
        full_download.fetch(("text",))


# The chapters' own cells

STAND_IN = """
from dataclasses import replace
from pathlib import Path
from helpers import assets
from helpers.data import full
from helpers.runs import recipes

full.place = lambda asset: Path({folder!r}) / (asset.folder or "no weights")
for key, training in recipes.DEFAULTS.items():
    recipes.DEFAULTS[key] = replace(training, epochs=1)
"""
CELLS = {
    "06_image_case_study": ("06-imports", "06-network", "06-which", "06-photographs"),
    "07_sentiment_case_study": ("07-d1e8f2f8", "07-cbb4966b"),
    "10_instruction_tuning": ("03f7832a", "7388c0ba", "39f8347a", "8e3adbb9", "4a11be81"),
    "05_custom_datasets": ("05-002", "05-130"),
}
SAID = {
    "06_image_case_study": ("This run uses", "epoch 1: validation accuracy 0"),
    "07_sentiment_case_study": (
        "tweet_eval: {'train'",
        "epoch 1: validation macro-F1 0",
    ),
    "10_instruction_tuning": ("49,152 tokens", "negative"),
    "05_custom_datasets": (r"\[",),
}


@pytest.mark.parametrize("chapter", CELLS)
def test_the_chapters_cells_run_at_full_scale(chapter, standing_in, monkeypatch):
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    by_id = {cell["id"]: cell for cell in notebook.cells}
    start = STAND_IN.format(folder=str(standing_in / "data" / "full"))
    first = nbformat.v4.new_code_cell(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom helpers import environment"
    )
    notebook.cells = [first, nbformat.v4.new_code_cell(start), *(by_id[name] for name in CELLS[chapter])]
    monkeypatch.setenv("COURSE_SCALE", "full")
    monkeypatch.setenv("HF_HUB_CACHE", str(standing_in / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)
    assert all(re.search(words, said) for words in SAID[chapter]), said


def test_the_table_is_the_readmes():
    """README names every asset with its licence's first word and its size."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, asset in tomllib.loads(full.TABLE.read_text(encoding="utf-8")).items():
        (line,) = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
        assert asset["licence"].split(";")[0].split(" for ")[0] in line
        megabytes = sum(file.get("size", 0) for file in asset["files"]) / 1e6
        assert f"{megabytes:,.0f} MB" in line or not megabytes
