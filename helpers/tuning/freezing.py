"""Which weights move: all, the head alone, layer after layer from the head down, or LoRA's adapters (chapter
04).
"""

from torch import nn

from helpers.errors import InputError

STRATEGIES = ("full", "head", "gradual", "lora")


def layer_groups(model: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """The model's layers from input to output, as (name, modules); the last group is the head.

    Known are encoders of transformers, timm's EfficientNets and torchvision's ResNets.

    Raises:
        InputError: another architecture.
    """
    if hasattr(model, "base_model") and hasattr(model.base_model, "encoder"):
        encoder = model.base_model
        head = [encoder.pooler] if getattr(encoder, "pooler", None) is not None else []
        head += [module for name, module in model.named_children() if module is not encoder]
        return [
            ("embeddings", [encoder.embeddings]),
            *((f"layer {i}", [layer]) for i, layer in enumerate(encoder.encoder.layer)),
            ("head", head),
        ]
    if hasattr(model, "conv_stem"):
        blocks = [(f"blocks {i}", [block]) for i, block in enumerate(model.blocks)]
        return [
            ("stem", [model.conv_stem, model.bn1]),
            *blocks,
            ("features", [model.conv_head, model.bn2]),
            ("head", [model.classifier]),
        ]
    if hasattr(model, "layer4"):
        stages = [(f"layer {i}", [getattr(model, f"layer{i}")]) for i in range(1, 5)]
        return [("stem", [model.conv1, model.bn1]), *stages, ("head", [model.fc])]
    raise InputError(
        f"layer_groups knows no layers of {type(model).__name__}; use strategy full, or name its layers there"
    )


def apply_strategy(model: nn.Module, strategy: str, epoch: int, epochs: int) -> bool:
    """Set which weights may move in this epoch; returns whether that changed anything.

    Args:
        model: for all but "full" one that `layer_groups` knows; for "lora" one that `lora.add_lora` has
            prepared.
        strategy: "full" moves all weights, "head" those of the head, "lora" those of the head and the
            adapters. "gradual" begins with the head and opens the groups below it in equal steps, so that the
            last epoch trains the whole model (Howard and Ruder, 2018).
        epoch: counted from 0.
        epochs: of the whole training.

    Raises:
        InputError: another strategy, a model without adapters, or an architecture that `layer_groups` does
            not know.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"the strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}")
    if strategy == "full":
        chosen = set(model.parameters())
    else:
        groups = layer_groups(model)
        num_open = 1
        if strategy == "gradual" and epochs > 1:
            num_open += round((len(groups) - 1) * epoch / (epochs - 1))
        chosen = {
            p
            for _, modules in groups[len(groups) - num_open :]
            for module in modules
            for p in module.parameters()
        }
    if strategy == "lora":
        adapters = {p for name, p in model.named_parameters() if "lora_" in name}
        if not adapters:
            raise InputError(
                "strategy lora needs a model with adapters, found none; call tuning.lora.add_lora(model) "
                "first"
            )
        chosen |= adapters
    changed = False
    for parameter in model.parameters():
        changed |= parameter.requires_grad != (parameter in chosen)
        parameter.requires_grad_(parameter in chosen)
    return changed


def train_mode(model: nn.Module) -> None:
    """`model.train()`, but a BatchNorm whose weights are frozen stays in evaluation mode.

    Frozen weights are not enough: in training mode BatchNorm goes on replacing its running mean and variance
    by those of the new data, so a "frozen" model would still change (chapter 04).
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
            p.requires_grad for p in module.parameters()
        ):
            module.eval()


def num_trainable(model: nn.Module) -> int:
    """Number of weights that may move."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
