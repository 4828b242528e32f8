"""A trained run as a function from inputs to probabilities, in PyTorch or ONNX Runtime (chapters 07 and 08).

No accelerate, pandas or scikit-learn here: what serves a model should load fast and depend on little.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.data.cleaning import clean_text
from helpers.data.collate import PadCollate
from helpers.data.datasets import MAX_TOKENS, open_image
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.errors import InputError
from helpers.models.pretrained import Classifier, load_classifier

BATCH = 64
FOLDERS = {
    "onnx": "onnx",
    "int8": "onnx-int8",
}  # where `python -m helpers export` puts a run's exports, below the run folder
ENGINES = ("torch", *FOLDERS)


def load_run(folder: str | Path, *, engine: str = "torch") -> Classifier:
    """The trained classifier of a run folder, ready to predict.

    Args:
        folder: the run folder.
        engine: "torch", or "onnx" or "int8" for what `python -m helpers export` made of the run.

    Raises:
        InputError: `folder` is no finished run, was not exported, or the engine is none of these.
    """
    if engine not in ENGINES:
        raise InputError(f"the engine must be one of {', '.join(ENGINES)}, found {engine!r}")
    if not (Path(folder) / "model" / "labels.json").is_file():
        raise InputError(
            f"{folder} is no finished run (model/labels.json is missing); give a folder written by `python "
            "-m helpers train ... --output RUN`"
        )
    if engine == "torch":
        return load_classifier(Path(folder) / "model")
    exported = Path(folder) / FOLDERS[engine]
    if not (exported / "model.onnx").is_file():
        option = " --int8" if engine == "int8" else ""
        raise InputError(
            f"{folder} was not exported yet ({exported} is missing); run `python -m helpers export {folder} "
            f"--format onnx{option}`"
        )
    return load_onnx(exported)


def load_onnx(folder: str | Path, *, threads: int = 0) -> Classifier:
    """The classifier of a folder written by `export.export_onnx`, for `predict`; it cannot be trained.

    Args:
        folder: holds model.onnx, labels.json and, for texts, the tokenizer.
        threads: of ONNX Runtime; 0 = one per core.

    Raises:
        InputError: `folder` holds no export.
    """
    folder = Path(folder)
    if missing := [name for name in ("model.onnx", "labels.json") if not (folder / name).is_file()]:
        raise InputError(
            f"{folder} holds no export ({missing[0]} is missing); write one with `python -m helpers export "
            "RUN --format onnx`"
        )
    description = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    if description["task"] == "text":
        from transformers import AutoTokenizer

        preprocessor = AutoTokenizer.from_pretrained(folder)
    else:
        size, mean, std = (description["preprocessing"][name] for name in ("size", "mean", "std"))
        preprocessor = ImagePreprocessing(size, tuple(mean), tuple(std))
    model = OnnxModel(folder / "model.onnx", threads=threads)
    return Classifier(
        description["task"], description["name"], model, tuple(description["classes"]), preprocessor
    )


class OnnxModel(nn.Module):
    """An exported model behind the call that the PyTorch one has; the work is done by ONNX Runtime on the
    CPU.

    Args:
        file: a .onnx file.
        threads: 0 = one per core.

    Raises:
        InputError: ONNX Runtime cannot read the file.
    """

    def __init__(self, file: Path, *, threads: int = 0):
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: its warnings speak of graph nodes
        try:
            self.session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except (
            Exception
        ) as error:  # the runtime has a class of its own for each way a file can be bad, and no common one
            raise InputError(
                f"{file} cannot be read by ONNX Runtime ({str(error).splitlines()[0]}); export the run again"
            ) from error

    def forward(self, images=None, *, input_ids=None, attention_mask=None) -> torch.Tensor:
        """Logits (B, C) of images float32 (B, 3, H, W), or of texts int64 (B, L) twice."""
        tensors = (
            {"images": images}
            if images is not None
            else {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        return torch.from_numpy(
            self.session.run(None, {name: tensor.numpy() for name, tensor in tensors.items()})[0]
        )


def predict(classifier: Classifier, inputs: list) -> np.ndarray:
    """Class probabilities (N, C) float32 in the order of the inputs, in float32 arithmetic on the CPU.

    Args:
        classifier: of `load_run` or `load_onnx`, or straight from training.
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
    token_ids = tokenizer([clean_text(text) for text in texts], truncation=True, max_length=MAX_TOKENS)[
        "input_ids"
    ]
    batch = PadCollate(tokenizer.pad_token_id)([{"input_ids": ids, "index": 0} for ids in token_ids])
    output = classifier.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return getattr(
        output, "logits", output
    )  # models of transformers wrap their logits, an exported one returns them bare


def _image_logits(classifier: Classifier, sources: list) -> torch.Tensor:
    transform = evaluation_preset(classifier.preprocessor)
    return classifier.model(torch.stack([transform(open_image(source)) for source in sources]))


@dataclass(frozen=True)
class Comparison:
    """How far two models differ on the same inputs.

    Attributes:
        rows: number of inputs.
        max_difference: largest absolute difference of a probability, 0..1.
        agreement: share of the inputs to which both give the same label, 0..1.
    """

    rows: int
    max_difference: float
    agreement: float


def compare(p: np.ndarray, q: np.ndarray) -> Comparison:
    """Compare the probabilities (N, C) of two models on the same N inputs.

    Raises:
        InputError: the shapes differ, or there are no rows.
    """
    p, q = np.asarray(p), np.asarray(q)
    if p.shape != q.shape or p.ndim != 2 or len(p) == 0:
        raise InputError(
            f"the probabilities of two models must both be (N, C) with N > 0, found {p.shape} and {q.shape}; "
            "predict the same inputs"
        )
    return Comparison(len(p), float(np.abs(p - q).max()), float((p.argmax(1) == q.argmax(1)).mean()))
