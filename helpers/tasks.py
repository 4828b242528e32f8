"""What differs between texts and pictures, said once: everything else asks the task (chapters 06 and 07).

`embedded()` and `read(data, options)` give rows, a DataFrame, and `read` the problems of those left out, too;
`options` has the columns and `on_bad` of a run. `read_inputs` gives what is to be labelled, and problems.
`clean` counts what it does, `repaired` drops nothing, `token_counts` tells what a model does not see.
`dataset` and `collate` make batches, `build` models; `logits` (N, C) takes what `inputs` of rows gives, or
what people hand in.
"""

import torch
from torch.utils.data import Dataset

from helpers.data.cleaning import clean_comments, clean_images, clean_text, letters_key
from helpers.data.collate import PadCollate, collate_images
from helpers.data.datasets import ImageDataset, TextDataset
from helpers.data.picture_cache import PictureCache, usual_folder
from helpers.data.pictures import open_image
from helpers.data.tokens import TokenCounts, token_counts
from helpers.data.transforms import ImagePreprocessing, copy_side, evaluation_preset, training_preset
from helpers.errors import InputError
from helpers.models.images import PREPROCESSING
from helpers.models.pretrained import Classifier, image_classifier, text_classifier


class Texts:
    """Classes of texts: comments from a CSV file, an encoder, padded batches of token ids."""

    name, default_model = "text", "minilm"

    def build(self, model: str, classes, options) -> Classifier:
        return text_classifier(model, classes, max_length=options.max_length)

    def clean(self, frame, *, own: bool):
        # In the course's comments those that differ in punctuation alone were looked at: they are copies.
        return clean_comments(frame, key=None if own else letters_key)

    def embedded(self):
        from helpers.data import sources  # pandas is loaded where rows are read, not where one predicts

        return sources.comments()

    def read(self, data: str, options):
        from helpers import own

        columns = {
            f"{name}_column": getattr(options, f"{name}_column") for name in ("text", "label", "group")
        }
        return own.from_table(data, **columns, on_bad=options.on_bad)

    def read_inputs(self, source, options):
        from helpers import own

        return own.texts_from(source, options.text_column or "text", on_bad=options.on_bad)

    def repaired(self, frame):
        return frame.assign(text=frame["text"].map(clean_text))

    def inputs(self, frame) -> list[str]:
        return frame["text"].tolist()

    def token_counts(self, classifier: Classifier, texts: list[str]) -> TokenCounts:
        texts = [clean_text(text) for text in texts]
        return token_counts(classifier.preprocessor, texts, classifier.max_length)

    def dataset(self, frame, classifier: Classifier, *, labelled: bool = True, **_) -> Dataset:
        classes, tokenizer = classifier.classes if labelled else None, classifier.preprocessor
        return TextDataset(frame, tokenizer, classes, max_length=classifier.max_length)

    def collate(self, classifier: Classifier):
        return PadCollate(classifier.preprocessor.pad_token_id)

    def logits(self, classifier: Classifier, texts: list[str]) -> torch.Tensor:
        tokenizer, texts = classifier.preprocessor, [clean_text(text) for text in texts]
        token_ids = tokenizer(texts, truncation=True, max_length=classifier.max_length)["input_ids"]
        padding = [tokenizer.pad_token_id]  # of a text without any token, as the tokenizers of decoders allow
        samples = [{"input_ids": ids or padding, "index": 0} for ids in token_ids]
        return classifier.logits(self.collate(classifier)(samples))


class Images:
    """Classes of pictures: a folder or labels file, a network pretrained on ImageNet, stacked pixels."""

    name, default_model = "images", "efficientnet_lite0"

    def build(self, model: str, classes, options) -> Classifier:
        return image_classifier(model, classes)

    def clean(self, frame, *, own: bool):
        return clean_images(frame)

    def embedded(self):
        from helpers.data import sources

        return sources.animals()

    def read(self, data: str, options):
        from helpers import own

        columns = (options.file_column, options.label_column, options.group_column)
        expected = preprocessing_of(options.model)
        cache = expected and self.cache(expected, use_cache=getattr(options, "cache", True))
        return own.images_from(data, *columns, on_bad=options.on_bad, cache=cache)

    def read_inputs(self, source, options):
        from helpers import own

        return own.image_files(source, on_bad=options.on_bad)

    def repaired(self, frame):
        return frame

    def token_counts(self, classifier: Classifier, pictures: list) -> None:
        return None

    def inputs(self, frame) -> list:
        return frame["path" if "path" in frame else "image"].tolist()

    def cache(self, expected: ImagePreprocessing, *, use_cache: bool) -> PictureCache:
        return PictureCache(usual_folder() if use_cache else None, side=copy_side(expected))

    def dataset(
        self, frame, classifier: Classifier, *, labelled=True, augmented=False, seed=0, use_cache=True
    ) -> Dataset:
        transform = (training_preset if augmented else evaluation_preset)(classifier.preprocessor)
        cache = self.cache(classifier.preprocessor, use_cache=use_cache) if "path" in frame else None
        return ImageDataset(
            frame, transform, classifier.classes if labelled else None, seed=seed, cache=cache
        )

    def collate(self, classifier: Classifier):
        return collate_images

    def logits(self, classifier: Classifier, pictures: list) -> torch.Tensor:
        transform = evaluation_preset(classifier.preprocessor)
        side = copy_side(classifier.preprocessor)  # shrunk as in training, but no copy is kept
        images = [transform(open_image(picture, shorter_side=side)) for picture in pictures]
        return classifier.logits(collate_images([{"image": image, "index": 0} for image in images]))


def preprocessing_of(name: str) -> ImagePreprocessing | None:
    """What the image model called `name` expects, before it is built; None for a name that nobody knows."""
    if name in PREPROCESSING:
        return PREPROCESSING[name]
    from timm import get_pretrained_cfg

    found = get_pretrained_cfg(name)
    if found is None:
        return None
    return ImagePreprocessing(found.input_size[-1], found.mean, found.std, found.crop_pct)


Task = Texts | Images
TASKS: dict[str, Task] = {task.name: task for task in (Texts(), Images())}
SYNONYMS = {"sentiment": "text", "image": "images"}  # words of the first edition's commands and run folders


def task_named(name: str) -> Task:
    """The task called `name`, also by an older word for it.

    Raises InputError: another name.
    """
    name = SYNONYMS.get(name, name)
    if name not in TASKS:
        raise InputError(f"the task must be one of {', '.join(TASKS)}, found {name!r}")
    return TASKS[name]
