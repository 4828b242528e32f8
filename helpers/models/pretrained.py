"""Pretrained models with a new head for your classes, and how they are saved and loaded (chapters 04, 06 and
07).

Embedded weights work offline: "minilm" for texts, "efficientnet_lite0" for images. "resnet50", and any text
model of the Hugging Face hub, are used by name when their weights are on disk or can be downloaded.
"""

import json
import logging
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from helpers import assets, files
from helpers.data.transforms import ImagePreprocessing
from helpers.errors import InputError

# Pinned revisions of the hub models that the course uses at full scale: a name alone may point to other
# weights tomorrow.
HUB_REVISIONS = {
    "bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
}
IMAGE_MODELS = ("efficientnet_lite0", "resnet50")


@dataclass(frozen=True)
class Classifier:
    """A model together with all that is needed to use it.

    Attributes:
        task: "text" or "image".
        name: the pretrained model it started from.
        model: texts: `model(input_ids (B, L), attention_mask (B, L)).logits` (B, C); images: `model(images
            (B, 3, H, W))` (B, C).
        classes: names of the C outputs, in order.
        preprocessor: a tokenizer for texts, `ImagePreprocessing` for images.
    """

    task: str
    name: str
    model: nn.Module
    classes: tuple[str, ...]
    preprocessor: object


def text_classifier(
    name: str = "minilm",
    classes: tuple[str, ...] = ("negative", "neutral", "positive"),
    *,
    dropout: float = 0.1,
    pretrained: bool = True,
) -> Classifier:
    """A pretrained encoder with a fresh classification head; seed before calling, the head's weights are
    random.

    Args:
        name: "minilm" (embedded, 22.7 million parameters), a folder saved by transformers, or a name on the
            hub.
        classes: names of the classes.
        dropout: share of the head's inputs that is zeroed in training.
        pretrained: False keeps the architecture and draws all weights at random, to measure what pretraining
            is worth.

    Raises:
        InputError: the model is neither embedded, nor a folder, nor reachable on the hub.
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
        raise InputError(_not_found(name, "text", error)) from error
    return Classifier("text", name, model, tuple(classes), tokenizer)


def image_classifier(
    name: str = "efficientnet_lite0",
    classes: tuple[str, ...] = (),
    *,
    image_size: int | None = None,
    pretrained: bool = True,
) -> Classifier:
    """A network pretrained on ImageNet with a fresh classification head; seed before calling.

    Args:
        name: "efficientnet_lite0" (embedded, 3.4 million parameters) or "resnet50" (real weights from the
            torch hub cache or the network; where they cannot be had, a warning says so and efficientnet_lite0
            takes its place).
        classes: names of the classes.
        image_size: pixels; by default 96 for efficientnet_lite0 (fast enough for a CPU) and 224 for resnet50.
        pretrained: as in `text_classifier`.

    Raises:
        InputError: another name.
    """
    if name not in IMAGE_MODELS:
        raise InputError(f"the image model must be one of {', '.join(IMAGE_MODELS)}, found {name!r}")
    model = _bare_image_model(name) if not pretrained else _resnet50() if name == "resnet50" else None
    if model is None:
        name, model = "efficientnet_lite0", _efficientnet_lite0()
    _replace_head(name, model, len(classes))
    return Classifier("image", name, model, tuple(classes), _image_preprocessing(name, image_size))


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write weights (safetensors), classes and tokenizer or image preprocessing into `folder`; see
    `load_classifier`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if classifier.task == "text":
        with _quiet_transformers():
            classifier.model.save_pretrained(folder)
            classifier.preprocessor.save_pretrained(folder)
    else:
        save_file(
            {name: tensor.contiguous() for name, tensor in classifier.model.state_dict().items()},
            folder / "model.safetensors",
        )
    description = {"task": classifier.task, "name": classifier.name, "classes": list(classifier.classes)}
    if classifier.task == "image":
        description["preprocessing"] = asdict(classifier.preprocessor)
    files.write_atomically(folder / "labels.json", json.dumps(description, indent=2).encode())


def load_classifier(folder: str | Path) -> Classifier:
    """Read what `save_classifier` wrote; the model is on the CPU in evaluation mode.

    Raises:
        InputError: `folder` holds no saved classifier.
    """
    folder = Path(folder)
    if not (folder / "labels.json").is_file():
        raise InputError(
            f"{folder} holds no trained model (labels.json is missing); give a run folder written by `python "
            "-m helpers train`"
        )
    description = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    classes = tuple(description["classes"])
    if description["task"] == "text":
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        with _quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForSequenceClassification.from_pretrained(folder)
        return Classifier("text", description["name"], model.eval(), classes, tokenizer)
    model = _bare_image_model(description["name"])
    _replace_head(description["name"], model, len(classes))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    preprocessing = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in description["preprocessing"].items()
    }
    return Classifier(
        "image", description["name"], model.eval(), classes, ImagePreprocessing(**preprocessing)
    )


def _efficientnet_lite0() -> nn.Module:
    """timm's architecture with the embedded weights: the same 296 tensors under other names, in the same
    order.
    """
    model = _bare_image_model("efficientnet_lite0")
    weights = torch.load(assets.path("efficientnet_lite0.pth"), weights_only=True, map_location="cpu")
    own = model.state_dict()
    if len(own) != len(weights) or any(a.shape != b.shape for a, b in zip(own.values(), weights.values())):
        raise InputError(
            "the EfficientNet-Lite0 weights do not fit this version of timm; install the one in "
            "requirements.lock"
        )
    model.load_state_dict(dict(zip(own, weights.values())))
    return model


def _resnet50() -> nn.Module | None:
    """torchvision's ResNet50 with its ImageNet weights, or None with a warning where they cannot be had."""
    from torchvision.models import ResNet50_Weights, resnet50

    try:
        return resnet50(weights=ResNet50_Weights.IMAGENET1K_V2)
    except OSError as error:  # urllib's errors are OSErrors
        warnings.warn(
            f"the ResNet50 weights are not on this machine and could not be downloaded ({error}); "
            "EfficientNet-Lite0 takes "
            "its place. For the real one run this once with a network; it is then kept in the torch hub "
            "cache.",
            stacklevel=3,
        )
        return None


def _bare_image_model(name: str) -> nn.Module:
    if name == "resnet50":
        from torchvision.models import resnet50

        return resnet50(weights=None)
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False)


def _replace_head(name: str, model: nn.Module, num_classes: int) -> None:
    """Swap the 1,000 ImageNet outputs for ours; the features below stay. In place."""
    head = "fc" if name == "resnet50" else "classifier"
    setattr(model, head, nn.Linear(getattr(model, head).in_features, num_classes))
    # Channels as the innermost dimension: the layout in which convolutions run fastest here (chapter 06
    # measures it).
    model.to(memory_format=torch.channels_last)


def _image_preprocessing(name: str, image_size: int | None) -> ImagePreprocessing:
    if name == "resnet50":
        return ImagePreprocessing(image_size or 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return ImagePreprocessing(image_size or 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _not_found(name: str, task: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return (
        f"the {task} model {name!r} is neither embedded (minilm), nor a folder, nor reachable on the hub "
        f"({reason}); check the name or the network"
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
