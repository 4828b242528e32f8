"""What fine-tuning destroys: train on half of the classes, probe what is known of the others (chapter 06)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from helpers.data.datasets import ImageDataset, encode_labels
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.tuning.freezing import evaluating
from helpers.tuning.frozen import head_inputs, single_head
from helpers.tuning.optimization import make_optimizer, parameter_groups
from lessons.one_step import take_step


def tensors(
    frame: pd.DataFrame, preprocessing: ImagePreprocessing, transform=None, *, seed: int = 0
) -> torch.Tensor:
    """Preprocessed pictures (N, 3, H, W) of all rows.

    `transform` is by default that of evaluation, `seed` that of its draws.
    """
    dataset = ImageDataset(frame, transform or evaluation_preset(preprocessing), seed=seed)
    return torch.stack([dataset[index]["image"] for index in range(len(dataset))])


def features(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """What enters the head (N, K) float32 of pictures (N, 3, H, W), in evaluation mode."""
    head, device = single_head(model), next(model.parameters()).device
    with evaluating(model):
        parts = [head_inputs(model, {"images": part.to(device)}, head) for part in images.split(128)]
    return torch.cat(parts).float().numpy(force=True)


@dataclass(frozen=True)
class Halves:
    """Pictures (N, 3, H, W) and class indices (N,) of the classes to train on, and of the others to probe."""

    train: tuple[torch.Tensor, torch.Tensor]
    probe_train: tuple[torch.Tensor, torch.Tensor]
    probe_validation: tuple[torch.Tensor, torch.Tensor]


def halves(
    splits: dict[str, pd.DataFrame],
    classes: tuple[str, ...],
    preprocessing: ImagePreprocessing,
    *,
    size: int = 300,
) -> Halves:
    """All training pictures of the first half of the classes, and `size` of the others to probe with."""
    asked = classes[: len(classes) // 2]

    def part(name: str, of_asked: bool, limit: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        frame = splits[name]
        frame = frame[frame["label"].isin(asked) == of_asked]
        chosen = frame.head(limit or len(frame)).reset_index(drop=True)
        return tensors(chosen, preprocessing), torch.tensor(encode_labels(chosen, classes))

    return Halves(part("train", True, None), part("train", False, size), part("validation", False, size))


def take_steps(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    learning_rate: float,
    layer_decay: float = 1.0,
    move_statistics: bool = True,
    steps: int = 50,
) -> None:
    """Adam steps at one constant rate, without warm-up, on 16 pictures each, drawn with replacement.

    Args:
        model: without dropout, so that training mode concerns BatchNorm alone.
        images, labels: pictures (N, 3, H, W) and class indices (N,).
        learning_rate: 0 changes no weight.
        layer_decay: as in `parameter_groups`.
        move_statistics: False keeps BatchNorm's running statistics and uses them (evaluation mode).
        steps: number of steps.
    """
    device = next(model.parameters()).device
    optimizer = make_optimizer(
        "adam", parameter_groups(model, learning_rate, weight_decay=0.0, layer_decay=layer_decay)
    )
    model.train(move_statistics)
    for rows in torch.randint(len(images), (steps, 16)):
        take_step(F.cross_entropy(model(images[rows].to(device)), labels[rows].to(device)), optimizer)


def probe(model: nn.Module, data: Halves) -> float:
    """Validation accuracy of a linear probe for the classes that training was not asked for."""
    (images, labels), (held_out, wanted) = data.probe_train, data.probe_validation
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(linear.fit(features(model, images), labels).score(features(model, held_out), wanted))
