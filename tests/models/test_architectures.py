"""Any encoder or decoder of transformers answers rightly as a classifier, or one sentence says why not."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from helpers.deployment.predict import predict
from helpers.errors import InputError
from helpers.models.forward import max_positions
from helpers.models.pretrained import load_classifier, save_classifier, text_classifier
from helpers.tuning.freezing import apply_strategy, begin_strategy, end_strategy, num_trainable
from helpers.tuning.frozen import single_head
from helpers.tuning.optimization import parameter_groups

TEXTS = ["yes", "a much longer text " * 4, "no", ""]
HEADS = {"perceiver": AutoModelForSequenceClassification}
WORKING = ["bert", "roberta", "electra", "albert", "distilbert", "deberta-v2", "modernbert", "gpt2", "llama"]


@pytest.mark.parametrize("kind", WORKING)
def test_answers_do_not_depend_on_the_batch_or_on_saving(kind, tiny, tmp_path):
    classifier = text_classifier(str(tiny(kind)), ("no", "yes", "perhaps"))
    together = predict(classifier, TEXTS)
    alone = np.concatenate([predict(classifier, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    save_classifier(classifier, tmp_path / "model")
    again = load_classifier(tmp_path / "model")
    np.testing.assert_array_equal(predict(again, TEXTS), together)
    assert again.max_length == classifier.max_length == 128


@pytest.mark.parametrize("kind", WORKING)
@pytest.mark.parametrize("strategy", ["full", "head", "gradual", "lora"])
def test_every_strategy_trains_every_architecture(kind, strategy, tiny):
    """One step moves what the strategy names, and afterwards it is a plain model again."""
    classifier = text_classifier(str(tiny(kind)), ("no", "yes"))
    model, names = classifier.model, list(classifier.model.state_dict())
    begin_strategy(model, strategy)
    apply_strategy(model, strategy, 0, 2)
    everything = set(map(id, model.parameters()))
    groups = parameter_groups(model, 1e-2, layer_decay=0.9)
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(everything)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(groups)
    ids = classifier.preprocessor(["yes"], return_tensors="pt")["input_ids"]
    classifier.logits({"input_ids": ids, "attention_mask": torch.ones_like(ids)})[0, 0].backward()
    optimizer.step()
    moved = [
        name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])
    ]
    assert moved
    assert (strategy == "full") == (num_trainable(model) == sum(p.numel() for p in model.parameters()))
    end_strategy(model, strategy)
    assert list(model.state_dict()) == names


def test_a_head_that_looks_at_every_token_is_not_trained_on_features(tiny):
    assert single_head(text_classifier(str(tiny("gpt2")), ("no", "yes")).model) is None


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("t5", "turns texts into texts"),
        ("xlnet", "depends on the texts beside it"),
        ("perceiver", "no layer with 2 outputs"),
    ],
)
def test_what_cannot_classify_is_one_sentence(kind, sentence, tiny):
    with pytest.raises(InputError, match=sentence):
        text_classifier(str(tiny(kind, head=HEADS.get(kind))), ("no", "yes"))


@pytest.mark.parametrize(
    ("kind", "sizes", "limit"),
    [
        ("bert", {"max_position_embeddings": 64}, 64),
        ("distilbert", {"max_position_embeddings": 30}, 30),
        ("electra", {"max_position_embeddings": 30}, 30),
        ("roberta", {"max_position_embeddings": 26}, 25),  # its padding token is 0: places begin at 1
        ("gpt2", {"n_positions": 24}, 24),
        (
            "deberta-v2",
            {"max_position_embeddings": 30, "position_biased_input": False, "relative_attention": True},
            128,
        ),
        ("modernbert", {}, 128),
        ("llama", {}, 128),
    ],
)
def test_texts_are_cut_where_the_model_ends(kind, sizes, limit, tiny, tmp_path):
    """Whatever the tokenizer says; one token more and a model with learned positions fails."""
    classifier = text_classifier(str(tiny(kind, **sizes)), ("no", "yes"))
    assert classifier.max_length == limit
    assert predict(classifier, ["word " * 100]).shape == (1, 2)
    if limit < 128:
        ids = torch.full((1, limit + 1), 9)
        with pytest.raises((IndexError, RuntimeError)):
            classifier.logits({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    save_classifier(classifier, tmp_path / "model")
    file = tmp_path / "model" / "labels.json"
    described = json.loads(file.read_text())
    assert described["max_length"] == limit
    del described["max_length"], described["sha256"]  # as a folder of an earlier version
    file.write_text(json.dumps(described))
    assert load_classifier(tmp_path / "model").max_length == limit


def test_the_length_can_be_chosen(tiny, tmp_path):
    folder = str(tiny())
    classifier = text_classifier(folder, ("no", "yes"), max_length=10)
    same = [text[:8] for text in ("abcdefgh and more", "abcdefgh")]
    np.testing.assert_array_equal(predict(classifier, ["abcdefgh and more"]), predict(classifier, same[:1]))
    assert text_classifier(folder, ("no", "yes"), max_length=300).max_length == 300
    for wrong in (2, 0, -1, 9.5, True):
        with pytest.raises(InputError, match="max_length must be at least 3 tokens"):
            text_classifier(folder, ("no", "yes"), max_length=wrong)


def test_positions_that_begin_behind_the_padding_token(tiny):
    from transformers import RobertaConfig, RobertaModel

    model = RobertaModel(
        RobertaConfig(max_position_embeddings=26, vocab_size=20, pad_token_id=1, hidden_size=12)
    )
    assert max_positions(model) == 24


def trained(tiny, classes, kind="bert"):
    """A folder of a model whose head was trained, for all anyone knows, for `classes`."""
    return str(
        tiny(
            kind,
            head=AutoModelForSequenceClassification,
            id2label=dict(enumerate(classes)),
            initializer_range=0.3,
        )
    )


@pytest.mark.parametrize("kind", ["bert", "electra", "gpt2", "distilbert"])
def test_a_head_for_the_same_classes_is_matched_by_name(kind, tiny):
    folder = trained(tiny, ("bad", "good", "mixed"), kind)
    expected = predict(text_classifier(folder, ("bad", "good", "mixed")), TEXTS)
    turned = predict(text_classifier(folder, ("good", "mixed", "bad")), TEXTS)
    np.testing.assert_allclose(turned, expected[:, [1, 2, 0]], atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 0.01


@pytest.mark.parametrize("kind", ["bert", "electra", "gpt2", "distilbert"])
@pytest.mark.parametrize("classes", [("alpha", "beta", "gamma"), ("bad", "good"), ("bad", "good", "new")])
def test_a_head_for_other_classes_is_fresh(kind, classes, tiny):
    folder = trained(tiny, ("bad", "good", "mixed"), kind)

    def head(seed, classes):
        torch.manual_seed(seed)
        tensors = text_classifier(folder, classes).model.state_dict().values()
        return [tensor for tensor in tensors if tensor.ndim == 2][-1]  # (C, H)

    old, fresh = head(1, ("bad", "good", "mixed")), head(1, classes)
    assert torch.equal(old, head(2, ("bad", "good", "mixed")))  # kept, so that the seed changes nothing
    assert torch.equal(fresh, head(1, classes))
    assert not torch.equal(fresh, head(2, classes))
    assert not any(torch.equal(row, old_row) for row in fresh for old_row in old)


def test_an_earlier_run_is_a_starting_point(tiny, tmp_path):
    torch.manual_seed(0)
    run = tmp_path / "run"
    earlier = text_classifier(str(tiny(initializer_range=0.3)), ("bad", "good"))
    save_classifier(earlier, run / "model")
    for folder in (run, run / "model"):
        again = text_classifier(str(folder), ("good", "bad"))
        np.testing.assert_allclose(predict(again, TEXTS), predict(earlier, TEXTS)[:, ::-1], atol=1e-6)
        assert again.name == str(folder)
    (run / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config\.json is not the file that the run wrote"):
        text_classifier(str(run), ("good", "bad"))


def test_an_earlier_head_of_the_masked_model_is_not_taken_for_classes(tiny):
    folder = str(tiny(head=AutoModelForMaskedLM))  # has no pooler, as many published models
    assert predict(text_classifier(folder, ("bad", "good")), TEXTS).shape == (4, 2)


def test_a_model_with_holes_is_refused(tiny):
    from safetensors.torch import load_file, save_file

    folder = tiny()
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "layer.1" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights of .* are missing or of another shape, .*layer\.1"):
        text_classifier(str(folder), ("bad", "good"))


def test_folders_that_are_no_model_are_one_sentence(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"task": "text"}')  # an unfinished run
    with pytest.raises(InputError, match="holds no text model that can be used"):
        text_classifier(str(tmp_path / "run"))
    folder = tiny()
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="holds no text model that can be used"):
        text_classifier(str(folder))


def test_a_tokenizer_of_another_model_is_refused(tiny):
    with pytest.raises(InputError, match="has 259 tokens, its model 100; they do not belong together"):
        text_classifier(str(tiny(vocab_size=100)))


@pytest.mark.parametrize(
    "classes", [("a",), ("a", "a"), ("a", "b\x1b[31m"), ("a", "b\n"), ("a", ""), ("a", 3), ("a", "b\u202ec")]
)
def test_names_of_classes_that_cannot_be_shown(classes):
    with pytest.raises(InputError, match="the classes must be at least two different names"):
        text_classifier("minilm", classes)


def test_names_in_any_script_are_good(tiny):
    classes = ("कमला", "ผู้หญิง", "👨\u200d👩\u200d👧", "خانه\u200cها", "très bien", "C++", "a\u00a0b")
    assert text_classifier(str(tiny()), classes).classes == classes


def test_dropout_is_applied_whatever_it_is_called(tiny):
    for kind in ("bert", "albert", "distilbert", "electra"):
        model = text_classifier(str(tiny(kind)), ("no", "yes"), dropout=0.37).model
        assert 0.37 in {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)}
