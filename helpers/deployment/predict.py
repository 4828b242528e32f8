"""A trained run as a function from inputs to probabilities, in PyTorch or ONNX Runtime (chapters 07 and 08).

No accelerate, pandas or scikit-learn here: what serves a model should load fast and depend on little.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.pretrained import Classifier, load_classifier, load_description
from helpers.tasks import TASKS
from helpers.threads import is_classroom
from helpers.tuning.freezing import evaluating

BATCH = 64
FOLDERS = {"onnx": "onnx", "int8": "onnx-int8"}  # where `python -m helpers export` writes, below the run
ENGINES = ("torch", *FOLDERS)


def load_run(folder: str | Path, *, engine: str = "torch") -> Classifier:
    """The classifier of a finished run; engine "torch", or "onnx" or "int8" for what `export` made of it.

    Example: `predict(load_run("runs/sentiment"), ["I like it."])`
    """
    if engine not in ENGINES:
        raise InputError(f"the engine must be one of {', '.join(ENGINES)}, found {engine!r}")
    exported = model_folder(folder, engine)
    if engine == "torch":
        return load_classifier(exported)
    if not (exported / "model.onnx").is_file():
        command = f"python -m helpers export {folder} --format onnx{' --int8' if engine == 'int8' else ''}"
        raise InputError(f"{folder} was not exported yet ({exported} is missing); run `{command}`")
    return load_onnx(exported)


def model_folder(folder: str | Path, engine: str) -> Path:
    """Where the model of a run lies for an engine."""
    return Path(folder) / FOLDERS.get(engine, "model")


def load_onnx(folder: str | Path, *, threads: int = 0) -> Classifier:
    """The classifier of a folder written by `export.export_onnx`, for `predict`; it cannot be trained.

    `threads` is how many ONNX Runtime uses, 0 = one per core. A folder without export raises an InputError.
    """
    file = Path(folder) / "model.onnx"
    model, described = OnnxModel(file, threads=threads), load_description(folder)
    if not model.fits(described):
        raise InputError(f"{file} is not the model that its labels.json describes; export the run again")
    return replace(described, model=model)


class OnnxModel(nn.Module):
    """An exported model behind the call that the PyTorch one has; ONNX Runtime does the work on the CPU."""

    def __init__(self, file: Path, *, threads: int = 0):
        super().__init__()
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = threads
        if is_classroom():  # ONNX Runtime has threads of its own, which read none of OpenMP's variables
            options.intra_op_num_threads = threads or torch.get_num_threads()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only: its warnings speak of graph nodes
        try:
            self.session = InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each way a file can be bad, and no common one
            found = f"{file} cannot be read by ONNX Runtime ({str(error).splitlines()[0]})"
            raise InputError(f"{found}; export the run again") from error

    def fits(self, described: Classifier) -> bool:
        """Whether its inputs are those of the task, and its outputs as many as the classes."""
        task = "images" if self.session.get_inputs()[0].name == "images" else "text"
        outputs = self.session.get_outputs()[0].shape[-1]
        return (task, outputs) == (described.task, len(described.classes))

    def forward(self, images=None, *, input_ids=None, attention_mask=None) -> torch.Tensor:
        """Logits (B, C) of images float32 (B, 3, H, W), or of texts int64 (B, L) twice."""
        tensors = {"images": images, "input_ids": input_ids, "attention_mask": attention_mask}
        arrays = {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
        return torch.from_numpy(self.session.run(None, arrays)[0])


def predict(classifier: Classifier, inputs: list) -> np.ndarray:
    """Class probabilities (N, C) float32 in the order of the inputs, computed where the model is.

    The inputs are texts (str), or images (paths or uint8 arrays). A caller who predicts between training
    steps trains on as before: every module keeps its mode.

    Raises InputError: the model answers with something that is no number.
    """
    task = TASKS[classifier.task]
    # Similar lengths together, so that one long text does not pad a whole batch of short ones.
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]) if isinstance(inputs[i], str) else 0)
    probabilities = np.zeros((len(inputs), len(classifier.classes)), dtype=np.float32)
    with evaluating(classifier.model):
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            logits = task.logits(classifier, [inputs[row] for row in rows])  # (B, C)
            probabilities[rows] = logits.float().softmax(-1).cpu().numpy()
    if not np.isfinite(probabilities).all():
        count = int((~np.isfinite(probabilities)).any(axis=1).sum())
        found = f"the model's answer is not a number for {count} of {len(inputs)} inputs"
        raise InputError(f"{found}; its weights are broken: train again with a lower learning rate")
    return probabilities


def answer(row: np.ndarray, classes: tuple[str, ...]) -> tuple[str, dict[str, float]]:
    """One row of probabilities (C,) as people and programs see it: the label, and what each class has."""
    return classes[row.argmax()], {name: round(float(p), 6) for name, p in zip(classes, row)}


@dataclass(frozen=True)
class Comparison:
    """How far two models differ on the same inputs."""

    rows: int  # number of inputs
    max_difference: float  # largest absolute difference of a probability, 0..1
    agreement: float  # share of the inputs to which both give the same label, 0..1


def compare(p: np.ndarray, q: np.ndarray) -> Comparison:
    """Compare the probabilities (N, C) of two models on the same N > 0 inputs.

    Example: `compare(predict(load_run(run), texts), predict(load_run(run, engine="int8"), texts)).agreement`
    """
    p, q = np.asarray(p), np.asarray(q)
    if p.shape != q.shape or p.ndim != 2 or len(p) == 0:
        needed = "the probabilities of two models must both be (N, C) with N > 0"
        raise InputError(f"{needed}, found {p.shape} and {q.shape}; predict the same inputs")
    return Comparison(len(p), float(np.abs(p - q).max()), float((p.argmax(1) == q.argmax(1)).mean()))
