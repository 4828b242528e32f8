"""What three services with one fault each would log (chapter 08); which is which is not told here."""

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from helpers.models.classifier import Classifier
from helpers.models.forward import forward
from helpers.tuning.freezing import evaluating


def probabilities(classifier: Classifier, texts: list[str], size: int, *, masked: bool = True) -> np.ndarray:
    """Class probabilities (N, C) of texts in batches of `size`, in their order."""
    found = []
    device = next(classifier.model.parameters()).device
    with evaluating(classifier.model):
        for start in range(0, len(texts), size):
            rows = texts[start : start + size]
            options = {"padding": True, "truncation": True, "max_length": classifier.max_length}
            batch = classifier.preprocessor(rows, return_tensors="pt", **options).to(device)
            if not masked:
                batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
            found.append(forward(classifier.model, batch).softmax(-1).cpu().numpy())
    return np.concatenate(found)


def logs(classifier: Classifier, texts: list[str], batch: int = 16) -> pd.DataFrame:
    """One row per service: how often it gives the trained model's label, asked one by one and in batches; its
    mean confidence; and how often it gives each label.
    """
    shortened = [" ".join(w for w in text.split() if w.lower() not in ENGLISH_STOP_WORDS) for text in texts]
    shortened = [text or "-" for text in shortened]
    expected = probabilities(classifier, texts, batch).argmax(1)
    services = {
        "a": [probabilities(classifier, texts, size, masked=False) for size in (1, batch)],
        "b": [np.roll(probabilities(classifier, texts, size), 1, axis=1) for size in (1, batch)],
        "c": [probabilities(classifier, shortened, size) for size in (1, batch)],
    }
    rows = []
    for single, together in services.values():
        row = {"same label, one by one": (single.argmax(1) == expected).mean()}
        row["same label, in batches"] = (together.argmax(1) == expected).mean()
        row["mean confidence"] = together.max(1).mean()
        shares = np.bincount(together.argmax(1), minlength=len(classifier.classes)) / len(texts)
        rows.append(row | dict(zip(classifier.classes, shares)))
    return pd.DataFrame(rows, index=list(services))
