"""Your own data: files become rows, or one sentence says why not.

Every reader returns what is good and the problems of what it left out; `on_bad` and errors: see `from_table`.
"""

from helpers.own.messages import messages_from, prompts_from
from helpers.own.pairs import pairs_from
from helpers.own.pictures import from_folder, from_labels_file, image_files, images_from
from helpers.own.table import Inputs
from helpers.own.texts import from_table, texts_from

__all__ = [
    "Inputs",
    "from_folder",
    "from_labels_file",
    "from_table",
    "image_files",
    "images_from",
    "messages_from",
    "pairs_from",
    "prompts_from",
    "texts_from",
]
