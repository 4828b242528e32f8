"""A trained classifier as one ONNX file that runs without PyTorch, float32 or int8 (chapters 07 and 08).

It is checked before it exists: the written file, loaded again, must agree with the model on real inputs.
"""

import copy
import logging
import os
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from helpers.deployment.predict import Comparison, compare, load_onnx, predict
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.models.pretrained import Classifier, save_description

MAX_DIFFERENCE = 1e-3  # of a probability, float32 against float32: the same sums in another order
MAX_FLIPS = 0.01  # share of the labels that int8 may change, and always one
BLOCK = 32  # numbers that share an int8 scale: 0.3% of a MiniLM's labels changed, 1.2% with 128 (600 texts)
LARGE_TABLE = 1_000_000  # entries from which an embedding table is worth quantising
FILE_LIMIT = 2**31 - 2**20  # a single ONNX file cannot be larger than 2 GiB


@dataclass(frozen=True)
class Export:
    """What was written: folder, model file, that file's bytes, and how it compares with the PyTorch model."""

    folder: Path
    file: Path
    bytes: int
    parity: Comparison


def export_onnx(classifier: Classifier, folder: str | Path, check_on: list, *, int8: bool = False) -> Export:
    """Write a complete export: model.onnx, labels.json and the tokenizer; all of it, or nothing.

    Example: `export_onnx(load_run(run), "smaller", ["I like it.", "I do not."], int8=True).parity`

    Batches may have any size, texts any length that training allowed. The model keeps its device and mode; an
    earlier export in `folder` is replaced. On `check_on`, inputs as for `predict`, both models must agree:
    probabilities of float32 to 1e-3, labels of int8 in 99 of a hundred rows. int8 is refused for images: they
    need int8 activations, too, to gain anything, and changed two labels in a hundred (benchmarks/export.py).
    """
    folder = Path(folder)
    if not len(check_on):
        raise InputError("an export is checked on real inputs, found none; give some validation rows")
    if int8 and classifier.task != "text":
        why = "on images it changed two labels in a hundred"
        raise InputError(f"int8 is for text models; {why}: export this one without --int8")
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not (folder / "model.onnx").is_file():
        raise InputError(f"{folder} is neither empty nor an earlier export; choose another folder")
    classifier = replace(classifier, model=copy.deepcopy(classifier.model).cpu().eval())
    expected = predict(classifier, check_on)
    with folder_to_write(folder) as temporary:
        target = Path(temporary) / "export"
        target.mkdir()
        _write_graph(classifier, target / "model.onnx")
        if int8:
            quantise(target / "model.onnx")
        save_description(classifier, target)
        parity = compare(expected, predict(load_onnx(target), check_on))
        _check_parity(parity, int8)
        if folder.exists():  # the old one steps aside for the instant in which the new one takes its name
            os.replace(folder, Path(temporary) / "old")
        os.replace(target, folder)
    return Export(folder, folder / "model.onnx", (folder / "model.onnx").stat().st_size, parity)


def quantise(file: Path) -> None:
    """Turn the float32 weights of an exported text model into int8, in place: smaller, hardly faster.

    Matrix products: each block of 32 weights of a column has its own scale, and so have the activations,
    which are quantised while the model runs. One scale for all activations of a batch, the usual dynamic
    quantisation, changed 2 to 5 labels of a hundred here: a few large activations stretch the scale for all
    others, and for the neighbours in the batch (benchmarks/export.py measures both). Embedding tables: one
    scale per row. The rest (attention, layer norms, head) stays float32: about a quarter of the size is left.
    The file then runs in ONNX Runtime only, whose operator `MatMulNBits` it uses. It is small, and in batches
    not faster where it was measured (a server processor).

    Source: Dettmers et al., "LLM.int8()" (2022), on large activations and on scales that fewer numbers share.
    """
    import onnx

    model = onnx.load(file)
    _quantise_tables(model.graph)
    options = {"block_size": BLOCK, "is_symmetric": False, "accuracy_level": 4}  # level 4: int8 activations
    quantizer = _block_quantizer()(model, bits=8, **options)
    quantizer.process()
    write_atomically(file, quantizer.model.model.SerializeToString())
    file.with_name(f"{file.name}.data").unlink(missing_ok=True)  # the weights of a float32 model over 2 GiB


def folder_to_write(folder: Path) -> tempfile.TemporaryDirectory:
    """A temporary folder beside `folder`: on the same disk, a finished export only needs a new name."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-")
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error


def _write_graph(classifier: Classifier, file: Path) -> None:
    """Trace the model with one example, and write the graph with its weights."""
    if classifier.task == "images":
        size = classifier.preprocessor.size
        example, open_axes = {"images": torch.zeros(2, 3, size, size)}, ("rows",)
    else:
        ids = torch.ones((2, 9), dtype=torch.int64)
        example, open_axes = {"input_ids": ids, "attention_mask": ids.clone()}, ("rows", "length")
    dimensions = {axis: torch.export.Dim(name) for axis, name in enumerate(open_axes)}
    names = {"input_names": list(example), "output_names": ["logits"]}
    options = {"dynamo": True, "dynamic_shapes": (dimensions,) * len(example), "verbose": False}
    with warnings.catch_warnings():  # inputs share dimensions: that is meant; the other is torch 2.11's own
        warnings.filterwarnings("ignore", message="# The axis name|.isinstance.treespec")
        program = torch.onnx.export(classifier.model, tuple(example.values()), **names, **options)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in classifier.model.state_dict().values())
    program.save(str(file), external_data=weights > FILE_LIMIT)


def _check_parity(parity: Comparison, int8: bool) -> None:
    flips = round((1 - parity.agreement) * parity.rows)
    if int8 and flips > max(1, MAX_FLIPS * parity.rows):
        found = f"int8 changes {flips} of {parity.rows} labels, more than {MAX_FLIPS:.0%}"
        raise InputError(f"{found}; nothing was written: export without int8")
    if not int8 and not parity.max_difference <= MAX_DIFFERENCE:  # "not <=": a NaN is no agreement
        found = f"differs from that of PyTorch by {parity.max_difference:.2g}, more than {MAX_DIFFERENCE}"
        advice = "use the versions in requirements.lock, or serve the run without exporting it"
        raise InputError(f"a probability of the export {found}; nothing was written: {advice}")


def _quantise_tables(graph) -> None:
    """Large embedding tables as int8: look up a row and its scale, then multiply. In place."""
    from onnx import TensorProto, helper, numpy_helper

    tables = {t.name: t for t in graph.initializer if len(t.dims) == 2 and np.prod(t.dims) >= LARGE_TABLE}
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Gather" or node.input[0] not in tables:
            continue
        (name, ids), (result,) = node.input, node.output
        table = numpy_helper.to_array(tables[name])  # (V, D)
        scale = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12).astype(np.float32) / 127  # (V, 1)
        whole = np.rint(table / scale).astype(np.int8)
        graph.initializer.remove(tables.pop(name))
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        graph.node.remove(node)
        steps = (
            helper.make_node("Gather", [f"{name}_int8", ids], [f"{result}_int8"]),
            helper.make_node("Cast", [f"{result}_int8"], [f"{result}_float"], to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}_scale", ids], [f"{result}_scale"]),
            helper.make_node("Mul", [f"{result}_float", f"{result}_scale"], [result]),
        )
        for step in reversed(steps):
            graph.node.insert(place, step)


def _block_quantizer():
    """onnxruntime's class; nowhere else in that package is it exported."""
    # Importing its module calls `logging.basicConfig`, which does nothing where the root logger has handlers.
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    finally:
        root.removeHandler(handler)
    return MatMulNBitsQuantizer
