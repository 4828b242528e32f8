"""A model in a folder: written whole or not at all, and read only as it was written (chapters 03 and 07).

`labels.json` says what the model is and has the hash of every other file. Weights are safetensors, never a
pickle: a pickle is a program. A hash tells damage, not malice: who can change the weights can change it, too.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from helpers.assets import sha256
from helpers.data.datasets import MAX_TOKENS
from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.models.classifier import Classifier, check_classes, is_printable, quiet_transformers, shortened
from helpers.models.forward import max_positions
from helpers.models.images import image_model
from helpers.safety.whole import whole_folder

DESCRIPTION, WEIGHTS, CONFIG, TOKENIZER = "labels.json", "model.safetensors", "config.json", "tokenizer.json"
WORDS = {"text": "text", "sentiment": "text", "images": "images", "image": "images"}  # also older ones
SLACK = 4  # a model being loaded registers each weight up to four times: made, tied, replaced
LARGEST_PICTURE = 4096  # pixels, height and width
GIVE_A_RUN = "give a run folder written by `python -m helpers train ... --output RUN`"
WRITE_AGAIN = "copy the whole folder again, or train or export again"
LOCAL = {"local_files_only": True, "trust_remote_code": False}


def save_classifier(classifier: Classifier, folder: str | Path) -> None:
    """Write weights (safetensors), classes and preprocessing as the folder `folder`; see `load_classifier`.

    An earlier model in `folder` is replaced as a whole.

    Raises InputError: `folder` holds something else, or cannot be written.
    """
    with whole_folder(folder, (DESCRIPTION, WEIGHTS)) as new:
        if hasattr(classifier.model, "save_pretrained"):
            with quiet_transformers():
                classifier.model.save_pretrained(new)
        else:
            tensors = {name: tensor.contiguous() for name, tensor in classifier.model.state_dict().items()}
            save_file(tensors, new / WEIGHTS)
        save_description(classifier, new)


def load_classifier(folder: str | Path) -> Classifier:
    """Read what `save_classifier` wrote; the model is on the CPU in evaluation mode.

    Raises InputError: `folder` holds no saved classifier, or one whose files are missing, damaged or changed.
    """
    described, folder = load_description(folder), Path(folder)
    shapes = _shapes(folder / WEIGHTS)
    load, sized_by = (_text_model, CONFIG) if described.task == "text" else (_image_model, DESCRIPTION)
    try:
        with _no_larger_than(shapes):
            model = load(folder, described, shapes).eval()
    except _TooLargeError as error:
        raise _damaged(folder / sized_by, f"asks for a larger model than {WEIGHTS} holds") from error
    for name, tensor in model.state_dict().items():
        if (
            tensor.is_floating_point()
            and tensor.numel()
            and not torch.stack(tensor.aminmax()).isfinite().all()
        ):
            reason = f"holds numbers that are not finite ({name})"
            raise InputError(f"{folder / WEIGHTS} {reason}; train again with a lower learning rate")
    return replace(described, model=model, max_length=min(described.max_length, max_positions(model)))


def save_description(classifier: Classifier, folder: Path) -> None:
    """Write all but the weights, and write it last: the tokenizer where there is one, then labels.json with
    the hash of every file.
    """
    name = Path(classifier.name)
    shown = name.resolve().name if name.is_dir() else classifier.name  # no paths of this machine
    description = {"task": classifier.task, "name": shown, "classes": list(classifier.classes)}
    if isinstance(classifier.preprocessor, ImagePreprocessing):
        description["preprocessing"] = asdict(classifier.preprocessor)
    else:
        classifier.preprocessor.save_pretrained(folder)
        description["max_length"] = classifier.max_length
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != DESCRIPTION]
    description["sha256"] = {file.relative_to(folder).as_posix(): sha256(file) for file in files}
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=2).encode())


def load_description(folder: str | Path) -> Classifier:
    """Read what `save_description` wrote, as a classifier without a model, and verify every file.

    Raises InputError: `folder` holds no saved classifier, or a file is missing, damaged or changed.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION
    if not file.is_file():
        raise InputError(f"{folder} holds no trained model ({DESCRIPTION} is missing); {GIVE_A_RUN}")
    description = _dictionary(file)
    _check_form(file, description)
    _check_files(folder, description.get("sha256"))
    task, preprocessing = WORDS[description["task"]], description.get("preprocessing")
    longest = description.get("max_length", MAX_TOKENS)
    if task == "images":
        preprocessor = _preprocessing(file, preprocessing)
    else:
        if (folder / CONFIG).is_file():
            _dictionary(folder / CONFIG)  # the tokenizer reads it, too
        preprocessor = _tokenizer(folder)
        longest = min(longest, preprocessor.model_max_length)
    return Classifier(task, description["name"], None, tuple(description["classes"]), preprocessor, longest)


def _damaged(file: Path, what: str) -> InputError:
    return InputError(f"{file} {what}; {WRITE_AGAIN}")


def _dictionary(file: Path) -> dict:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, f"is no JSON ({shortened(error)})") from error
    if not isinstance(content, dict):
        raise _damaged(file, f"must hold a dictionary, found {type(content).__name__}")
    return content


def _check_form(file: Path, description: dict) -> None:
    """Raise unless labels.json has what `save_description` writes; older ones lack max_length and sha256."""
    get, task = description.get, description.get("task")
    is_known = is_printable(task) and task in WORDS
    of_images, length = is_known and WORDS[task] == "images", get("max_length", 1)
    rules = {
        "task": (is_known, "text or images"),
        "preprocessing": (of_images == isinstance(get("preprocessing"), dict), "there for images alone"),
        "name": (is_printable(get("name")), "the name of a model"),
        "max_length": (type(length) is int and length > 0, "a number of tokens"),
        "sha256": (_are_hashes(get("sha256", {})), "hashes of files in its folder"),
    }
    for name, (holds, wanted) in rules.items():
        if not holds:
            raise _damaged(file, f"must say {name!r}, {wanted}, found {shortened(repr(get(name)))}")
    check_classes(get("classes"), f"the classes in {file}")


def _are_hashes(hashes: object) -> bool:
    if not isinstance(hashes, dict) or not all(isinstance(digest, str) for digest in hashes.values()):
        return False
    return not any(PurePath(name).is_absolute() or ".." in PurePath(name).parts for name in hashes)


def _check_files(folder: Path, hashes: dict[str, str] | None) -> None:
    """Raise unless every file is as it was written, with none beside it that would be read, too."""
    if hashes is None:  # written before there were hashes
        return
    for name, expected in hashes.items():
        file = folder / name
        if not file.is_file():
            raise _damaged(file, "is missing")
        if sha256(file) != expected:
            raise _damaged(file, "is not the file that the run wrote")
    for file in (*folder.glob("*.json"), *folder.glob("*.safetensors")):
        if file.name not in (DESCRIPTION, *hashes):
            raise InputError(f"{file} was not written by the run and would change its answers; remove it")


def _preprocessing(file: Path, values: dict) -> ImagePreprocessing:
    try:
        made = ImagePreprocessing(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        if not 1 <= made.size <= LARGEST_PICTURE or not 0.1 <= made.crop_share <= 1:
            raise ValueError(f"size {made.size}, crop_share {made.crop_share}")
        tried = evaluation_preset(made)(Image.new("RGB", (8, 8)))
        if tried.shape != (3, made.size, made.size) or not tried.isfinite().all():
            raise ValueError("it makes no picture of numbers")
    except Exception as error:  # torchvision's many
        raise _damaged(file, f"has preprocessing that does not work ({shortened(error)})") from error
    return made


def _tokenizer(folder: Path):
    from transformers import AutoTokenizer

    if not (folder / TOKENIZER).is_file():  # transformers would make up another
        raise _damaged(folder / TOKENIZER, "is missing")
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        if tokenizer.pad_token_id is None:
            raise ValueError("it has no padding token")
    except Exception as error:  # one of its own for each way in which a file can be bad
        raise _damaged(folder / TOKENIZER, f"is no tokenizer ({shortened(error)})") from error
    return tokenizer


def _shapes(file: Path) -> dict[str, list[int]]:
    """Names and shapes of the tensors in a file; only its header is read."""
    if not file.is_file():
        raise _damaged(file, "is missing")
    try:
        with safe_open(file, framework="pt") as archive:
            return {name: archive.get_slice(name).get_shape() for name in archive.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(file, f"is no whole safetensors file ({shortened(error)})") from error


@contextmanager
def _no_larger_than(shapes: dict[str, list[int]]) -> Iterator[None]:
    """Stop the making of a model that has more weights than its file: a damaged configuration can ask for
    more layers than there is time for.
    """
    tensors, numbers = SLACK * len(shapes), SLACK * sum(map(np.prod, shapes.values()))

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal tensors, numbers
        tensors, numbers = tensors - 1, numbers - parameter.numel()
        if tensors < 0 or numbers < 0:
            raise _TooLargeError

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _text_model(folder: Path, described: Classifier, shapes: dict[str, list[int]]) -> nn.Module:
    from transformers import AutoConfig

    from helpers.models.pooling import classifier_class

    file = folder / CONFIG
    if not file.is_file():
        raise _damaged(file, "is missing")
    try:
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        outputs, layers = config.num_labels, getattr(config, "num_hidden_layers", 0)
        words = getattr(config, "vocab_size", len(described.preprocessor))
    except Exception as error:
        raise _damaged(file, f"is no configuration of a model ({shortened(error)})") from error
    if outputs != len(described.classes):
        named = f"names {len(described.classes)} classes, the model has {outputs} outputs"
        raise _damaged(folder / DESCRIPTION, named)
    if layers > len(shapes):  # layers that share their weights would be no larger, but slow without end
        raise _TooLargeError
    if len(described.preprocessor) > words:
        raise _damaged(folder / TOKENIZER, f"has {len(described.preprocessor)} tokens, the model {words}")
    try:
        with quiet_transformers():
            model, report = classifier_class(config).from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **LOCAL
            )
    except _TooLargeError:
        raise
    except Exception as error:
        raise _damaged(folder / WEIGHTS, f"does not fit {CONFIG} ({shortened(error)})") from error
    _check_all_loaded(folder, [str(name) for kind in report.values() for name in kind])
    return model


def _image_model(folder: Path, described: Classifier, shapes: dict[str, list[int]]) -> nn.Module:
    try:
        model = image_model(described.name, len(described.classes), pretrained=False)
    except InputError as error:
        raise _damaged(folder / DESCRIPTION, f"names a model that is not known ({error})") from error
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    _check_all_loaded(folder, sorted(n for n in own.keys() | shapes.keys() if own.get(n) != shapes.get(n)))
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(memory_format=torch.channels_last)


def _check_all_loaded(folder: Path, unfit: list[str]) -> None:
    if unfit:
        which = f"{len(unfit)} weights are missing, unknown or of another shape, first {unfit[0]}"
        raise _damaged(folder / WEIGHTS, f"does not fit the model that {DESCRIPTION} describes ({which})")


class _TooLargeError(Exception):
    """A model was to be made that its file of weights cannot fill."""
