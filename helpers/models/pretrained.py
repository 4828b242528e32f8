"""Pretrained models with a new head for your classes (chapters 04, 06 and 07); `folders` saves them.

Embedded weights work offline: "minilm" for texts, "efficientnet_lite0" for images. Encoders and decoders of
the Hugging Face hub, any image model of timm and torchvision's "resnet50" are used by name when their weights
are on disk or can be downloaded.
"""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from helpers import assets
from helpers.data.datasets import MAX_TOKENS
from helpers.data.full import hub_source
from helpers.errors import InputError
from helpers.models.classifier import Classifier, check_classes, quiet_transformers, shortened
from helpers.models.folders import (
    DESCRIPTION,
    GIVE_A_RUN,
    load_classifier,
    load_description,
    save_classifier,
    save_description,
)
from helpers.models.forward import forward, max_positions
from helpers.models.images import image_model, not_found, preprocessing_of, replace_head

__all__ = [
    "GIVE_A_RUN",
    "Classifier",
    "image_classifier",
    "load_classifier",
    "load_description",
    "replace_head",
    "save_classifier",
    "save_description",
    "text_classifier",
]

DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout")  # each model has one name


def text_classifier(
    name: str = "minilm",
    classes: tuple[str, ...] = ("negative", "neutral", "positive"),
    *,
    dropout: float = 0.1,
    pretrained: bool = True,
    max_length: int = MAX_TOKENS,
) -> Classifier:
    """A pretrained model with a fresh, random classification head: seed before calling.

    A model that was trained for the same classes keeps its head, whatever their order. A BERT of
    sentence-transformers is summed up by the mean of its tokens, as it was trained (`pooling`).

    Example: `classifier = text_classifier("minilm", ("no", "yes"))`

    Args:
        name: "minilm" (embedded, 22.7 million parameters), a run, a folder of transformers, or a model of the
            hub: one that `data/full_scale.toml` pins ("bert-base-uncased"), or NAME@REVISION.
        dropout: share of the head's inputs that is zeroed in training, where the model's head has dropout.
        pretrained: False draws all weights at random, to measure what pretraining is worth.
        max_length: tokens at which a text is cut, the special ones included; less if the model reads fewer.

    Raises InputError: the model is nowhere, or cannot classify texts that share a batch.
    """
    from transformers import AutoConfig, AutoTokenizer

    from helpers.models.pooling import classifier_class, pooled_by_mean

    check_classes(classes)
    source, before = _source(name)
    options = {"trust_remote_code": False}
    if not Path(source).is_dir():
        source, options["revision"] = hub_source(name)
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(source, **dict.fromkeys(DROPOUTS, dropout), **options)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            _prepare(name, tokenizer, config)
            if config.model_type == "bert" and (name == "minilm" or pooled_by_mean(source, **options)):
                config.classifier_pooling = "mean"
            before = before or tuple(config.id2label.values())
            config.id2label = dict(enumerate(classes))
            config.label2id = {label: number for number, label in enumerate(classes)}
            if pretrained:
                loading = {"ignore_mismatched_sizes": True, "use_safetensors": True, "dtype": torch.float32}
                model, report = classifier_class(config).from_pretrained(
                    source, config=config, output_loading_info=True, **loading, **options
                )
                absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
                _check_body(name, model, absent)
                _match_head(name, model, absent, before, classes)
            else:
                model = classifier_class(config).from_config(config)
    except InputError:
        raise
    except Exception as error:  # a class of its own for each way in which a model can be bad
        raise InputError(_unusable(name, source, error)) from error
    longest = min(max_length, tokenizer.model_max_length, max_positions(model))
    shortest = tokenizer.num_special_tokens_to_add() + 1
    if type(max_length) is not int or longest < shortest:
        raise InputError(f"max_length must be at least {shortest} tokens for {name!r}, found {max_length!r}")
    classifier = Classifier("text", name, model, tuple(classes), tokenizer, longest)
    if name != "minilm":
        _check_batches(classifier)
    return classifier


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

    Raises InputError: another name, or weights that are damaged or cannot be downloaded.
    """
    if classes:
        check_classes(classes)
    try:
        model = image_model(name, len(classes), pretrained=pretrained)
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
    preprocessing = preprocessing_of(name, model)
    if image_size:
        preprocessing = replace(preprocessing, size=image_size)
    return Classifier("images", name, model, tuple(classes), preprocessing)


def _source(name: str) -> tuple[str | Path, tuple[str, ...]]:
    """Where a text model lies, and the classes of its head if it is of an earlier run, which is verified."""
    if name == "minilm":
        return assets.path("minilm"), ()
    for folder in (Path(name) / "model", Path(name)):
        if (folder / DESCRIPTION).is_file():
            earlier = load_description(folder)
            if earlier.task != "text":
                raise InputError(
                    f"{name} is a model for {earlier.task}, and texts were given; choose another"
                )
            return folder, earlier.classes
    return name, ()


def _prepare(name: str, tokenizer, config) -> None:
    """Give a decoder that never padded its texts a padding token; refuse what cannot classify here."""
    if config.is_encoder_decoder:
        problem = (
            f"{name!r} turns texts into texts ({config.model_type}) and is not made into a classifier here"
        )
        raise InputError(f"{problem}; choose an encoder")
    if not tokenizer.is_fast:
        problem = f"the tokenizer of {name!r} cannot be saved as tokenizer.json"
        raise InputError(f"{problem}; choose a model with a fast tokenizer")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # none of it is looked at: the mask says what is padding
    if tokenizer.pad_token_id is None:
        problem = f"the tokenizer of {name!r} has no padding token, so texts cannot share a batch"
        raise InputError(f"{problem}; choose an encoder")
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id  # by it a decoder finds the last token of a text
    if len(tokenizer) > getattr(config, "vocab_size", len(tokenizer)):
        sizes = f"has {len(tokenizer)} tokens, its model {config.vocab_size}"
        raise InputError(f"the tokenizer of {name!r} {sizes}; they do not belong together")


def _check_body(name: str, model: nn.Module, absent: set[str]) -> None:
    """Raise if weights below the head were drawn at random, but for a pooler, which many models lack."""
    lacking = sorted(
        key for key in absent if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key
    )
    if lacking:
        problem = f"{len(lacking)} weights of {name!r} are missing or of another shape, first {lacking[0]}"
        raise InputError(f"{problem}; get the whole model again")


def _match_head(name: str, model: nn.Module, absent: set[str], before: tuple, classes: tuple) -> None:
    """A head that was loaded keeps its rows, put in order by the names of the classes; for other names its
    last layer is drawn anew.
    """
    body = set(model.base_model.modules())
    layers = [
        (key, part) for key, part in model.named_modules() if isinstance(part, nn.Linear) and part not in body
    ]
    outputs = [(key, layer) for key, layer in layers if layer.out_features == len(classes)]
    if not outputs:
        raise InputError(f"no layer with {len(classes)} outputs was found in {name!r}; choose another model")
    key, layer = outputs[-1]
    if f"{key}.weight" in absent:
        return  # drawn by transformers
    with torch.no_grad():
        if sorted(before) == sorted(classes):
            rows = [before.index(label) for label in classes]
            for parameter in layer.parameters():
                parameter.copy_(parameter[rows].clone())
            return
        nn.init.normal_(layer.weight, std=getattr(model.config, "initializer_range", 0.02))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _check_batches(classifier: Classifier) -> None:
    """Raise unless a short text gets the same logits alone and beside the longest text that is allowed."""
    tokenizer, model = classifier.preprocessor, classifier.model
    short = tokenizer("yes", truncation=True, max_length=classifier.max_length)["input_ids"]
    rows = torch.full(
        (2, classifier.max_length), tokenizer.pad_token_id
    )  # the second: a token like any other
    rows[0, : len(short)] = torch.tensor(short)
    rows[1] = short[len(short) // 2]
    mask = torch.ones_like(rows)
    mask[0, len(short) :] = 0
    training = model.training
    try:
        with torch.no_grad():
            model.eval()
            alone = forward(
                model, {"input_ids": rows[:1, : len(short)], "attention_mask": mask[:1, : len(short)]}
            )
            beside = forward(model, {"input_ids": rows, "attention_mask": mask})[:1]
    except Exception as error:  # whatever else this model wants
        reason = f"it cannot read a text of {classifier.max_length} tokens ({shortened(error)})"
        raise InputError(f"{classifier.name!r} cannot be used here: {reason}; choose another") from error
    finally:
        model.train(training)
    if not (alone - beside).abs().max() <= 0.01 * alone.abs().max():
        reason = "a text's answer depends on the texts beside it, since this model reads the padding"
        raise InputError(f"{classifier.name!r} cannot be used here: {reason}; choose another")


def _unusable(name: str, source: str | Path, error: Exception) -> str:
    if Path(source).is_dir():
        advice = "give a finished run, a whole folder of transformers, or a name"
        return f"the folder {name!r} holds no text model that can be used ({shortened(error)}); {advice}"
    if isinstance(error, OSError):
        return not_found("text", name, "minilm", error)
    return f"the text model {name!r} cannot be used as a classifier ({shortened(error)}); choose an encoder"
