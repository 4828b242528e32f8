"""One right answer to each exercise of chapter 06, written as a learner would write it."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


def diagnosis():
    return {"a": "random validation", "b": "rate too low", "c": "test is validation"}


def plan():
    return {"train": "all", "epochs": 6, "body_rate": 1e-3, "head_rate": 3e-3}


def small_fine_tuning(model, head, pictures, labels):
    standardise = v2.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    to_tensor = [v2.RGB(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), standardise]
    for_training = v2.Compose([v2.Resize((64, 64)), v2.RandomHorizontalFlip(), *to_tensor])
    for_evaluation = v2.Compose([v2.Resize((64, 64)), *to_tensor])

    class Pairs(Dataset):
        def __len__(self):
            return len(pictures)

        def __getitem__(self, index):
            return for_training(pictures[index]), labels[index]

    loader = DataLoader(Pairs(), batch_size=8, shuffle=True)
    steps = 6 * len(loader)
    body = [p for p in model.parameters() if p is not head.weight and p is not head.bias]
    groups = [{"params": body, "lr": 1e-3}, {"params": head.parameters(), "lr": 3e-3}]
    optimizer = torch.optim.AdamW(groups)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 1 - step / steps)
    )
    model.train()
    for _ in range(6):
        for images, wanted in loader:
            loss = F.cross_entropy(model(images), wanted)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            falling.step()
    return for_evaluation
