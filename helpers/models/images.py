"""Networks for pictures, by name, with a fresh head, on pretrained or on random weights."""

from pathlib import Path

import torch
from torch import nn

from helpers import assets
from helpers.data.transforms import ImagePreprocessing
from helpers.errors import InputError
from helpers.models.classifier import shortened

PREPROCESSING = {  # of the image models that do not bring their own
    "resnet50": ImagePreprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "efficientnet_lite0": ImagePreprocessing(96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # 96: fast on a CPU
}


def image_model(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """The architecture with a fresh head, on pretrained weights or on random ones.

    Raises InputError: another name, or weights that are damaged or not reachable.
    """
    if name == "resnet50":
        return replace_head(_resnet50(pretrained=pretrained), num_classes)
    import timm

    if name == "efficientnet_lite0":
        model = timm.create_model("tf_efficientnet_lite0")
        if pretrained:
            _load_embedded(model)
        return replace_head(model, num_classes)
    if not timm.is_model(name):
        known = f"efficientnet_lite0, resnet50 or one of timm's {len(timm.list_models()):,} names"
        found = f"found {name!r}{', a folder' if Path(name).is_dir() else ''}"
        raise InputError(f"the image model must be {known} (timm.list_models()), {found}")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise InputError(not_found("image", name, "efficientnet_lite0", error)) from error


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Swap the 1,000 ImageNet outputs for ours; the features below stay. In place, and returned."""
    head = "fc" if hasattr(model, "fc") else "classifier"
    setattr(model, head, nn.Linear(getattr(model, head).in_features, num_classes))
    return model


def preprocessing_of(name: str, model: nn.Module) -> ImagePreprocessing:
    """What the model got when it was pretrained."""
    if name in PREPROCESSING:
        return PREPROCESSING[name]
    from timm.data import resolve_model_data_config

    found = resolve_model_data_config(model)
    size, crop_share = found["input_size"][-1], found["crop_pct"]
    return ImagePreprocessing(size, found["mean"], found["std"], crop_share, found["interpolation"])


def not_found(task: str, name: str, embedded: str, error: Exception) -> str:
    """The sentence for a model that is nowhere."""
    return (
        f"the {task} model {name!r} is neither embedded ({embedded}), nor a folder, nor reachable on the hub "
        f"({shortened(error)}); check the name or the network"
    )


def _resnet50(*, pretrained: bool) -> nn.Module:
    """torchvision's; the file in torch.hub's cache is a pickle, and its hash is in its name."""
    from torchvision.models import ResNet50_Weights, resnet50

    model = resnet50(weights=None)
    if pretrained:
        published = ResNet50_Weights.IMAGENET1K_V2
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
        # torch.hub compares the hash of what it downloads, but not of a file that lies there already.
        if file.exists() and not assets.sha256(file).startswith(file.stem.rpartition("-")[2]):
            raise InputError(f"{file} is not the published file of ResNet50; delete it to download it again")
        try:
            weights = published.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
        except RuntimeError as error:  # the download had another hash
            raise InputError(f"{published.url} cannot be used ({shortened(error)}); try again") from error
        model.load_state_dict(weights)
    return model


def _load_embedded(model: nn.Module) -> None:
    """The embedded weights are the same 296 tensors as timm's, under other names, in the same order."""
    weights = torch.load(assets.path("efficientnet_lite0.pth"), weights_only=True, map_location="cpu")
    own = model.state_dict()
    if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in weights.values()]:
        fault = "the EfficientNet-Lite0 weights do not fit this version of timm"
        raise InputError(f"{fault}; install requirements.lock")
    model.load_state_dict(dict(zip(own, weights.values())))
