"""What differs between a task's texts and pictures, said once: everything else asks the task (chapters 06 and
07).

A task knows where its rows come from, how they are cleaned, which model learns them, and how they become
batches.
"""

import torch
from torch.utils.data import Dataset

from helpers.data.cleaning import clean_comments, clean_images, clean_text
from helpers.data.collate import PadCollate, collate_images
from helpers.data.datasets import ImageDataset, TextDataset, max_tokens, open_image
from helpers.data.transforms import evaluation_preset, training_preset
from helpers.errors import InputError
from helpers.models.pretrained import Classifier, image_classifier, text_classifier


class Texts:
    """Classes of texts: comments from a CSV file, an encoder, padded batches of token ids."""

    name, default_model, build = "text", "minilm", staticmethod(text_classifier)
    clean = staticmethod(clean_comments)

    def embedded(self):
        """The course's own rows, a DataFrame."""
        from helpers.data import sources

        return sources.comments()

    def read(self, data: str, options):
        """Your rows, a DataFrame, and the problems of those left out; `options` has the columns and `on_bad`
        of a run.
        """
        from helpers.data import own

        columns = {
            f"{name}_column": getattr(options, f"{name}_column") for name in ("text", "label", "group")
        }
        return own.from_csv(data, **columns, on_bad=options.on_bad)

    def read_inputs(self, source, options):
        """What is to be labelled, from the command line (a list) or a file, and the problems of what was left
        out.
        """
        from helpers.data import own

        return own.texts_from(source, options.text_column, on_bad=options.on_bad)

    def repaired(self, frame):
        """Rows as the model knows them, none dropped."""
        return frame.assign(text=frame["text"].map(clean_text))

    def inputs(self, frame) -> list[str]:
        """The rows' inputs, as `logits` takes them."""
        return frame["text"].tolist()

    def dataset(self, frame, classifier: Classifier, *, labelled: bool = True, **_) -> Dataset:
        """The rows as samples."""
        return TextDataset(frame, classifier.preprocessor, classifier.classes if labelled else None)

    def collate(self, classifier: Classifier):
        """The function that makes batches of samples."""
        return PadCollate(classifier.preprocessor.pad_token_id)

    def logits(self, classifier: Classifier, texts: list[str]) -> torch.Tensor:
        """Logits (N, C) of texts as people write them, all in one batch on the model's device."""
        tokenizer = classifier.preprocessor
        texts = [clean_text(text) for text in texts]
        token_ids = tokenizer(texts, truncation=True, max_length=max_tokens(tokenizer))["input_ids"]
        return classifier.logits(
            self.collate(classifier)([{"input_ids": ids, "index": 0} for ids in token_ids])
        )


class Images:
    """Classes of pictures: a folder or a labels file, a network pretrained on ImageNet, stacked batches of
    pixels.
    """

    name, default_model, build = "images", "efficientnet_lite0", staticmethod(image_classifier)
    clean = staticmethod(clean_images)

    def embedded(self):
        """As in `Texts`."""
        from helpers.data import sources

        return sources.animals()

    def read(self, data: str, options):
        """As in `Texts`; a file is a labels file, a folder holds one sub-folder for each class."""
        from helpers.data import own

        return own.images_from(data, options.file_column, options.label_column, on_bad=options.on_bad)

    def read_inputs(self, source, options):
        """As in `Texts`; the files of a folder, or those named."""
        from helpers.data import own

        return own.image_files(source, on_bad=options.on_bad)

    def repaired(self, frame):
        """As in `Texts`: pictures are converted when they are opened."""
        return frame

    def inputs(self, frame) -> list:
        """The files, or the uint8 arrays, of the pictures."""
        return frame["path" if "path" in frame else "image"].tolist()

    def dataset(
        self, frame, classifier: Classifier, *, labelled: bool = True, augmented: bool = False, seed: int = 0
    ) -> Dataset:
        """As in `Texts`; `augmented` for training, with random changes that `seed` draws."""
        preset = training_preset if augmented else evaluation_preset
        classes = classifier.classes if labelled else None
        return ImageDataset(frame, preset(classifier.preprocessor), classes, seed=seed)

    def collate(self, classifier: Classifier):
        """As in `Texts`."""
        return collate_images

    def logits(self, classifier: Classifier, pictures: list) -> torch.Tensor:
        """As in `Texts`, of files or uint8 arrays."""
        transform = evaluation_preset(classifier.preprocessor)
        images = [transform(open_image(picture)) for picture in pictures]
        return classifier.logits(collate_images([{"image": image, "index": 0} for image in images]))


TASKS = {task.name: task for task in (Texts(), Images())}
SYNONYMS = {
    "sentiment": "text",
    "image": "images",
}  # of the command line's and the run folders' first edition
Task = Texts | Images


def task_named(name: str) -> Task:
    """The task called `name`, also by an older word for it.

    Raises:
        InputError: another name.
    """
    name = SYNONYMS.get(name, name)
    if name not in TASKS:
        raise InputError(f"the task must be one of {', '.join(TASKS)}, found {name!r}")
    return TASKS[name]
