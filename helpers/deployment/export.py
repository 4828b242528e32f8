"""A trained classifier as one ONNX file that runs without PyTorch, in float32 or with int8 weights (chapters
07 and 08).

An export is checked before it exists: the written file is loaded again and must agree with the PyTorch model
on real inputs.
"""

import json
import logging
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.deployment.predict import FOLDERS, Comparison, compare, load_onnx, predict
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.models.pretrained import Classifier

__all__ = ["FOLDERS", "MAX_DIFFERENCE", "Export", "export_onnx", "quantise"]

MAX_DIFFERENCE = 1e-3  # of a probability, float32 against float32: the same sums in another order
MAX_FLIPS = 0.01  # share of the labels that int8 may change, and always one
BLOCK = 128  # weights that share one int8 scale
LARGE_TABLE = 1_000_000  # entries from which an embedding table is worth quantising
FILE_LIMIT = 2**31 - 2**20  # a single ONNX file cannot be larger than 2 GiB


@dataclass(frozen=True)
class Export:
    """What was written: the folder, its model file, that file's bytes, and how it compares with the PyTorch
    model.
    """

    folder: Path
    file: Path
    bytes: int
    parity: Comparison


def export_onnx(classifier: Classifier, folder: str | Path, check_on: list, *, int8: bool = False) -> Export:
    """Write a complete export: model.onnx, labels.json and the tokenizer; all of it, or nothing.

    Batches may have any size and texts any length up to that which training allowed (`datasets.MAX_TOKENS`).

    Args:
        classifier: of PyTorch; moved to the CPU.
        folder: to write; an earlier export in it is replaced.
        check_on: real inputs, as for `predict`, on which both models must agree; a few hundred validation
            rows.
        int8: texts only, see `quantise`. Convolutions need int8 activations as well to gain anything, and on
            the course's image model that changed one label in ten (benchmarks/export.py): refused.

    Raises:
        InputError: nothing to check on, int8 images, a folder with other content, or the models disagree:
            probabilities of float32 by more than 1e-3, or labels of int8 in more than one row of a hundred.
    """
    folder = Path(folder)
    _check_arguments(classifier, folder, check_on, int8)
    expected = predict(classifier, check_on)  # also moves the model to the CPU, in evaluation mode
    with _folder_to_write(folder) as temporary:
        target = Path(temporary) / "export"
        target.mkdir()
        _write_graph(classifier, target / "model.onnx")
        if int8:
            quantise(target / "model.onnx")
        _write_description(classifier, target)
        parity = compare(expected, predict(load_onnx(target), check_on))
        _check_parity(parity, int8)
        if folder.exists():  # the old one steps aside for the instant in which the new one takes its name
            os.replace(folder, Path(temporary) / "old")
        os.replace(target, folder)
    return Export(folder, folder / "model.onnx", (folder / "model.onnx").stat().st_size, parity)


def quantise(file: Path) -> None:
    """Turn the float32 weights of an exported text model into int8, in place: about a quarter of the size,
    and faster.

    Matrix products: each block of 128 weights of a column has its own scale, and so have the activations,
    which are quantised while the model runs. One scale for all activations of a batch, the usual dynamic
    quantisation, changed 2 to 5 labels of a hundred here: a few large activations stretch the scale for all
    others, and for the neighbours in the batch (benchmarks/export.py measures both). Embedding tables: one
    scale per row. The rest (attention, layer norms, head) stays float32.

    The file then runs in ONNX Runtime only, whose operator `MatMulNBits` it uses. On a chip without int8 dot
    products it is small but not faster.

    Source: Dettmers et al., "LLM.int8()" (2022), on large activations and on scales that fewer numbers share.
    """
    import onnx

    model = onnx.load(file)
    _quantise_tables(model.graph)
    quantizer = _block_quantizer()(
        model, bits=8, block_size=BLOCK, is_symmetric=False, accuracy_level=4
    )  # 4: int8 activations
    quantizer.process()
    write_atomically(file, quantizer.model.model.SerializeToString())
    file.with_name(f"{file.name}.data").unlink(
        missing_ok=True
    )  # where a float32 model over 2 GiB keeps its weights


def _check_arguments(classifier: Classifier, folder: Path, check_on: list, int8: bool) -> None:
    if not len(check_on):
        raise InputError(
            "an export is checked against the PyTorch model and needs real inputs for it, found none; give "
            "some validation rows"
        )
    if int8 and classifier.task != "text":
        raise InputError(
            "int8 is for text models; this is an image model, on which int8 changed one label in ten: export "
            "it without --int8"
        )
    if (
        folder.exists()
        and not (folder / "model.onnx").is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise InputError(f"{folder} is neither empty nor an earlier export; choose another folder")


def _folder_to_write(folder: Path) -> tempfile.TemporaryDirectory:
    """A temporary folder beside `folder`: on the same disk, so that the finished export only needs a new
    name.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-")
    except OSError as error:
        raise InputError(
            f"the export folder {folder} cannot be written ({error.strerror}); choose another one"
        ) from error


class _Logits(nn.Module):
    """The model with plain tensors in and out: an ONNX graph has no keyword arguments and no output
    objects.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return getattr(output, "logits", output)


def _write_graph(classifier: Classifier, file: Path) -> None:
    """Trace the model with one example, in which named dimensions stay open, and write the graph with its
    weights.
    """
    rows, length = torch.export.Dim("rows"), torch.export.Dim("length")
    if classifier.task == "text":
        ids = torch.ones((2, 9), dtype=torch.int64)
        model, example, names = _Logits(classifier.model), (ids, ids.clone()), ["input_ids", "attention_mask"]
        shapes = ({0: rows, 1: length},) * 2
    else:
        size = classifier.preprocessor.size
        model, example, names, shapes = (
            classifier.model,
            (torch.zeros(2, 3, size, size),),
            ["images"],
            ({0: rows},),
        )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="# The axis name"
        )  # both inputs share their dimensions: that is meant
        program = torch.onnx.export(
            model.eval(),
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=names,
            output_names=["logits"],
            verbose=False,
        )
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    program.save(str(file), external_data=weights > FILE_LIMIT)


def _write_description(classifier: Classifier, folder: Path) -> None:
    description = {"task": classifier.task, "name": classifier.name, "classes": list(classifier.classes)}
    if classifier.task == "text":
        classifier.preprocessor.save_pretrained(folder)
    else:
        description["preprocessing"] = asdict(classifier.preprocessor)
    write_atomically(folder / "labels.json", json.dumps(description, indent=2).encode())


def _check_parity(parity: Comparison, int8: bool) -> None:
    flips = round((1 - parity.agreement) * parity.rows)
    if int8 and flips > max(1, MAX_FLIPS * parity.rows):
        raise InputError(
            f"int8 changes {flips} of {parity.rows} labels, more than {MAX_FLIPS:.0%}; nothing was written: "
            "export without int8"
        )
    if not int8 and not parity.max_difference <= MAX_DIFFERENCE:  # "not <=": a NaN is no agreement
        raise InputError(
            f"the export differs from the PyTorch model by up to {parity.max_difference:.2g} of a "
            f"probability, at most {MAX_DIFFERENCE} "
            "is allowed; nothing was written: use the versions in requirements.lock, or serve the run "
            "without exporting it"
        )


def _quantise_tables(graph) -> None:
    """Large embedding tables as int8 with one scale per row: look up the row and its scale, then multiply. In
    place.
    """
    from onnx import TensorProto, helper, numpy_helper

    tables = {
        tensor.name: tensor
        for tensor in graph.initializer
        if len(tensor.dims) == 2 and np.prod(tensor.dims) >= LARGE_TABLE
    }
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Gather" or node.input[0] not in tables:
            continue
        (name, ids), (result,) = node.input, node.output
        table = numpy_helper.to_array(tables[name])  # (V, D)
        scale = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12).astype(np.float32) / 127  # (V, 1)
        graph.initializer.remove(tables.pop(name))
        graph.initializer.append(
            numpy_helper.from_array(np.rint(table / scale).astype(np.int8), f"{name}_int8")
        )
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        graph.node.remove(node)
        for step in reversed(
            (
                helper.make_node("Gather", [f"{name}_int8", ids], [f"{result}_int8"]),
                helper.make_node("Cast", [f"{result}_int8"], [f"{result}_float"], to=TensorProto.FLOAT),
                helper.make_node("Gather", [f"{name}_scale", ids], [f"{result}_scale"]),
                helper.make_node("Mul", [f"{result}_float", f"{result}_scale"], [result]),
            )
        ):
            graph.node.insert(place, step)


def _block_quantizer():
    """onnxruntime's class; importing its module sets up logging for the whole process, which is undone
    here.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from onnxruntime.quantization import matmul_nbits_quantizer

    root.handlers[:] = handlers
    root.setLevel(level)
    matmul_nbits_quantizer.logger.setLevel(logging.WARNING)
    return matmul_nbits_quantizer.MatMulNBitsQuantizer
