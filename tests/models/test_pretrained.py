import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from helpers import assets
from helpers.data.datasets import open_image
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.models.pretrained import image_classifier, load_classifier, save_classifier
from helpers.models.pretrained import text_classifier as build_text_classifier


def test_minilm_keeps_every_pretrained_tensor(text_classifier):
    published = load_file(assets.path("minilm") / "model.safetensors")
    own = text_classifier.model.base_model.state_dict()
    shared = [name for name in published if name in own]
    assert len(shared) >= 100
    assert all(torch.equal(published[name], own[name]) for name in shared)
    assert sum(p.numel() for p in text_classifier.model.base_model.parameters()) == 22_713_216


def test_efficientnet_has_the_published_weights_in_their_places(animals):
    model = image_classifier(classes=("a", "b")).model.eval()
    assert sum(p.numel() for p in model.parameters()) == 3_371_008 + 1281 * 2
    weights = torch.load(assets.path("efficientnet_lite0.pth"), weights_only=True)
    assert torch.equal(model.conv_stem.weight, weights["_conv_stem.weight"])
    assert torch.equal(model.conv_head.weight, weights["_conv_head.weight"])
    # Weights in the wrong places would still load; their features would not tell a bear from a zebra.
    frame = animals[animals["label"].isin(["bear", "zebra"])].groupby("label").head(60)
    transform = evaluation_preset(ImagePreprocessing(96, (0.5,) * 3, (0.5,) * 3))
    images = torch.stack([transform(open_image(image)) for image in frame["image"]])
    with torch.inference_mode():
        features = model.forward_head(model.forward_features(images), pre_logits=True).numpy()
    fit_rows = np.arange(len(frame)) % 2 == 0
    probe = LogisticRegression(max_iter=2000).fit(features[fit_rows], frame["label"][fit_rows])
    assert probe.score(features[~fit_rows], frame["label"][~fit_rows]) > 0.95


@pytest.mark.parametrize("task", ["text", "image"])
def test_saved_and_loaded_classifiers_agree(task, tmp_path, animals, text_classifier):
    classifier = (
        text_classifier if task == "text" else image_classifier(classes=("cat", "dog"), image_size=64)
    )
    inputs = (
        ["good", "a much longer and rather bad comment"]
        if task == "text"
        else animals["image"].head(3).tolist()
    )
    save_classifier(classifier, tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    assert again.classes == classifier.classes
    assert np.array_equal(predict(again, inputs), predict(classifier, inputs))
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pt"))


def test_predictions_do_not_depend_on_their_neighbours(text_classifier):
    texts = ["short", "a comment of middling length, no more", "word " * 100]
    together = predict(text_classifier, texts)
    alone = np.concatenate([predict(text_classifier, [text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together.sum(1), 1, atol=1e-5)


def test_resnet50_or_a_clear_notice(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there: as good as no network
    with pytest.warns(UserWarning, match="EfficientNet-Lite0 takes its place"):
        classifier = image_classifier("resnet50", ("cat", "dog"))
    assert classifier.name == "efficientnet_lite0"


def test_unknown_models_are_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="found 'vgg'"):
        image_classifier("vgg", ("a", "b"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="'no-such-model' is neither embedded"):
        build_text_classifier("no-such-model")
    with pytest.raises(InputError, match="holds no trained model"):
        load_classifier(tmp_path)
