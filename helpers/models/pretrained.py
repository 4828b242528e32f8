"""Pretrained models with a new head for your classes, and how they are saved and loaded (chapters 04, 06 and
07).

Embedded weights work offline: "minilm" for texts, "efficientnet_lite0" for images. Any encoder of the Hugging
Face hub, any image model of timm and torchvision's "resnet50" are used by name when their weights are on disk
or can be downloaded.
"""

import json
import logging
import warnings
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

# Pinned revisions of the hub models that the course uses at full scale: a name alone may point to other
# weights tomorrow.
HUB_REVISIONS = {
    "bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
}
SENTIMENTS = ("negative", "neutral", "positive")
LITE0 = "tf_efficientnet_lite0"  # timm's name for efficientnet_lite0
GIVE_A_RUN = "give a run folder written by `python -m helpers train ... --output RUN`"


@dataclass(frozen=True)
class Classifier:
    """A model together with all that is needed to use it.

    Attributes:
        task: "text" or "images", see `tasks`.
        name: the pretrained model it started from.
        model: `model(input_ids (B, L), attention_mask (B, L)).logits` (B, C), or `model(images (B, 3, H, W))`
            (B, C).
        classes: names of the C outputs, in order.
        preprocessor: a tokenizer for texts, `ImagePreprocessing` for images.
    """

    task: str
    name: str
    model: nn.Module | None
    classes: tuple[str, ...]
    preprocessor: object

    def logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits (B, C) of a batch, computed where the model is."""
        device = next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))
        return forward(self.model, {name: tensor.to(device) for name, tensor in batch.items()})


def text_classifier(
    name: str = "minilm",
    classes: tuple[str, ...] = SENTIMENTS,
    *,
    dropout: float = 0.1,
    pretrained: bool = True,
) -> Classifier:
    """A pretrained encoder with a fresh classification head; seed before calling, the head's weights are
    random.

    Example: `classifier = text_classifier("minilm", ("no", "yes"))`

    Args:
        name: "minilm" (embedded, 22.7 million parameters), a folder saved by transformers, or a name on the
            hub.
        classes: names of the classes.
        dropout: share of the head's inputs that is zeroed in training.
        pretrained: False keeps the architecture and draws all weights at random, to measure what pretraining
            is worth.

    Raises:
        InputError: the model is neither embedded, nor a folder, nor reachable on the hub, or its texts cannot
            be padded.
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
        raise InputError(
            f"the tokenizer of {name!r} has no padding token, so texts cannot share a batch; choose an "
            "encoder"
        )
    return Classifier("text", name, model, tuple(classes), tokenizer)


def image_classifier(
    name: str = "efficientnet_lite0",
    classes: tuple[str, ...] = (),
    *,
    image_size: int | None = None,
    pretrained: bool = True,
) -> Classifier:
    """A network pretrained on ImageNet with a fresh classification head; seed before calling.

    Example: `classifier = image_classifier("efficientnet_lite0", ("cat", "dog"))`

    Args:
        name: "efficientnet_lite0" (embedded, 3.4 million parameters), any name in `timm.list_models()`, or
            "resnet50" of torchvision (where its weights cannot be had, a warning says so and
            efficientnet_lite0 takes its place).
        classes: names of the classes.
        image_size: pixels; by default 96 for efficientnet_lite0 (fast enough for a CPU), else what it was
            pretrained on.
        pretrained: as in `text_classifier`.

    Raises:
        InputError: another name, or weights that cannot be downloaded.
    """
    model = _bare_image_model(name, len(classes)) if not pretrained else None
    if pretrained and name == "resnet50":
        model = _resnet50(len(classes))
        name = name if model is not None else "efficientnet_lite0"
    if model is None:
        model = (
            _efficientnet_lite0(len(classes))
            if name == "efficientnet_lite0"
            else _from_timm(name, len(classes))
        )
    # Channels as the innermost dimension: the layout in which convolutions run fastest here (chapter 06
    # measures it).
    model.to(memory_format=torch.channels_last)
    return Classifier("images", name, model, tuple(classes), _image_preprocessing(name, model, image_size))


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write weights (safetensors), classes and tokenizer or image preprocessing into `folder`; see
    `load_classifier`.
    """
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

    Raises:
        InputError: `folder` holds no saved classifier.
    """
    described = load_description(folder)
    if described.task == "text":
        from transformers import AutoModelForSequenceClassification

        with _quiet_transformers():
            model = AutoModelForSequenceClassification.from_pretrained(folder)
    else:
        model = _bare_image_model(described.name, len(described.classes)).to(
            memory_format=torch.channels_last
        )
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

    Raises:
        InputError: `folder` holds no saved classifier.
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


def _efficientnet_lite0(num_classes: int) -> nn.Module:
    """timm's architecture with the embedded weights: the same 296 tensors under other names, in the same
    order.
    """
    import timm

    model = timm.create_model(LITE0, pretrained=False)
    weights = torch.load(assets.path("efficientnet_lite0.pth"), weights_only=True, map_location="cpu")
    own = model.state_dict()
    if len(own) != len(weights) or any(a.shape != b.shape for a, b in zip(own.values(), weights.values())):
        raise InputError(
            "the EfficientNet-Lite0 weights do not fit this version of timm; install requirements.lock"
        )
    model.load_state_dict(dict(zip(own, weights.values())))
    return replace_head(model, num_classes)


def _resnet50(num_classes: int) -> nn.Module | None:
    """torchvision's ResNet50 with its ImageNet weights, or None with a warning where they cannot be had."""
    from torchvision.models import ResNet50_Weights, resnet50

    try:
        return replace_head(resnet50(weights=ResNet50_Weights.IMAGENET1K_V2), num_classes)
    except OSError as error:  # urllib's errors are OSErrors
        warnings.warn(
            f"the ResNet50 weights are not on this machine and could not be downloaded ({error}); "
            "EfficientNet-Lite0 "
            "takes its place. For the real one run this once with a network; it is then kept in the torch "
            "hub cache.",
            stacklevel=3,
        )
        return None


def _from_timm(name: str, num_classes: int) -> nn.Module:
    import timm

    _check_timm(name)
    try:
        return timm.create_model(name, pretrained=True, num_classes=num_classes)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(_not_found("image", name, "efficientnet_lite0", error)) from error


def _bare_image_model(name: str, num_classes: int) -> nn.Module:
    """The architecture with random weights."""
    if name == "resnet50":
        from torchvision.models import resnet50

        return replace_head(resnet50(weights=None), num_classes)
    import timm

    if name == "efficientnet_lite0":
        return replace_head(timm.create_model(LITE0, pretrained=False), num_classes)
    _check_timm(name)
    return timm.create_model(name, pretrained=False, num_classes=num_classes)


def _check_timm(name: str) -> None:
    import timm

    if not timm.is_model(name):
        raise InputError(
            "the image model must be efficientnet_lite0, resnet50 or one of timm's "
            f"{len(timm.list_models()):,} names "
            f"(timm.list_models()), found {name!r}"
        )


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Swap the 1,000 ImageNet outputs for ours; the features below stay. In place, and returned."""
    head = "fc" if hasattr(model, "fc") else "classifier"
    setattr(model, head, nn.Linear(getattr(model, head).in_features, num_classes))
    return model


def _image_preprocessing(name: str, model: nn.Module, image_size: int | None) -> ImagePreprocessing:
    if name == "resnet50":
        return ImagePreprocessing(image_size or 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if name == "efficientnet_lite0":
        return ImagePreprocessing(image_size or 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    from timm.data import resolve_model_data_config

    found = resolve_model_data_config(model)
    size = image_size or found["input_size"][-1]
    return ImagePreprocessing(size, found["mean"], found["std"], found["crop_pct"], found["interpolation"])


def _not_found(task: str, name: str, embedded: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return (
        f"the {task} model {name!r} is neither embedded ({embedded}), nor a folder, nor reachable on the hub "
        f"({reason}); "
        "check the name or the network"
    )


class _quiet_transformers:
    """Hide the load report and progress bars of transformers: a missing head is what we ask for, not a
    surprise.
    """

    def __enter__(self):
        from transformers.utils import logging as transformers_logging

        self.logger = transformers_logging
        self.level, self.bar = (
            transformers_logging.get_verbosity(),
            transformers_logging.is_progress_bar_enabled(),
        )
        transformers_logging.set_verbosity(logging.ERROR)
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_):
        self.logger.set_verbosity(self.level)
        if self.bar:
            self.logger.enable_progress_bar()
