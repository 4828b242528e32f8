import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from helpers import assets
from helpers.data.pictures import open_image
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
    # all but the pooler of [CLS], which all-MiniLM was not trained with
    assert sum(p.numel() for p in text_classifier.model.base_model.parameters()) == 22_713_216 - 147_840


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


class Evil:
    """What unpickling runs."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.write_text, (self.marker, "owned"))


def test_a_malicious_file_in_the_cache_of_resnet50_never_runs(monkeypatch, tmp_path):
    """torch.hub itself would unpickle it: it compares the hash of what it downloads, not of what is there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache, marker = tmp_path / "hub" / "checkpoints", tmp_path / "owned"
    cache.mkdir(parents=True)
    for protocol in (2, 4):
        (cache / "resnet50-11ad3fa6.pth").write_bytes(pickle.dumps(Evil(marker), protocol))
        with pytest.raises(InputError, match=r"resnet50-11ad3fa6\.pth is not the published file of ResNet50"):
            image_classifier("resnet50", ("cat", "dog"))
    torch.save({"fc.weight": Evil(marker)}, cache / "resnet50-11ad3fa6.pth")
    with pytest.raises(InputError, match="is not the published file"):
        image_classifier("resnet50", ("cat", "dog"))
    assert not marker.exists()
    # Even one with the right hash could run nothing.
    monkeypatch.setattr(assets, "sha256", lambda file: "11ad3fa6" + 56 * "0")
    with pytest.raises(pickle.UnpicklingError):
        image_classifier("resnet50", ("cat", "dog"))
    assert not marker.exists()


def test_a_folder_is_no_starting_point_for_pictures(tmp_path):
    save_classifier(image_classifier(classes=("a", "b"), pretrained=False), tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        with pytest.raises(InputError, match=r"timm's .* names .*, found '.*', a folder"):
            image_classifier(str(folder), ("a", "b"))
    with pytest.raises(InputError, match="is a model for images, and texts were given"):
        build_text_classifier(str(tmp_path / "run"), ("a", "b"))


def test_unknown_models_are_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="found 'vgg'"):
        image_classifier("vgg", ("a", "b"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="'no-such-model' is neither embedded"):
        build_text_classifier("no-such-model")
    with pytest.raises(InputError, match="holds no trained model"):
        load_classifier(tmp_path)


def test_any_image_model_of_timm_brings_its_own_preprocessing(tmp_path):
    import timm
    from timm.data import resolve_model_data_config

    name = "convnext_atto"
    torch.manual_seed(0)
    classifier = image_classifier(name, ("cat", "dog"), pretrained=False)
    found, expected = classifier.preprocessor, resolve_model_data_config(timm.create_model(name))
    assert (found.size, found.mean, found.std) == (
        expected["input_size"][1],
        expected["mean"],
        expected["std"],
    )
    assert (found.crop_share, found.interpolation) == (expected["crop_pct"], expected["interpolation"])
    save_classifier(classifier, tmp_path)
    picture = np.full((50, 40), 99, dtype=np.uint8)
    again = load_classifier(tmp_path)
    assert again.preprocessor == found
    assert np.allclose(predict(classifier, [picture]), predict(again, [picture]), atol=1e-6)


def test_weights_that_cannot_be_downloaded_are_said(monkeypatch):
    import timm

    def unreachable(name, pretrained, num_classes):
        raise OSError("the hub cannot be reached")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(InputError, match="'convnext_atto' is neither embedded"):
        image_classifier("convnext_atto", ("a", "b"))


def test_another_encoder_reads_no_more_than_it_can(tmp_path):
    """Texts are cut where the model's own limit lies, not at the course's 128 tokens."""
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    from helpers import assets

    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 24}
    DistilBertModel(DistilBertConfig(**sizes)).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"), model_max_length=24)
    tokenizer.save_pretrained(tmp_path)
    classifier = build_text_classifier(str(tmp_path), ("no", "yes"))
    assert predict(classifier, ["word " * 200]).shape == (1, 2)


def test_a_tokenizer_without_padding_is_refused(tmp_path):
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    from helpers import assets

    DistilBertModel(DistilBertConfig(dim=32, n_layers=1, n_heads=2, hidden_dim=48)).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no padding token"):
        build_text_classifier(str(tmp_path), ("no", "yes"))
