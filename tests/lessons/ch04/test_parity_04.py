"""What chapter 04 writes in its cells is what the helpers do."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torchvision.transforms import v2
from transformers import BertConfig, BertModel

from helpers.data import sources
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.models.pooling import MeanPooledBert
from helpers.tuning.optimization import make_schedule, parameter_groups
from lessons.ch04.mean_pooled import MeanPooled, layerwise_groups, text_logits, warmup_then_line

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
CONFIG = BertConfig(vocab_size=50, num_labels=3, classifier_dropout=0.1, **SIZES)


@pytest.fixture
def both():
    """The chapter's model and the helpers', with the same weights."""
    torch.manual_seed(0)
    theirs = MeanPooledBert(CONFIG).eval()
    ours = MeanPooled(BertModel(CONFIG, add_pooling_layer=False), 3).eval()
    ours.encoder.load_state_dict(theirs.bert.state_dict())
    ours.head.load_state_dict(theirs.classifier.state_dict())
    return ours, theirs


def test_a_mean_pooling_head_gives_the_helpers_logits(both):
    ours, theirs = both
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    with torch.no_grad():
        assert torch.allclose(ours(ids, mask), theirs(ids, mask).logits, atol=1e-6)
        alone = ours(ids[1:, :2], mask[1:, :2])
        assert torch.allclose(ours(ids, mask)[1:], alone, atol=1e-5), "padding changes the answer"


@pytest.mark.parametrize("layer_decay", [0.9, 0.5])
def test_groups_have_the_rates_and_decays_of_parameter_groups(both, layer_decay):
    ours, theirs = both
    layers = [ours.head, *reversed(ours.encoder.encoder.layer), ours.encoder.embeddings]
    found = layerwise_groups(layers, 1e-3, layer_decay)
    expected = parameter_groups(theirs, 1e-3, layer_decay=layer_decay)
    for one, other in zip(found, expected, strict=True):
        assert one["lr"] == pytest.approx(other["lr"])
        assert one["weight_decay"] == other["weight_decay"]
        assert [p.shape for p in one["params"]] == [p.shape for p in other["params"]]
    assert sum(len(group["params"]) for group in found) == len(list(ours.parameters()))


@pytest.mark.parametrize(("num_steps", "share"), [(50, 0.1), (7, 0.0), (200, 0.25)])
def test_the_schedule_is_linear_with_warm_up(num_steps, share):
    optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0) for _ in range(2)]
    ours = LambdaLR(optimizers[0], warmup_then_line(num_steps, share))
    theirs = make_schedule("linear", optimizers[1], num_steps, warmup_share=share)
    for _ in range(num_steps):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr())
        for optimizer, scheduler in zip(optimizers, (ours, theirs)):
            optimizer.step()
            scheduler.step()


def test_logits_come_in_the_order_of_the_texts(both, tiny_encoder):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, texts = AutoTokenizer.from_pretrained(tiny_encoder), ["a b c d e f", "a", "good film", "no"]
    torch.manual_seed(0)
    model = MeanPooled(AutoModel.from_pretrained(tiny_encoder), 3).eval()
    together = text_logits(model, texts, tokenizer, "cpu", batch_size=2)
    alone = torch.cat([text_logits(model, [text], tokenizer, "cpu") for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_chapters_transform_is_the_evaluation_preset(animals):
    from PIL import Image

    look = v2.Compose(
        [
            v2.RGB(),
            v2.Resize((64, 64), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
        ]
    )
    preset = evaluation_preset(ImagePreprocessing(64, (0.5,) * 3, (0.5,) * 3))
    picture = animals["image"].iloc[0]
    ours = look(torch.tensor(np.asarray(picture))[None, None])[0]
    theirs = preset(Image.fromarray(picture).convert("RGB"))
    assert ours.shape == theirs.shape == (3, 64, 64)
    assert (ours - theirs).abs().max() < 0.05  # Pillow and torch round differently
    assert len(sources.ANIMALS) == 10
