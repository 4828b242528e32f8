"""A text is summed up in the way in which its encoder was trained."""

import json

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from helpers import assets
from helpers.deployment.predict import predict
from helpers.models.pooling import MeanPooledBert, masked_mean
from helpers.models.pretrained import load_classifier, save_classifier, text_classifier

TEXTS = ["I like it.", "Nobody, in the whole long history of this town, has liked it less than I do."]


def test_minilm_is_summed_up_by_the_mean_of_its_tokens():
    classifier = text_classifier()
    model = classifier.model.eval()
    tokenizer, encoder = (kind.from_pretrained(assets.path("minilm")) for kind in (AutoTokenizer, AutoModel))
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    with torch.no_grad():
        hidden = encoder.eval()(**batch).last_hidden_state  # (2, L, 384)
        means = torch.stack([hidden[row, : mask[row].sum()].mean(0) for row in (0, 1)])
        torch.testing.assert_close(model(**batch).logits, model.classifier(means), atol=1e-5, rtol=0)


def test_padding_is_no_part_of_the_mean():
    hidden, mask = torch.arange(6.0).reshape(1, 3, 2), torch.tensor([[1, 1, 0]])
    assert masked_mean(hidden, mask).tolist() == [[1.0, 2.0]]
    assert masked_mean(hidden, torch.zeros_like(mask)).tolist() == [[0.0, 0.0]]  # no text, and no NaN


@pytest.mark.parametrize(
    ("says", "kind"), [(True, MeanPooledBert), (False, AutoModelForSequenceClassification)]
)
def test_a_folder_of_sentence_transformers_says_how(tiny_encoder, tmp_path, says, kind):
    for file in tiny_encoder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": says}))
    model = text_classifier(str(tmp_path), ("no", "yes")).model
    assert isinstance(model, MeanPooledBert) == (kind is MeanPooledBert)


def test_a_saved_model_answers_as_before_and_goes_on_so(tmp_path):
    classifier = text_classifier()
    save_classifier(classifier, tmp_path / "model")
    loaded = load_classifier(tmp_path / "model")
    assert isinstance(loaded.model, MeanPooledBert)
    assert (predict(classifier, TEXTS) == predict(loaded, TEXTS)).all()
    assert isinstance(text_classifier(str(tmp_path / "model")).model, MeanPooledBert)


def test_a_run_with_a_pooler_keeps_it(tmp_path, tiny_encoder):
    """As those that were trained before texts were summed up by their mean."""
    earlier = text_classifier(str(tiny_encoder), ("no", "yes"))
    save_classifier(earlier, tmp_path / "model")
    assert load_classifier(tmp_path / "model").model.bert.pooler is not None
