"""Exports agree with PyTorch on real rows, are complete, small where they should be, and whole or absent."""

import copy
import json
import logging
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from helpers.data.datasets import encode_labels
from helpers.data.sources import SENTIMENTS
from helpers.deployment import export
from helpers.deployment.export import export_onnx
from helpers.deployment.predict import compare, load_onnx, predict
from helpers.errors import InputError
from helpers.models.pretrained import image_classifier, text_classifier


@pytest.fixture(scope="module")
def short_model(clean):
    """The real MiniLM with two of its layers, so that exports are fast, and a head that has learnt."""
    classifier = text_classifier()
    model, rows = classifier.model.eval(), clean.sample(600, random_state=0)
    model.bert.encoder.layer = model.bert.encoder.layer[:2]
    head, model.classifier = model.classifier, torch.nn.Identity()
    batch = classifier.preprocessor(rows["text"].tolist(), padding=True, return_tensors="pt")
    with torch.no_grad():
        learnt = LogisticRegression(max_iter=2000).fit(
            classifier.logits(batch), encode_labels(rows, SENTIMENTS)
        )
        head.weight.copy_(torch.from_numpy(learnt.coef_))
        head.bias.copy_(torch.from_numpy(learnt.intercept_))
    model.classifier = head
    return classifier


@pytest.fixture(scope="module")
def texts(clean):
    longest = clean.loc[clean["text"].str.len().idxmax(), "text"]
    return ["I", ":-)", "好的 🙂", longest * 5, *clean["text"].iloc[::300]]


@pytest.fixture(scope="module")
def exported(short_model, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return {int8: export_onnx(short_model, folder / str(int8), texts, int8=int8) for int8 in (False, True)}


def test_float32_agrees_in_any_batch(short_model, texts, exported):
    parity = exported[False].parity
    assert (parity.rows, parity.agreement) == (len(texts), 1.0)
    assert parity.max_difference < 1e-4
    served = load_onnx(exported[False].folder)
    for rows in (texts[:1], texts[1:4], texts[3:68]):
        np.testing.assert_allclose(predict(served, rows), predict(short_model, rows), atol=1e-4)
    assert predict(served, []).shape == (0, 3)


def test_int8_is_small_and_close(short_model, texts, exported):
    small, large = exported[True], exported[False]
    assert small.bytes < large.bytes / 3
    assert small.parity.agreement >= 0.99
    assert 0 < small.parity.max_difference < 0.1
    kinds = {
        tensor.data_type
        for tensor in onnx.load(small.file).graph.initializer
        if np.prod(tensor.dims) > 300_000
    }
    assert kinds <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    # A row's answer does not depend on its neighbours in the batch, as it would with one scale for all
    # activations.
    alone = predict(load_onnx(small.folder), texts[4:5])
    np.testing.assert_allclose(alone, predict(load_onnx(small.folder), texts)[4:5], atol=1e-3)


def test_export_is_complete_and_alone(exported):
    for done in exported.values():
        assert {"model.onnx", "labels.json", "tokenizer.json"} <= {
            file.name for file in done.folder.iterdir()
        }
        assert not list(done.folder.glob("*.data"))
        onnx.load(done.file, load_external_data=False)
    parent = exported[True].folder.parent
    assert sorted(entry.name for entry in parent.iterdir()) == ["False", "True"]  # no temporary folder stays
    assert json.loads((exported[True].folder / "labels.json").read_text())["classes"] == [
        "negative",
        "neutral",
        "positive",
    ]


def test_images(animals, tmp_path, capfd):
    torch.manual_seed(0)
    classifier = image_classifier(classes=("a", "b", "c"))
    images = animals["image"].iloc[::200].tolist()
    done = export_onnx(classifier, tmp_path / "images", images)
    assert all(module.training for module in classifier.model.modules())  # as it came from `image_classifier`
    assert done.parity.max_difference < 1e-3
    served = load_onnx(done.folder)
    assert served.preprocessor == classifier.preprocessor
    np.testing.assert_allclose(predict(served, images[:1]), predict(classifier, images[:1]), atol=1e-3)
    with pytest.raises(InputError, match="int8 is for text models"):
        export_onnx(classifier, tmp_path / "int8", images, int8=True)
    assert not (tmp_path / "int8").exists()
    assert capfd.readouterr() == ("", "")  # the exporter's own messages stay away


@pytest.mark.parametrize("int8", [False, True])
def test_nothing_is_written_when_models_disagree(int8, short_model, texts, tmp_path, monkeypatch):
    broken = copy.deepcopy(short_model)
    with torch.no_grad():
        broken.model.classifier.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    write = export._write_graph
    monkeypatch.setattr(export, "_write_graph", lambda classifier, file: write(broken, file))
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="nothing was written"):
        export_onnx(short_model, tmp_path / "run" / "onnx", texts[:40], int8=int8)
    assert list((tmp_path / "run").iterdir()) == []


def test_parity_allows_one_flip_in_a_hundred_and_no_nan():
    p = np.eye(3)[np.zeros(300, dtype=int)]
    for flips, rows in ((3, 300), (1, 20)):
        q = p.copy()
        q[:flips] = [0, 1, 0]
        export._check_parity(compare(p[:rows], q[:rows]), True)
        q[: flips + 1] = [0, 1, 0]
        with pytest.raises(InputError, match=f"int8 changes {flips + 1} of {rows} labels"):
            export._check_parity(compare(p[:rows], q[:rows]), True)
    with pytest.raises(InputError, match="differs"):
        export._check_parity(compare(p, np.full_like(p, np.nan)), False)


def test_folders_that_may_not_be_written(short_model, texts, exported, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for folder, sentence in (
        ("full", "neither empty nor"),
        ("file", "neither empty nor"),
        ("file/below", "cannot be written"),
    ):
        with pytest.raises(InputError, match=sentence):
            export_onnx(short_model, tmp_path / folder, texts)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    with pytest.raises(InputError, match="checked on real inputs"):
        export_onnx(short_model, tmp_path / "new", [])


def test_an_earlier_export_is_replaced(short_model, texts, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "model.onnx").write_bytes(b"an earlier one")
    done = export_onnx(short_model, tmp_path / "again", texts[:10])
    assert done.bytes > 1e6
    assert [entry.name for entry in tmp_path.iterdir()] == ["again"]


def test_a_changed_export_is_refused(short_model, texts, exported, tmp_path):
    for number, (name, change, sentence) in enumerate(
        (
            (
                "model.onnx",
                lambda file: file.write_bytes(file.read_bytes() + b"\x0a\x00"),
                "is not the file that",
            ),
            ("tokenizer.json", lambda file: file.unlink(), "is missing"),
            ("labels.json", lambda file: file.write_text("{"), "is no JSON"),
        )
    ):
        folder = shutil.copytree(exported[True].folder, tmp_path / str(number))
        change(folder / name)
        with pytest.raises(InputError, match=rf"{name} {sentence}.*"):
            load_onnx(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a", "b"]},
        {"task": "images", "preprocessing": {"size": 9, "mean": [0.5] * 3, "std": [1] * 3}},
    ],
)
def test_an_export_of_something_else_is_refused(change, exported, tmp_path):
    folder = shutil.copytree(exported[True].folder, tmp_path / "onnx")
    labels = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(labels | change))
    with pytest.raises(InputError, match=r"is not the model that its labels\.json describes"):
        load_onnx(folder)


def test_quantising_leaves_logging_alone(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # pytest's own would hide what the import does
    monkeypatch.delitem(sys.modules, "onnxruntime.quantization.matmul_nbits_quantizer", raising=False)
    level = root.level
    assert export._block_quantizer().__name__ == "MatMulNBitsQuantizer"
    assert (root.handlers, root.level) == ([], level)
