"""Loading runs and exports, the order of predictions, what they leave alone, and comparing two models."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.deployment.predict import OnnxModel, answer, compare, load_onnx, load_run, predict
from helpers.errors import InputError
from helpers.models.pretrained import Classifier, image_classifier, save_classifier
from helpers.tasks import TASKS


def test_predictions_keep_the_order_and_do_not_depend_on_the_batch(text_classifier, clean):
    texts = clean["text"].iloc[:: len(clean) // 70].tolist()  # more than one batch, mixed lengths
    together = predict(text_classifier, texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)
    for row in (0, 1, len(texts) - 1):
        np.testing.assert_allclose(together[row], predict(text_classifier, [texts[row]])[0], atol=1e-5)


def test_a_saved_run_answers_as_before(text_classifier, tmp_path):
    texts = ["I like it.", "I do not."]
    save_classifier(text_classifier, tmp_path / "model")
    np.testing.assert_allclose(predict(load_run(tmp_path), texts), predict(text_classifier, texts), atol=1e-6)
    for engine, option in (("onnx", ""), ("int8", " --int8")):
        with pytest.raises(InputError, match=f"--format onnx{option}`"):
            load_run(tmp_path, engine=engine)
    with pytest.raises(InputError, match="the engine must be one of torch, onnx, int8, found 'tpu'"):
        load_run(tmp_path, engine="tpu")
    with pytest.raises(InputError, match=r"holds no trained model .* give a run folder"):
        load_run(tmp_path / "model")


def test_the_import_loads_nothing_that_serving_does_not_need():
    code = "import helpers.deployment.predict, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" in done.stdout.split()
    assert not {"pandas", "sklearn", "accelerate"} & set(done.stdout.split())


def test_a_prediction_between_training_steps_leaves_the_model_as_it_is(text_classifier, monkeypatch):
    model, texts = text_classifier.model.train(), ["I like it.", "I do not like it at all."]
    frozen = model.bert.embeddings.eval()  # as `freezing.train_mode` leaves a frozen BatchNorm
    monkeypatch.setattr(model, "to", lambda *_: pytest.fail("the model was moved"))
    first = predict(text_classifier, texts)
    np.testing.assert_array_equal(predict(text_classifier, texts), first)  # without dropout
    assert {module for module in model.modules() if not module.training} == set(frozen.modules())


def test_a_bad_input_leaves_the_model_in_training_mode_too(tmp_path):
    classifier = image_classifier(classes=("a", "b"))
    with pytest.raises(FileNotFoundError):
        predict(classifier, [str(tmp_path / "none.png")])
    assert all(module.training for module in classifier.model.modules())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_is_computed_where_the_model_is(text_classifier):
    on_cpu = predict(text_classifier, ["I like it."])
    text_classifier.model.to("cuda")
    np.testing.assert_allclose(predict(text_classifier, ["I like it."]), on_cpu, atol=1e-3)
    assert {parameter.device.type for parameter in text_classifier.model.parameters()} == {"cuda"}


def test_a_model_may_return_bare_logits(text_classifier):
    class Bare(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return attention_mask.sum(1, keepdim=True) * torch.tensor([[0.0, 0.0, 1.0]])

    bare = Classifier("text", "bare", Bare(), text_classifier.classes, text_classifier.preprocessor)
    assert predict(bare, ["one two three"]).argmax() == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_refused(value, text_classifier):
    class Broken(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return torch.where(
                attention_mask.sum(1, keepdim=True) > 5, torch.tensor([[0.0, value, 0.0]]), 0.0
            )

    broken = Classifier("text", "broken", Broken(), text_classifier.classes, text_classifier.preprocessor)
    assert predict(broken, ["one"]).shape == (1, 3)
    with pytest.raises(InputError, match="the model's answer is not a number for 1 of 2 inputs"):
        predict(broken, ["one", "one two three four five six"])


def test_the_length_of_the_classifier_is_used(text_classifier):
    class Length(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return attention_mask.sum(1, keepdim=True) * torch.tensor([[1.0, 0.0]]) / 100

    for longest in (20, 128, 200):
        one = replace(text_classifier, model=Length(), classes=("a", "b"), max_length=longest)
        p = predict(one, ["word " * 300])[0, 0]
        assert round(float(np.log(p / (1 - p)) * 100)) == longest
        dataset = TASKS["text"].dataset(pd.DataFrame({"text": ["word " * 300]}), one, labelled=False)
        assert dataset.lengths.tolist() == [longest]


def test_folders_that_are_no_export(tmp_path):
    with pytest.raises(
        InputError, match=r"model\.onnx cannot be read by ONNX Runtime .*; export the run again"
    ):
        load_onnx(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match="cannot be read by ONNX Runtime"):
        OnnxModel(tmp_path / "model.onnx")


def test_an_answer_by_hand():
    label, probabilities = answer(np.float32([0.25, 0.74999999, 0]), ("a", "b", "c"))
    assert (label, probabilities) == ("b", {"a": 0.25, "b": 0.75, "c": 0.0})


def test_compare_by_hand():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])
    q = np.array([[0.6, 0.4], [0.45, 0.55], [0.5, 0.5], [0.7, 0.3]])
    comparison = compare(p, q)
    assert (comparison.rows, comparison.agreement) == (4, 0.75)
    assert comparison.max_difference == pytest.approx(0.5)
    for wrong in (p[:3], p[:, :1], p[0]):
        with pytest.raises(InputError, match="must both be"):
            compare(p, wrong)
    with pytest.raises(InputError, match="must both be"):
        compare(p[:0], q[:0])
