"""An epoch over photographs of 12 megapixels, by the course and by ImageFolder in a plain loop."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

from helpers import environment
from helpers.data.transforms import training_preset
from helpers.runs import recipes
from helpers.training.loop import fit

PHOTOGRAPHS, SIZE = 24, (4000, 3000)  # pixels: 12 megapixels


def make_photographs(folder: Path, count: int = PHOTOGRAPHS, size: tuple[int, int] = SIZE) -> None:
    """JPEG files of two classes, smooth with a little noise, as cameras write them: 2 to 4 MB each."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("left", "right")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (pixels + rng.integers(-6, 7, pixels.shape, dtype=np.int16)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(place / f"{number}.jpg", quality=90)


class Bench:
    """`ours` or `imagefolder` over the same training photographs, ready to train an epoch when asked."""

    def __init__(self, name: str, folder: Path):
        begun = time.perf_counter()
        training = recipes.default_training("images", "full", epochs=1, batch_size=8)
        self.config = recipes.RunConfig(
            task="images", data=str(folder), model="efficientnet_lite0", limit=0, training=training
        )
        self.run = {"ours": self.ours, "imagefolder": self.imagefolder}[name]
        self.prepared = recipes.prepare(self.config)
        self.job = recipes.job(self.config, self.prepared)
        self.preparation_seconds = round(time.perf_counter() - begun, 3)
        paths = {str(Path(path).resolve()) for path in self.prepared.splits["train"]["path"]}
        transform = training_preset(self.job.classifier.preprocessor)
        pictures = ImageFolder(folder, transform)
        chosen = [row for row, (path, _) in enumerate(pictures.samples) if str(Path(path).resolve()) in paths]
        self.pictures = Subset(pictures, chosen)

    def ours(self, seed: int) -> dict:
        """One epoch of `fit` over the loader of the recipe."""
        job, steps = self.job, 0
        options = {"loss": job.loss, "score": lambda _: {"macro_f1": 0.0}, "runtime": job.runtime}
        start = time.perf_counter()
        for _ in fit(job.model, job.loaders["train"], replace(job.config, seed=seed), **options):
            steps += 1
        return self._result(time.perf_counter() - start, steps)

    def imagefolder(self, seed: int) -> dict:
        """One epoch of the loop of a first tutorial; PIL decodes each file whenever it is asked for."""
        environment.seed_everything(seed)
        model, device = self.job.classifier.model.train(), environment.device()
        loader = DataLoader(self.pictures, batch_size=self.config.training.batch_size, shuffle=True)
        optimizer, steps = torch.optim.AdamW(model.parameters(), lr=1e-3), 0
        start = time.perf_counter()
        for images, labels in loader:
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
        return self._result(time.perf_counter() - start, steps)

    def _result(self, seconds: float, steps: int) -> dict:
        return {"seconds": round(seconds, 3), "steps": steps, "rows": len(self.pictures)}
