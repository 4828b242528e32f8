"""A model folder is written whole, and read only as it was written: every damage is one sentence that names
the file.
"""

import copy
import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.models.classifier import Classifier
from helpers.models.folders import load_description
from helpers.models.pretrained import image_classifier, load_classifier, save_classifier, text_classifier

TEXTS, CLASSES = ["yes", "a longer text"], ("no", "yes", "perhaps")


@pytest.fixture
def classifier(tiny):
    return text_classifier(str(tiny()), CLASSES)


@pytest.fixture(params=["hashed", "as an earlier version wrote it"])
def folder(request, classifier, tmp_path):
    """A saved model of texts, with its hashes and without."""
    save_classifier(classifier, tmp_path / "run" / "model")
    if request.param != "hashed":
        edit(tmp_path / "run" / "model" / "labels.json", sha256=None, max_length=None)
    return tmp_path / "run" / "model"


def edit(file: Path, **changes) -> None:
    """Change values of a JSON file; None removes one."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def refused(folder, file):
    """The one sentence with which the folder is refused; it names `file`, and takes no time."""
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        load_classifier(folder)
    assert time.process_time() - start < 5
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_a_folder_without_hashes_still_loads(folder, classifier):
    np.testing.assert_array_equal(predict(load_classifier(folder), TEXTS), predict(classifier, TEXTS))


def test_labels_say_what_the_folder_holds(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "model")
    described = json.loads((tmp_path / "model" / "labels.json").read_text())
    assert described["sha256"].keys() == {f.name for f in (tmp_path / "model").iterdir()} - {"labels.json"}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= described["sha256"].keys()
    assert (described["max_length"], described["name"]) == (128, "bert")  # no path of this machine
    assert "/" in classifier.name


@pytest.mark.parametrize(
    "file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_changed_or_missing_file_is_refused(file, classifier, tmp_path):
    folder = tmp_path / "model"
    save_classifier(classifier, folder)
    content = bytearray((folder / file).read_bytes())
    place = len(content) - 3
    content[place] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=f"{file} is not the file that the run wrote; "):
        load_classifier(folder)
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"{file} is missing; "):
        load_classifier(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b"null", b"\xff\xfe\x00", b"[" * 100_000, (2**60).to_bytes(8, "little") + b"{}"],
)
def test_files_that_hold_something_else(file, content, folder):
    (folder / file).write_bytes(content)
    refused(folder, file)
    (folder / file).unlink()
    refused(folder, file)
    (folder / file).mkdir()
    refused(folder, file)


def test_truncated_weights_and_headers_that_lie(folder):
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"][1])
    for change in ({"data_offsets": [0, 2**40]}, {"shape": [2**40]}, {"dtype": "F64"}, {"shape": [-1]}):
        lying = json.dumps(header | {name: header[name] | change}).encode()
        (folder / "model.safetensors").write_bytes(
            len(lying).to_bytes(8, "little") + lying + content[8 + length :]
        )
        refused(folder, "model.safetensors")
    for end in (4, 100, len(content) - 1):
        (folder / "model.safetensors").write_bytes(content[:end])
        refused(folder, "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("classifier.weight"),
        lambda t: t.pop("bert.encoder.layer.1.output.dense.weight"),
        lambda t: t.pop("bert.pooler.dense.bias"),
        lambda t: t.clear(),
        lambda t: t.update({"classifier.weight": torch.zeros(2, 32)}),
        lambda t: t.update({"bert.pooler.dense.bias": torch.zeros(31)}),
        lambda t: t.update({"stranger": torch.zeros(2)}),
        lambda t: t["classifier.bias"].fill_(torch.nan),
        lambda t: t["bert.encoder.layer.0.output.dense.bias"].__setitem__(3, torch.inf),
    ],
)
def test_weights_that_do_not_fit_or_are_no_numbers(change, folder):
    weights(folder, change)
    refused(folder, "model.safetensors")


class Evil:
    """What unpickling runs."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.write_text, (self.marker, "owned"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pickle_is_never_read(name, folder, tmp_path):
    marker = tmp_path / "owned"
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Evil(marker)))
    refused(folder, "model.safetensors")
    assert not marker.exists()


def test_right_weights_in_a_pickle_are_not_used_either(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors")


def test_a_pickle_beside_the_weights_changes_nothing(folder, classifier, tmp_path):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
    np.testing.assert_array_equal(predict(load_classifier(folder), TEXTS), predict(classifier, TEXTS))
    assert not (tmp_path / "owned").exists()


def test_code_beside_the_model_does_not_run(folder, tmp_path):
    marker = tmp_path / "owned"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\n")
    edit(
        folder / "config.json",
        auto_map={"AutoModelForSequenceClassification": "evil.Model"},
        model_type="evil",
    )
    refused(folder, "config.json")
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 100_000},
        {"hidden_size": 10**9},
        {"hidden_size": 10**9 + 1, "num_attention_heads": 10**9 + 1},
        {"vocab_size": 10**10},
        {"intermediate_size": 10**12},
        {"max_position_embeddings": 10**11},
        {"num_hidden_layers": -3},
        {"num_hidden_layers": "two"},
        {"num_attention_heads": 0},
        {"vocab_size": 4},
        {"model_type": "albert"},
        {"model_type": "t5"},
        {"model_type": "no such type"},
        {"hidden_act": "no such function"},
        {"id2label": {"0": "no"}},
        {"id2label": 7},
    ],
)
def test_configurations_that_cannot_be(change, folder):
    edit(folder / "config.json", **change)
    edit(folder / "labels.json", sha256=None)
    refused(folder, str(folder))


def test_layers_that_share_their_weights_are_counted_too(tiny, tmp_path):
    for change in (
        {"num_hidden_layers": 100_000},
        {"inner_group_num": 100_000},
        {"num_hidden_groups": 100_000},
    ):
        save_classifier(text_classifier(str(tiny("albert")), CLASSES), tmp_path / "model")
        edit(tmp_path / "model" / "config.json", **change)
        edit(tmp_path / "model" / "labels.json", sha256=None)
        refused(tmp_path / "model", "config.json asks for a larger model")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "null", '"text"', "[" * 100_000, "\udcff", "{}", '{"task": []}'],
)
def test_labels_that_are_no_description(content, folder):
    (folder / "labels.json").write_bytes(content.encode(errors="surrogateescape"))
    refused(folder, "labels.json")


@pytest.mark.parametrize(
    "change",
    [
        {"task": "chat"},
        {"task": "images"},
        {"task": {}},
        {"task": "images", "preprocessing": {"size": 96, "mean": [0.5] * 3, "std": [0.5] * 3}},
        {"name": 7},
        {"name": "a\x1b[2J"},
        {"classes": 3},
        {"classes": "noyes"},
        {"classes": []},
        {"classes": ["no"]},
        {"classes": ["no", "yes"]},
        {"classes": ["no", "yes", "no"]},
        {"classes": ["no", "yes", "perhaps", "more"]},
        {"classes": ["no", "yes", 3]},
        {"classes": ["no", "yes", ["perhaps"]]},
        {"classes": ["no", "yes", "\x1b[31m"]},
        {"classes": {"no": 0, "yes": 1, "perhaps": 2}},
        {"max_length": 0},
        {"max_length": "128"},
        {"max_length": True},
        {"max_length": 1e9},
        {"sha256": "none"},
        {"sha256": {"model.safetensors": 7}},
        {"sha256": {"../../secret": "0" * 64}},
        {"sha256": {"/etc/passwd": "0" * 64}},
        {"sha256": {}},
    ],
)
def test_labels_that_say_something_else(change, folder):
    edit(folder / "labels.json", **change)
    refused(folder, "json")


def test_more_tokens_than_the_model_reads_are_not_believed(folder):
    edit(folder / "labels.json", max_length=10**9)
    assert load_classifier(folder).max_length == 512


def test_a_tokenizer_of_another_model_is_refused(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"word{number}": 259 + number for number in range(5)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(folder, "tokenizer.json")


def test_a_file_that_would_be_read_too_is_refused(classifier, tmp_path):
    folder = tmp_path / "model"
    save_classifier(classifier, folder)
    (folder / ".DS_Store").write_bytes(b"a desktop's own")
    load_classifier(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"adapter_config\.json was not written by the run"):
        load_classifier(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "model"
    save_classifier(image_classifier(classes=("cat", "dog"), image_size=32, pretrained=False), folder)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"name": "vit_giant_patch14_224"},
        {"name": "resnet50"},
        {"name": "no_such_network"},
        {"classes": ["cat", "dog", "cow"]},
        {"task": "text"},
        {"preprocessing": None},
        {"preprocessing": []},
        {"preprocessing": {}},
        {"preprocessing": {"size": 10**9, "mean": [0.5] * 3, "std": [0.5] * 3}},
        {"preprocessing": {"size": "96", "mean": [0.5] * 3, "std": [0.5] * 3}},
        {"preprocessing": {"size": 96, "mean": [0.5] * 3, "std": [0, 0, 0]}},
        {"preprocessing": {"size": 96, "mean": [0.5] * 2, "std": [0.5] * 3}},
        {"preprocessing": {"size": 96, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "none"}},
        {"preprocessing": {"size": 96, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_share": 1e-9}},
    ],
)
def test_pictures_are_checked_in_the_same_way(change, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "model")
    load_classifier(tmp_path / "model")
    edit(tmp_path / "model" / "labels.json", **change)
    refused(tmp_path / "model", "labels.json")


def test_weights_of_pictures_that_do_not_fit(pictures, tmp_path):
    for number, change in enumerate(
        (
            lambda t: t.pop("conv_stem.weight"),
            lambda t: t.update(stranger=torch.zeros(2)),
            lambda t: t["bn1.running_var"].fill_(torch.inf),
        )
    ):
        folder = shutil.copytree(pictures, tmp_path / str(number))
        edit(folder / "labels.json", sha256=None)
        weights(folder, change)
        refused(folder, "model.safetensors")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_everything_is_readable_as_the_umask_wants(mask, classifier, tmp_path):
    before = os.umask(mask)
    try:
        save_classifier(classifier, tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o777 & ~mask
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "model").iterdir()} == {0o666 & ~mask}


def test_an_older_model_is_replaced_and_nothing_else(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "model")
    (tmp_path / "model" / "of_another_version.json").write_text("{}")
    save_classifier(classifier, tmp_path / "model")
    load_classifier(tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(InputError, match="is neither empty nor an earlier model"):
            save_classifier(classifier, place)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "bert") == ["mine", "model"]
    with pytest.raises(InputError, match="cannot be written"):
        save_classifier(classifier, tmp_path / "mine" / "thesis.txt" / "model")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_nothing_is_written_through_a_link(name, classifier, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / name).write_text("precious")
    save_classifier(classifier, tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    (tmp_path / "model" / name).symlink_to(outside / name)
    save_classifier(classifier, tmp_path / "model")
    assert (outside / name).read_text() == "precious"
    load_classifier(tmp_path / "model")
    # The folder itself, and the one in which the next is made.
    shutil.rmtree(tmp_path / "model")
    (outside / "labels.json").write_text("precious")
    (tmp_path / "model").symlink_to(outside)
    (tmp_path / ".model-unfinished").symlink_to(outside)
    save_classifier(classifier, tmp_path / "model")
    assert {file.name: file.read_text() for file in outside.iterdir()} == {
        name: "precious",
        "labels.json": "precious",
    }
    assert not (tmp_path / "model").is_symlink()
    load_classifier(tmp_path / "model")


def save_until(step, classifier, place):
    """Save a model, but die by SIGKILL before the change number `step` of the disk."""
    changes, left = ("os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir"), step

    def watch(event, arguments):
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in changes or writes:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)  # in this process alone, which was forked for it
    save_classifier(classifier, place)


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_killed_at_any_moment_there_is_the_old_model_or_the_new_one(classifier, tmp_path):
    place, answers, seen = tmp_path / "place" / "model", {}, []
    models = {"old": classifier, "new": replace(classifier, model=copy.deepcopy(classifier.model))}
    for number, (name, one) in enumerate(models.items()):
        one.model.classifier.bias.data[0] = number
        answers[name] = predict(one, TEXTS)
    for step in itertools.count():
        save_classifier(models["old"], place)  # as a resumed run does, whatever the last one left
        assert [entry.name for entry in place.parent.iterdir()] == ["model"]
        process = multiprocessing.get_context("fork").Process(
            target=save_until, args=(step, models["new"], place)
        )
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        if not place.exists():
            with pytest.raises(InputError, match="holds no trained model"):
                load_classifier(place)
            seen.append("none")
            continue
        found = predict(load_classifier(place), TEXTS)
        seen += [name for name, answer in answers.items() if np.array_equal(found, answer)]
        assert len(seen) == step + 1
    assert seen.count("none") == 1  # the instant between two renames
    assert seen == ["old"] * seen.index("none") + ["none"] + ["new"] * (len(seen) - seen.index("none") - 1)
    np.testing.assert_array_equal(predict(load_classifier(place), TEXTS), answers["new"])


def test_a_model_that_stepped_aside_comes_back(classifier, tmp_path):
    save_classifier(classifier, tmp_path / "model")
    work = tmp_path / ".model-unfinished"
    work.mkdir()
    os.rename(tmp_path / "model", work / "old")  # killed between the two renames
    broken = Classifier("text", "broken", torch.nn.Linear(2, 2), CLASSES, None)
    with pytest.raises(AttributeError):
        save_classifier(broken, tmp_path / "model")
    np.testing.assert_array_equal(
        predict(load_classifier(tmp_path / "model"), TEXTS), predict(classifier, TEXTS)
    )
    assert not work.exists()


def test_a_description_is_verified_without_the_model(folder):
    assert load_description(folder).model is None
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is missing"):
        load_description(folder)
