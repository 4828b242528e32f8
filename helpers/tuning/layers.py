"""A model's layers from its input to its head, whatever its architecture calls them (chapter 04)."""

from collections.abc import Iterator

from torch import nn

from helpers.errors import InputError


def layer_groups(model: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """The model's layers from input to output, as (name, modules); the last group is the head.

    Known layer by layer are models of transformers whose layers stand in one list, timm's EfficientNets and
    torchvision's ResNets. Any other model of timm or transformers has two groups, its body and its head.

    Example: `for name, modules in layer_groups(model): print(name, len(modules))`

    Raises InputError: a model in which no head can be found.
    """
    if hasattr(model, "base_model") and model.base_model is not model:
        return _of_transformers(model)
    if hasattr(model, "conv_stem") and hasattr(model, "bn2"):
        blocks = [(f"blocks {i}", [block]) for i, block in enumerate(model.blocks)]
        last = [("features", [model.conv_head, model.bn2]), ("head", [model.classifier])]
        return [("stem", [model.conv_stem, model.bn1]), *blocks, *last]
    if hasattr(model, "layer4"):
        stages = [(f"layer {i}", [getattr(model, f"layer{i}")]) for i in range(1, 5)]
        return [("stem", [model.conv1, model.bn1]), *stages, ("head", [model.fc])]
    if hasattr(model, "get_classifier"):  # timm's own way to name it
        return _body_and_head(model, [model.get_classifier()])
    raise InputError(
        f"no head was found in {type(model).__name__}; use strategy full, or name its layers in layer_groups"
    )


def knows_layers(model: nn.Module) -> bool:
    """Whether `layer_groups` tells more than body and head."""
    try:
        return len(layer_groups(model)) > 2
    except InputError:
        return False


def _of_transformers(model: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    encoder = model.base_model
    head = [module for module in model.children() if module is not encoder]
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=lambda found: sum(p.numel() for p in found.parameters()), default=None)
    if layers is None:
        return _body_and_head(model, head)
    pooler = getattr(encoder, "pooler", None)
    around = [module for module in _outermost(encoder, set(layers.modules())) if module is not pooler]
    numbered = [(f"layer {i}", [layer]) for i, layer in enumerate(layers)]
    return [("embeddings", around), *numbered, ("head", [pooler, *head] if pooler is not None else head)]


def _outermost(module: nn.Module, others: set[nn.Module]) -> Iterator[nn.Module]:
    """The largest modules below `module` that neither are nor hold one of `others`."""
    for child in module.children():
        if others.isdisjoint(child.modules()):
            yield child
        elif child not in others:
            yield from _outermost(child, others)


def _body_and_head(model: nn.Module, head: list[nn.Module]) -> list[tuple[str, list[nn.Module]]]:
    in_head = {part for module in head for part in module.modules()}
    return [("body", list(_outermost(model, in_head))), ("head", head)]
