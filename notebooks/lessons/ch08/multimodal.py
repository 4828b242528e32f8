"""Pictures and texts in one space: two linear maps behind two frozen networks, trained on pairs (chapter 08).

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP, 2021),
arXiv:2103.00020.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.transforms import evaluation_preset
from helpers.models.pretrained import Classifier
from helpers.tuning.freezing import evaluating
from helpers.tuning.frozen import head_inputs, single_head
from lessons.one_step import take_step


class SharedSpace(nn.Module):
    """Maps image features and text features to vectors of length 1 that can be compared with each other.

    Args:
        image_width, text_width: numbers per picture and per text.
        width: D, numbers per vector of the shared space.
    """

    def __init__(self, image_width: int, text_width: int, width: int = 64):
        super().__init__()
        self.from_image = nn.Linear(image_width, width, bias=False)
        self.from_text = nn.Linear(text_width, width, bias=False)

    def forward(self, image_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        """Features (N, image_width) and (M, text_width) -> cosine similarities (N, M), between -1 and 1."""
        images = F.normalize(self.from_image(image_features), dim=-1)
        return images @ F.normalize(self.from_text(text_features), dim=-1).T


def contrastive_loss(similarities: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Each picture should find its own text among all of the batch, and each text its picture (nats).

    Args:
        similarities: (B, B); row i and column i belong to one pair.
        temperature: above 0; the smaller, the more the nearest wrong partner counts.
    """
    logits = similarities / temperature
    own = torch.arange(len(logits), device=logits.device)  # (B,)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def fit_shared_space(
    image_features: torch.Tensor,
    labels: Sequence[int],
    captions: torch.Tensor,
    seen: Sequence[int],
    *,
    steps: int = 100,
    seed: int = 0,
) -> SharedSpace:
    """Train the two maps on pairs of a picture and one of its class's captions.

    A batch holds one picture of each class: with two giraffes in a batch, the caption of the one would be
    counted as wrong for the other.

    Args:
        image_features: (N, image_width).
        labels: class indices (N,).
        captions: text features (C, K, text_width), K captions of each class.
        seen: the classes that may be used; pictures and captions of all others are never touched.
        steps: optimizer steps.
        seed: seed of the first weights and of the pairs.
    """
    rng = np.random.default_rng(seed)
    rows_of = {c: np.flatnonzero(np.asarray(labels) == c) for c in seen}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = SharedSpace(image_features.shape[1], captions.shape[-1])
    optimizer = torch.optim.AdamW(space.parameters(), lr=3e-3)
    for _ in range(steps):
        pictures = image_features[[rng.choice(rows_of[c]) for c in seen]]  # (B, image_width)
        texts = captions[list(seen), rng.integers(captions.shape[1], size=len(seen))]  # (B, text_width)
        take_step(contrastive_loss(space(pictures, texts)), optimizer)
    return space


def image_features(classifier: Classifier, frame, batch_size: int = 50) -> torch.Tensor:
    """What enters the head of an EfficientNet: float32 (N, 1280) for the rows of `frame`, on the CPU."""
    dataset, model = ImageDataset(frame, evaluation_preset(classifier.preprocessor)), classifier.model.cpu()
    head, found = single_head(model), []
    with evaluating(model):
        for rows in torch.arange(len(dataset)).split(batch_size):
            batch = collate_images([dataset[row] for row in rows.tolist()])
            found.append(head_inputs(model, batch, head))  # (B, 1280)
    return torch.cat(found)


def text_features(classifier: Classifier, texts: Sequence[str], batch_size: int = 64) -> torch.Tensor:
    """The mean of the encoder's vectors over the real tokens of each text: float32 (N, D), on the CPU."""
    encoder, tokenizer = classifier.model.base_model.cpu().eval(), classifier.preprocessor
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # similar lengths: little padding
    found = torch.zeros(len(texts), encoder.config.hidden_size)
    for start in range(0, len(texts), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.no_grad():
            states = encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state  # (B, L, D)
        mask = batch["attention_mask"][:, :, None]  # (B, L, 1)
        found[rows] = (states * mask).sum(1) / mask.sum(1)
    return found
