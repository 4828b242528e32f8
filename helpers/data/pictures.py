"""Files of pictures as upright RGB with 8 bits a channel (chapters 02 and 05)."""

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageStat, UnidentifiedImageError

from helpers.errors import InputError

Source = str | Path | BinaryIO
# What a camera notes when it was held otherwise, and what makes the picture upright again.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
BITS_PER_SAMPLE, SAMPLE_FORMAT, PLANES = 258, 339, 284  # tags of TIFF
FAR = 20  # spreads of the usual values: farther away lies no picture
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def open_image(source: Source | np.ndarray, *, shorter_side: int | None = None) -> Image.Image:
    """A file or a uint8 array as a PIL image in RGB, 8 bits a channel, upright; the file is closed again.

    Args:
        source: a path, a binary file, or an array (H, W), (H, W, 3) or (H, W, 4).
        shorter_side: pixels; see `shrunk`. A large JPEG is then decoded at a half, a quarter or an eighth of
            its size, never below twice `shorter_side`, in less than half the time.

    Raises InputError: the file can be read, but not as a picture of 8 bits; Pillow raises much else.
    """
    if isinstance(source, np.ndarray):
        return shrunk(to_rgb(Image.fromarray(source)), shorter_side)
    with opened(source) as image:
        if shorter_side:
            image.draft(None, (2 * shorter_side, 2 * shorter_side))
        return shrunk(to_rgb(image), shorter_side)


def opened(source: Source) -> Image.Image:
    """`Image.open`, which reads the header alone, for HEIC as well where pillow-heif is installed.

    Raises InputError: a HEIC file without pillow-heif.
    """
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        if not _is_heic(source):
            raise
    if not _reads_heic():
        raise InputError("HEIC is not read by this installation; pip install pillow-heif, or convert to JPEG")
    return Image.open(source)


def shrunk(image: Image.Image, shorter_side: int | None) -> Image.Image:
    """The picture with a shorter side of so many pixels if it has at least twice as many, else as it is."""
    least = min(image.size)
    if shorter_side is None or least < 2 * shorter_side:
        return image
    size = [max(1, round(length * shorter_side / least)) for length in image.size]
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def is_one_colour(image: Image.Image) -> bool:
    """Whether all pixels are equal."""
    return all(low == high for low, high in _ranges(image))


def to_rgb(image: Image.Image, *, background: tuple[int, int, int] | None = None) -> Image.Image:
    """Any picture as upright RGB with 8 bits a channel, of an animated one the first frame.

    * Transparent pixels show `background`; None is black behind a light drawing and white behind a dark one
      (by the mean luminance of what is opaque). Where everything is transparent, the hidden colours are used.
    * 16-bit integers are divided by 257; by 16 where none is above 4095 (12 bits in 16), by 1 up to 255.
    * Floats within 0..1 are multiplied by 255. Other floats and 32-bit integers are stretched from the file's
      own minimum and maximum to 0..255 (a few values far outside are cut), and so is whatever would otherwise
      become one colour.
    * A damaged note on how the camera was held is ignored: the picture stays as it was stored.

    Raises InputError: numbers that are not finite, or 16 bits a colour of which 12 or fewer are used.
    """
    has_deep_colours = ";16" in str(getattr(image, "tile", "")) and not image.mode.startswith("I")
    _refuse_odd_numbers(image)
    image.load()  # damaged pixels must raise; a damaged EXIF block, below, must not
    if has_deep_colours and max(high for _, high in _ranges(image)[:3]) < 16:  # Pillow keeps the upper 8 bits
        raise InputError("holds 16 bits a colour, but no value above 4095; save it with 8 bits a colour")
    turn = _turn(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, is_unsigned=_tag(image, SAMPLE_FORMAT) == 1)
    image = _opaque(image, background) if image.has_transparency_data else image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # Pillow raises whatever the damaged bytes lead to
        return None


def _tag(image: Image.Image, number: int) -> int | None:
    """The first value of a TIFF file's tag; None where there is none."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) else value


def _refuse_odd_numbers(image: Image.Image) -> None:
    """Refuse TIFF files whose numbers Pillow takes for others, so that a picture becomes noise."""
    bits = _tag(image, BITS_PER_SAMPLE)
    if bits == 8 and _tag(image, SAMPLE_FORMAT) == 2:
        raise InputError("holds signed numbers of 8 bits; save it with unsigned ones")
    if bits == 16 and _tag(image, PLANES) == 2 and image.mode not in ("I", "I;16", "I;16B", "F"):
        raise InputError("holds 16 bits a colour in separate planes; save it with 8 bits a colour")


def _eight_bits(image: Image.Image, *, is_unsigned: bool) -> Image.Image:
    """Grey integers of 16 or 32 bits, or floats, as 8 bits; see `to_rgb`."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "I" and is_unsigned:
        values = values % 2**32  # Pillow reads the large ones as negative
    low, high = values.min(), values.max()
    if not np.isfinite(high - low):
        raise InputError("holds numbers that are not finite (NaN or infinite); replace them, or remove it")
    is_16_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if is_16_bits and high > 4095:
        scaled = values / 257
    elif is_16_bits:
        scaled = values / 16 if high > 255 else values
    elif image.mode == "F" and low >= 0 and high <= 1:
        scaled = values * 255
    else:
        scaled = _stretched(values)
    greys = scaled.round().clip(0, 255).astype(np.uint8)
    if low < high and greys.min() == greys.max():
        greys = _stretched(values).round().astype(np.uint8)
    return Image.fromarray(greys)


def _stretched(values: np.ndarray) -> np.ndarray:
    """From the least and the largest value to 0..255; a few that lie far outside are cut."""
    low, high = values.min(), values.max()
    usual = np.percentile(values, [1, 99])
    if high - low > FAR * (usual[1] - usual[0]) > 0:  # a mark for "no data", a hot pixel
        low, high = usual
        values = values.clip(low, high)
    return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)


def _opaque(image: Image.Image, background: tuple[int, int, int] | None) -> Image.Image:
    """A picture with transparent pixels as RGB; see `to_rgb`."""
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    bare, alpha = image.convert("RGB"), image.getchannel("A")
    if background is not None:
        return _on_ground(image, background)
    if alpha.getextrema()[1] == 0:
        return bare
    if alpha.getextrema()[1] == 1:  # a mask of 0 and 1: 1 of 255 would show nothing
        alpha = alpha.point(lambda value: 255 * value)
        image.putalpha(alpha)
    on_black = _on_ground(image, BLACK)
    luminance = 255 * ImageStat.Stat(on_black.convert("L")).mean[0] / ImageStat.Stat(alpha).mean[0]
    result = on_black if luminance >= 128 else _on_ground(image, WHITE)
    return bare if is_one_colour(result) else result


def _on_ground(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    ground = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def _ranges(image: Image.Image) -> list[tuple[float, float]]:
    """Least and largest value of each channel."""
    found = image.getextrema()
    return list(found) if isinstance(found[0], tuple) else [found]


def _is_heic(source: Source) -> bool:
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return _is_heic(file)
    source.seek(0)
    start = source.read(12)
    source.seek(0)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS


@lru_cache(maxsize=1)
def _reads_heic() -> bool:
    """Whether pillow-heif is installed; Pillow then knows the format as well."""
    if find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True
