"""A trained run as a function from inputs to probabilities (chapters 07 and 08).

No accelerate, pandas or scikit-learn here: what serves a model should load fast and depend on little.
"""

from pathlib import Path

import numpy as np
import torch

from helpers.data.cleaning import clean_text
from helpers.data.collate import PadCollate
from helpers.data.datasets import MAX_TOKENS, open_image
from helpers.data.transforms import evaluation_preset
from helpers.errors import InputError
from helpers.models.pretrained import Classifier, load_classifier

BATCH = 64


def load_run(folder: str | Path) -> Classifier:
    """The trained classifier of a run folder, ready to predict.

    Raises:
        InputError: `folder` is no finished run.
    """
    if not (Path(folder) / "model" / "labels.json").is_file():
        raise InputError(
            f"{folder} is no finished run (model/labels.json is missing); give a folder written by `python -m helpers train ... --output RUN`"
        )
    return load_classifier(Path(folder) / "model")


def predict(classifier: Classifier, inputs: list) -> np.ndarray:
    """Class probabilities (N, C) float32 in the order of the inputs, in float32 arithmetic on the CPU.

    Args:
        classifier: of `load_run` or straight from training.
        inputs: texts (str), or images (paths or uint8 arrays).
    """
    classifier.model.to("cpu").eval()
    forward = _text_logits if classifier.task == "text" else _image_logits
    # Similar lengths together, so that one long text does not pad a whole batch of short ones.
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]) if isinstance(inputs[i], str) else 0)
    probabilities = np.zeros((len(inputs), len(classifier.classes)), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        with torch.inference_mode():
            logits = forward(classifier, [inputs[row] for row in rows])  # (B, C)
        probabilities[rows] = logits.softmax(-1).numpy()
    return probabilities


def _text_logits(classifier: Classifier, texts: list[str]) -> torch.Tensor:
    tokenizer = classifier.preprocessor
    token_ids = tokenizer([clean_text(text) for text in texts], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    batch = PadCollate(tokenizer.pad_token_id)([{"input_ids": ids, "index": 0} for ids in token_ids])
    return classifier.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def _image_logits(classifier: Classifier, sources: list) -> torch.Tensor:
    transform = evaluation_preset(classifier.preprocessor)
    return classifier.model(torch.stack([transform(open_image(source)) for source in sources]))
