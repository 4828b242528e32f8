"""Loading runs and exports, the order of predictions, and the comparison of two models."""

import numpy as np
import pytest
import torch

from helpers.deployment.predict import Classifier, OnnxModel, compare, load_onnx, load_run, predict
from helpers.errors import InputError
from helpers.models.pretrained import save_classifier


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
    with pytest.raises(InputError, match="is no finished run"):
        load_run(tmp_path / "model")


def test_a_model_may_return_bare_logits(text_classifier):
    class Bare(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            return attention_mask.sum(1, keepdim=True) * torch.tensor([[0.0, 0.0, 1.0]])

    bare = Classifier("text", "bare", Bare(), text_classifier.classes, text_classifier.preprocessor)
    assert predict(bare, ["one two three"]).argmax() == 2


def test_folders_that_are_no_export(tmp_path):
    with pytest.raises(InputError, match=r"holds no export \(model.onnx is missing\)"):
        load_onnx(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"holds no export \(labels.json is missing\)"):
        load_onnx(tmp_path)
    with pytest.raises(InputError, match="cannot be read by ONNX Runtime"):
        OnnxModel(tmp_path / "model.onnx")


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
