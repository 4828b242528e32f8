"""Any file becomes RGB without losing its picture; copies of large ones are whole, bounded and exact."""

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers.data import picture_cache
from helpers.data.picture_cache import PictureCache
from helpers.data.pictures import is_one_colour, open_image, to_rgb
from helpers.errors import InputError
from helpers.files import ROOT

RAMP = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))  # (32, 32)


def photograph(file, side=400, seed=0, **options):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (10, 14, 3), dtype=np.uint8))
    small.resize((side * 14 // 10, side), Image.Resampling.BICUBIC).save(file, **options)
    return file


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def grey(found):
    return np.asarray(found)[..., 0].astype(int)


def drawing(colour):
    """A filled circle of one colour on a transparent ground."""
    across = np.hypot(*np.mgrid[-16:16, -16:16]) < 10
    image = Image.new("RGBA", (32, 32), (*colour, 255))
    image.putalpha(Image.fromarray((across * 255).astype(np.uint8)))
    return image


@pytest.mark.parametrize(("colour", "ground"), [((0, 0, 0), 255), ((255, 255, 255), 0), ((120, 20, 90), 255)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGBa", "La"])
def test_a_transparent_drawing_stands_on_a_ground_that_contrasts(colour, ground, mode):
    image = drawing(colour)
    if mode == "La":
        image = image.convert("LA").convert("La")
    elif mode == "P":  # a GIF: one index is transparent
        image = Image.open(saved(image, "GIF"))
    else:
        image = image.convert(mode)
    found = to_rgb(image)
    assert found.getpixel((0, 0)) == (ground,) * 3
    assert abs(grey(found)[16, 16] - ground) > 100


def test_alpha_that_hides_all_is_ignored():
    image = Image.fromarray(np.dstack([RAMP] * 3)).convert("RGBA")
    image.putalpha(0)
    assert (grey(to_rgb(image)) == RAMP).all()


def test_a_ground_of_ones_own():
    assert to_rgb(drawing((0, 0, 0)), background=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP.astype(np.float32) / 255, RAMP),
        (np.full((4, 4), 0.87, np.float32), 222),
        (RAMP.astype(np.float32), RAMP * (255 / 248)),
        (RAMP.astype(np.float32) * 1e6 - 5e7, RAMP * (255 / 248)),
        (RAMP.astype(np.float32) / 1e6, RAMP * (255 / 248)),  # would round to one colour
        (RAMP.astype(np.uint16) * 257, RAMP),
        (RAMP.astype(np.uint16) * 16, RAMP),  # 12 bits in 16
        (RAMP.astype(np.uint16), RAMP),  # 8 bits in 16
        (RAMP.astype(np.uint16) // 128, RAMP // 128),  # a mask
        (np.full((4, 4), 4096, np.uint16), 16),
        (RAMP.astype(np.uint16) // 8 + 40000, RAMP * (255 / 248)),  # would round to one colour
        (RAMP.astype(np.int32) * 1000, RAMP * (255 / 248)),
        (RAMP.astype(np.int32) - 100, RAMP * (255 / 248)),
    ],
)
def test_deep_greys_keep_the_picture(values, expected, tmp_path):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    found = grey(open_image(tmp_path / "deep.tif"))
    assert abs(found - expected).max() <= 1
    assert found.std() == 0 or len(np.unique(found)) == len(np.unique(values))
    if values.dtype == np.uint16:
        Image.fromarray(values).save(tmp_path / "deep.png")
        assert (grey(open_image(tmp_path / "deep.png")) == found).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX"]
)
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "AVIF", None])
def test_no_mode_of_no_format_loses_its_picture(mode, kind):
    image = Image.fromarray(np.dstack([RAMP, RAMP.T, 255 - RAMP]))
    image = image.convert("L").convert(mode) if mode in ("I", "F", "LA", "PA") else image.convert(mode)
    if kind is not None:
        try:
            image = Image.open(saved(image, kind))
        except (OSError, KeyError, ValueError):
            pytest.skip(f"{kind} has no {mode}")
    found = to_rgb(image)
    assert (found.mode, found.size) == ("RGB", (32, 32))
    reference = np.asarray(Image.fromarray(np.dstack([RAMP, RAMP.T, 255 - RAMP])).convert("L")).ravel()
    similar = np.corrcoef(np.asarray(found.convert("L")).ravel(), reference)[0, 1]
    assert similar > (0.3 if mode == "1" else 0.9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    values = RAMP.astype(np.float32)
    values[3, 3] = bad
    with pytest.raises(InputError, match="not finite"):
        open_image(saved(Image.fromarray(values), "TIFF"))


def deep_colours(values):
    """A PNG with 16 bits a colour, which Pillow cannot write."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + parts)


def test_sixteen_bits_a_colour_of_which_twelve_are_used_are_refused_not_darkened():
    values = np.dstack([RAMP.astype(np.uint16)] * 3)
    assert (grey(open_image(deep_colours(values * 257))) == RAMP).all()
    with pytest.raises(InputError, match="16 bits a colour"):
        open_image(deep_colours(values * 16))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_damaged_note_of_the_camera_leaves_the_picture_as_it_is(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.dstack([RAMP[:, :16]] * 3))
    whole = saved(image, kind, exif=exif)
    assert open_image(whole).size == (32, 16)
    content = saved(image, kind, exif=b"Exif\0\0junk of a camera" if kind != "PNG" else b"junk of a camera")
    assert open_image(content).size == (16, 32)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (200, 10)]
    found = open_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found.getpixel((0, 0)) == (200, 200, 200)


def test_heic_without_its_library_is_one_sentence(tmp_path):
    for name in ("photo.heic", "renamed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
        with pytest.raises(InputError, match="pip install pillow-heif, or convert to JPEG"):
            open_image(tmp_path / name)


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    assert abs(grey(open_image(photograph(tmp_path / "a.avif"))).mean() - 128) < 60


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_shrunken_picture_is_the_picture(tmp_path, suffix):
    file = photograph(tmp_path / f"a.{suffix}", side=1000)
    small = open_image(file, shorter_side=50)
    assert small.size == (70, 50)
    reference = open_image(file).resize((70, 50), Image.Resampling.LANCZOS)
    assert abs(np.asarray(small).astype(int) - np.asarray(reference)).mean() < 3
    assert open_image(file, shorter_side=501).size == (1400, 1000), "less than twice as large: as it is"


def test_one_colour():
    assert is_one_colour(Image.new("RGB", (3, 3), (9, 8, 7)))
    assert not is_one_colour(Image.fromarray(RAMP))


def copies(folder):
    return sorted(path for path in folder.iterdir() if path.suffix == ".rgb")


def test_a_copy_has_the_same_pixels_and_is_found_by_content(tmp_path):
    cache, file = PictureCache(tmp_path / "cache", side=50), photograph(tmp_path / "a.jpg")
    first = cache.open(file)
    (copy,) = copies(tmp_path / "cache")
    uncached = PictureCache(None, side=50).open(file)
    assert first.tobytes() == uncached.tobytes() == open_image(file, shorter_side=50).tobytes()
    stored = bytearray(copy.read_bytes())
    stored[-1] ^= 255  # a valid copy of other pixels shows whether it is used
    stored[:4] = zlib.crc32(stored[4:]).to_bytes(4, "little")
    copy.write_bytes(stored)
    (tmp_path / "b.jpg").write_bytes(file.read_bytes())
    assert cache.open(tmp_path / "b.jpg").tobytes() == bytes(stored[12:]) != first.tobytes()
    photograph(file, seed=1)
    assert cache.open(file).tobytes() == open_image(file, shorter_side=50).tobytes()
    assert PictureCache(tmp_path / "cache", side=60).open(file).size == (84, 60)
    assert len(copies(tmp_path / "cache")) == 3


def test_small_pictures_are_not_copied(tmp_path):
    cache, file = PictureCache(tmp_path / "cache", side=50), photograph(tmp_path / "a.png", side=99)
    assert cache.open(file).size == (138, 99)
    assert copies(tmp_path / "cache") == []


@pytest.mark.parametrize("damage", [b"", b"short", "cut", "flip"])
def test_a_damaged_copy_is_made_again(tmp_path, damage):
    cache, file = PictureCache(tmp_path / "cache", side=50), photograph(tmp_path / "a.jpg")
    first = cache.open(file).tobytes()
    (copy,) = copies(tmp_path / "cache")
    whole = copy.read_bytes()
    bad = {"cut": whole[:-7], "flip": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]}.get(damage, damage)
    copy.write_bytes(bad)
    assert cache.open(file).tobytes() == first
    assert copy.read_bytes() == whole


def test_the_copies_stay_within_their_limit_and_the_oldest_go(tmp_path):
    folder = tmp_path / "cache"
    size = 12 + 70 * 50 * 3
    cache = PictureCache(folder, 20 * size, side=50)
    files = [photograph(tmp_path / f"{number}.jpg", seed=number) for number in range(30)]
    cache.open(files[0])
    (first,) = copies(folder)
    for number, file in enumerate(files):
        cache.open(file)
        for age, copy in enumerate(copies(folder)):
            os.utime(copy, (1e9 + age, 1e9 + age))
        os.utime(first)  # always the last one used
        assert sum(copy.stat().st_size for copy in copies(folder)) <= 20 * size, number
    assert len(copies(folder)) >= 15
    assert first.exists()


def test_what_killed_writers_leave_is_removed(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    for name, age in ((".new-old", 7200), (".new-young", 0)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    PictureCache(folder, side=50).open(photograph(tmp_path / "a.jpg"))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".new-young"]


WRITER = """
import sys
from pathlib import Path
from helpers.data import picture_cache
cache = picture_cache.PictureCache(Path(sys.argv[1]), side=50)
print("ready", flush=True)
while True:
    for file in sorted(Path(sys.argv[2]).glob("*.jpg")):
        picture_cache._DIGESTS.clear()
        cache.open(file)
        for copy in cache.folder.glob("*.rgb"):
            copy.unlink(missing_ok=True)
"""


def test_two_killed_processes_leave_no_half_copy(tmp_path):
    files = [photograph(tmp_path / f"{number}.jpg", seed=number) for number in range(3)]
    expected = {open_image(file, shorter_side=50).tobytes() for file in files}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for turn in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(tmp_path)]
        writers = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(0.2 + 0.13 * turn)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
        for copy in copies(tmp_path / "cache"):
            assert picture_cache._read(copy).tobytes() in expected
    cache = PictureCache(tmp_path / "cache", side=50)
    assert {cache.open(file).tobytes() for file in files} == expected


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "file").touch()
    cache = PictureCache(tmp_path / "file" / "cache", side=50)
    assert cache.folder is None
    assert cache.open(photograph(tmp_path / "a.jpg")).size == (70, 50)


def test_where_copies_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "own"))
    assert picture_cache.usual_folder() == tmp_path / "own" / "pictures"
    monkeypatch.delenv("COURSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert picture_cache.usual_folder() == tmp_path / "fine-tuning-course" / "pictures"
    PictureCache(picture_cache.usual_folder(), side=50)
    assert (tmp_path / "fine-tuning-course" / "pictures").stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_one_value_far_outside_does_not_flatten_the_others(tmp_path):
    values = np.linspace(100, 900, 64 * 64, dtype=np.float32).reshape(64, 64)
    values[0, 0] = -3.4e38  # how maps say "no data"
    Image.fromarray(values).save(tmp_path / "map.tif")
    assert len(np.unique(np.asarray(open_image(tmp_path / "map.tif"))[..., 0])) > 200


def test_a_mask_of_ones_hides_nothing():
    colours = np.dstack([np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))] * 3)
    ones = np.ones((32, 32, 1), dtype=np.uint8)
    found = np.asarray(to_rgb(Image.fromarray(np.concatenate([colours, ones], axis=2))))
    assert (found == colours).all()


@pytest.mark.parametrize(("bits", "kind", "sentence"), [(8, 2, "signed"), (16, 1, "planes")])
def test_numbers_that_pillow_takes_for_others_are_refused(bits, kind, sentence):
    image = Image.new("RGB" if bits == 16 else "L", (4, 4))
    image.tag_v2 = {258: (bits,) * 3, 339: (kind,) * 3, 284: 2}
    with pytest.raises(InputError, match=sentence):
        to_rgb(image)


def test_large_unsigned_numbers_stay_large():
    values = np.array([[0, 2**31, 2**32 - 1]], dtype=np.uint32)
    image = Image.fromarray(values.view(np.int32))
    image.tag_v2 = {258: (32,), 339: (1,)}
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 128, 255]
