"""Pretrained models with a new head for your classes, saved and loaded (chapters 04, 06 and 07).

Embedded weights work offline: "minilm" for texts, "efficientnet_lite0" for images. Any encoder of the Hugging
Face hub, any image model of timm and torchvision's "resnet50" are used by name when their weights are on disk
or can be downloaded.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from helpers import assets
from helpers.data.transforms import ImagePreprocessing
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.models.forward import forward

# Pinned revisions of the course's hub models: a name alone may point to other weights tomorrow.
HUB_REVISIONS = {
    "bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
}
PREPROCESSING = {  # of the image models that do not bring their own
    "resnet50": ImagePreprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "efficientnet_lite0": ImagePreprocessing(96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # 96: fast on a CPU
}
GIVE_A_RUN = "give a run folder written by `python -m helpers train ... --output RUN`"


@dataclass(frozen=True)
class Classifier:
    """A model together with all that is needed to use it."""

    task: str  # "text" or "images", see `tasks`
    name: str  # the pretrained model it started from
    model: nn.Module | None  # (input_ids, attention_mask) (B, L), or images (B, 3, H, W), to logits (B, C)
    classes: tuple[str, ...]  # names of its C outputs, in order
    preprocessor: object  # a tokenizer for texts, `ImagePreprocessing` for images

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits (B, C) of a batch, computed where the model is."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        return forward(self.model, {name: tensor.to(device) for name, tensor in batch.items()})


def text_classifier(
    name: str = "minilm",
    classes: tuple[str, ...] = ("negative", "neutral", "positive"),
    *,
    dropout: float = 0.1,
    pretrained: bool = True,
) -> Classifier:
    """A pretrained encoder with a fresh, random classification head: seed before calling.

    Example: `classifier = text_classifier("minilm", ("no", "yes"))`

    Args:
        name: "minilm" (embedded, 22.7 million parameters), a folder of transformers, or a name on the hub.
        dropout: share of the head's inputs that is zeroed in training.
        pretrained: False draws all weights at random, to measure what pretraining is worth.

    Raises InputError: the model is not embedded, no folder and not on the hub, or its texts cannot be padded.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    source = assets.path("minilm") if name == "minilm" else name
    options = {} if Path(source).is_dir() else {"revision": HUB_REVISIONS.get(name, "main")}
    labels = {"id2label": dict(enumerate(classes)), "label2id": {label: i for i, label in enumerate(classes)}}
    try:
        with _quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            config = AutoConfig.from_pretrained(source, classifier_dropout=dropout, **labels, **options)
            if pretrained:
                model = AutoModelForSequenceClassification.from_pretrained(
                    source, config=config, ignore_mismatched_sizes=True, use_safetensors=True, **options
                )
            else:
                model = AutoModelForSequenceClassification.from_config(config)
    except (OSError, ValueError) as error:
        raise InputError(_not_found("text", name, "minilm", error)) from error
    if tokenizer.pad_token_id is None:
        problem = f"the tokenizer of {name!r} has no padding token, so texts cannot share a batch"
        raise InputError(f"{problem}; choose an encoder")
    return Classifier("text", name, model, tuple(classes), tokenizer)


def image_classifier(
    name: str = "efficientnet_lite0", classes: tuple = (), *, image_size: int | None = None, pretrained=True
) -> Classifier:
    """A network pretrained on ImageNet with a fresh, random classification head: seed before calling.

    Example: `classifier = image_classifier("efficientnet_lite0", ("cat", "dog"))`

    Args:
        name: "efficientnet_lite0" (embedded, 3.4 million parameters), any name in `timm.list_models()`, or
            "resnet50" of torchvision (without its weights: a warning, and efficientnet_lite0 instead).
        image_size: pixels; by default 96 for efficientnet_lite0, else what the model was pretrained on.
        pretrained: False draws all weights at random.

    Raises InputError: another name, or weights that cannot be downloaded.
    """
    try:
        model = _image_model(name, len(classes), pretrained=pretrained)
    except OSError as error:  # as urllib's errors are
        if name != "resnet50":
            raise
        warnings.warn(
            f"the ResNet50 weights are not on this machine and could not be downloaded ({error}); "
            "EfficientNet-Lite0 takes its place. For the real one run this once with a network; it is then "
            "kept in the torch hub cache.",
            stacklevel=2,
        )
        return image_classifier("efficientnet_lite0", classes, image_size=image_size)
    # Channels innermost in memory: the layout in which convolutions run fastest here (see chapter 06).
    model.to(memory_format=torch.channels_last)
    preprocessing = PREPROCESSING.get(name) or _of_timm(model)
    if image_size:
        preprocessing = replace(preprocessing, size=image_size)
    return Classifier("images", name, model, tuple(classes), preprocessing)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write weights (safetensors), classes and preprocessing into `folder`; see `load_classifier`."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(classifier.model, "save_pretrained"):
        with _quiet_transformers():
            classifier.model.save_pretrained(folder)
    else:
        tensors = {name: tensor.contiguous() for name, tensor in classifier.model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
    save_description(classifier, folder)


def load_classifier(folder: str | Path) -> Classifier:
    """Read what `save_classifier` wrote; the model is on the CPU in evaluation mode.

    Raises InputError: `folder` holds no saved classifier.
    """
    described = load_description(folder)
    if described.task == "text":
        from transformers import AutoModelForSequenceClassification

        with _quiet_transformers():
            model = AutoModelForSequenceClassification.from_pretrained(folder)
    else:
        model = _image_model(described.name, len(described.classes), pretrained=False)
        model.to(memory_format=torch.channels_last)
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return replace(described, model=model.eval())


def save_description(classifier: Classifier, folder: Path) -> None:
    """Write all but the weights: labels.json, and the tokenizer where there is one."""
    description = {"task": classifier.task, "name": classifier.name, "classes": list(classifier.classes)}
    if isinstance(classifier.preprocessor, ImagePreprocessing):
        description["preprocessing"] = asdict(classifier.preprocessor)
    else:
        classifier.preprocessor.save_pretrained(folder)
    write_atomically(folder / "labels.json", json.dumps(description, indent=2).encode())


def load_description(folder: str | Path) -> Classifier:
    """Read what `save_description` wrote, as a classifier without a model.

    Raises InputError: `folder` holds no saved classifier.
    """
    file = Path(folder) / "labels.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no trained model (labels.json is missing); {GIVE_A_RUN}")
    description = json.loads(file.read_text(encoding="utf-8"))
    if "preprocessing" in description:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in description["preprocessing"].items()}
        task, preprocessor = "images", ImagePreprocessing(**values)
    else:
        from transformers import AutoTokenizer

        task, preprocessor = "text", AutoTokenizer.from_pretrained(folder)
    return Classifier(task, description["name"], None, tuple(description["classes"]), preprocessor)


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Swap the 1,000 ImageNet outputs for ours; the features below stay. In place, and returned."""
    head = "fc" if hasattr(model, "fc") else "classifier"
    setattr(model, head, nn.Linear(getattr(model, head).in_features, num_classes))
    return model


def _image_model(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """The architecture with a fresh head, on pretrained weights or on random ones."""
    if name == "resnet50":
        from torchvision.models import resnet50

        return replace_head(resnet50(weights="IMAGENET1K_V2" if pretrained else None), num_classes)
    import timm

    if name == "efficientnet_lite0":
        model = timm.create_model("tf_efficientnet_lite0")
        if pretrained:
            _load_embedded(model)
        return replace_head(model, num_classes)
    if not timm.is_model(name):
        known = f"efficientnet_lite0, resnet50 or one of timm's {len(timm.list_models()):,} names"
        raise InputError(f"the image model must be {known} (timm.list_models()), found {name!r}")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise InputError(_not_found("image", name, "efficientnet_lite0", error)) from error


def _load_embedded(model: nn.Module) -> None:
    """The embedded weights are the same 296 tensors as timm's, under other names, in the same order."""
    weights = torch.load(assets.path("efficientnet_lite0.pth"), weights_only=True, map_location="cpu")
    own = model.state_dict()
    if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in weights.values()]:
        fault = "the EfficientNet-Lite0 weights do not fit this version of timm"
        raise InputError(f"{fault}; install requirements.lock")
    model.load_state_dict(dict(zip(own, weights.values())))


def _of_timm(model: nn.Module) -> ImagePreprocessing:
    from timm.data import resolve_model_data_config

    found = resolve_model_data_config(model)
    size, crop_share = found["input_size"][-1], found["crop_pct"]
    return ImagePreprocessing(size, found["mean"], found["std"], crop_share, found["interpolation"])


def _not_found(task: str, name: str, embedded: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return (
        f"the {task} model {name!r} is neither embedded ({embedded}), nor a folder, nor reachable on the hub "
        f"({reason}); check the name or the network"
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hide the load report and progress bars of transformers: a missing head is what we ask for."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.ERROR)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
