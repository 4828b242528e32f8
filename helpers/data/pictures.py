"""Files of pictures as upright RGB with 8 bits a channel (chapters 02 and 05)."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def open_image(source: str | Path | np.ndarray) -> Image.Image:
    """A file or a uint8 array as a PIL image in RGB, 8 bits a channel, upright; the file is closed again."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(source).convert("RGB")
    with Image.open(source) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image, *, background: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Any picture as upright RGB with 8 bits a channel; `background` shows through transparent pixels.

    `convert("RGB")` would show the colour hidden there, and cut 16 bits at 255 instead of dividing by 257.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # "I;16", and "I" as some versions of Pillow read the same file
        image = Image.fromarray(
            (np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8)
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return image.convert("RGB")
