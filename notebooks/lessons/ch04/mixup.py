"""Pictures and labels blended with each other, as a regulariser (chapter 04)."""

import zlib
from collections.abc import Callable

import torch
from torchvision.transforms import v2


class MixupCollate:
    """Collate images, then blend each with another of the batch, t x + (1 - t) x', and the labels alike.

    The blend depends on the seed and the rows of the batch alone, so a resumed run draws what an unbroken one
    draws. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2017).

    Args:
        collate: makes `images` and `labels` of samples, e.g. `collate_images`.
        alpha: t is drawn from Beta(alpha, alpha); the larger, the more often it is near one half.
        seed: seed of the draws.
    """

    def __init__(self, collate: Callable, num_classes: int, *, alpha: float = 0.2, seed: int = 0):
        self.collate, self.seed = collate, seed
        self.mixup = v2.MixUp(alpha=alpha, num_classes=num_classes)

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """The batch of `collate` with blended `images`, and `targets` float32 (B, C) beside its `labels`."""
        batch = self.collate(samples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(f"{self.seed}/{batch['indices'].tolist()}".encode()))
            images, targets = self.mixup(batch["images"], batch["labels"])
        return batch | {"images": images, "targets": targets}
