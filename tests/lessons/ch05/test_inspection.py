"""What inspection finds in files, labels and ratings."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, BertConfig, BertModel

from helpers import assets
from helpers.data.pictures import open_image, to_rgb
from helpers.errors import InputError
from lessons.ch05 import inspection, labels


@pytest.fixture
def picture():
    return Image.fromarray(np.linspace(0, 255, 64 * 32).reshape(32, 64).astype(np.uint8))


def test_every_file_gets_a_row(tmp_path, picture):
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "fine.png")
    (tmp_path / "a" / "cut.png").write_bytes((tmp_path / "a" / "fine.png").read_bytes()[:90])
    (tmp_path / "a" / "page.jpg").write_text("<html>404</html>")
    picture.resize((200, 200)).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    # Its header is whole, so it can be opened.
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / ".hidden.png").write_bytes(b"x")
    picture.save(tmp_path / "wrong.jpg", format="PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.JPG", exif=exif)
    table = inspection.inspect_images(tmp_path).set_index("file")
    assert table["problem"].dropna().str.split(" ").str[0].to_dict() == {
        ".hidden.png": "no", "a/cut.png": "cannot", "a/page.jpg": "no", "empty.png": "empty",
        "half.jpg": "cannot",
    }  # fmt: skip
    assert table.index[table["misnamed"]].tolist() == ["wrong.jpg"]
    assert table.index[table["turned"]].tolist() == ["turned.JPG"]
    assert table.index[table["hidden"]].tolist() == [".hidden.png"]
    assert (table.loc["a/fine.png", ["format", "mode", "width", "height"]] == ["PNG", "L", 64, 32]).all()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        inspection.inspect_images(tmp_path / "no")


def test_sixteen_bits_are_scaled_not_cut(tmp_path, picture):
    deep = np.asarray(picture).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = np.asarray(open_image(tmp_path / "deep.png"))
    assert (found == np.asarray(picture)[..., None]).all()
    with Image.open(tmp_path / "deep.png") as image:  # what a careless program would have done
        assert len(np.unique(np.asarray(image.convert("RGB")))) <= 3


def test_transparent_pixels_show_the_background(picture):
    image = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    image.putalpha(picture)
    found = np.asarray(to_rgb(image)).astype(int)
    assert abs(found - np.asarray(picture)[..., None].astype(int)).max() <= 1
    assert (
        np.asarray(to_rgb(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), background=(1, 2, 3))) == [1, 2, 3]
    ).all()


def test_a_turned_picture_comes_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "t.jpg", exif=exif, quality=95)
    found = open_image(tmp_path / "t.jpg")
    assert found.size == picture.size
    assert abs(np.asarray(found.convert("L")).astype(int) - np.asarray(picture).astype(int)).mean() < 3


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGB", "1", "LA"])
def test_all_modes_become_rgb(mode, picture):
    found = to_rgb(picture.convert(mode))
    assert (found.mode, found.size) == ("RGB", picture.size)


def test_out_of_fold_labels_that_the_features_contradict_are_improbable():
    rng = np.random.default_rng(0)
    truth = np.repeat(["a", "b", "c"], 40)
    features = np.eye(3)[np.repeat([0, 1, 2], 40)] @ rng.normal(size=(3, 12)) + rng.normal(0, 0.2, (120, 12))
    given = truth.copy()
    given[[3, 50, 100]] = ["b", "c", "a"]
    probability = labels.out_of_fold(features, given)
    assert probability.shape == (120,)
    assert set(np.argsort(probability)[:3]) == {3, 50, 100}
    assert labels.precision_at(3, probability, given != truth) == 1
    assert labels.precision_at(6, probability, given != truth) == 0.5


def test_text_features_leave_padding_out_and_keep_the_order():
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).eval()
    texts = ["Short.", "This one is a good deal longer than the first.", "Two words", ""]
    together = labels.text_features(texts, tokenizer, encoder)
    alone = np.concatenate([labels.text_features([text], tokenizer, encoder) for text in texts])
    assert together.shape == (4, 16)
    assert np.allclose(together, alone, atol=1e-5)


def test_precision_and_recall():
    assert labels.precision_recall([1, 2, 3], [2, 3, 4, 5]) == {
        "found": 3,
        "planted": 4,
        "precision": 2 / 3,
        "recall": 0.5,
    }
    assert labels.precision_recall([], [1]) == {"found": 0, "planted": 1, "precision": 1.0, "recall": 0.0}


def test_alpha_of_a_published_example():
    # Krippendorff (2011), section C: four observers, twelve units, nominal alpha 0.743, interval alpha 0.849.
    units = [
        [1, 1, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [5, 5, 5],
        [1, 1],
        [3],
    ]
    assert labels.krippendorff_alpha(units, nominal=True) == pytest.approx(0.743, abs=5e-4)
    assert labels.krippendorff_alpha(units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_at_its_ends(comments):
    assert labels.krippendorff_alpha([[1, 1], [2, 2]]) == 1
    rng = np.random.default_rng(0)
    assert abs(labels.krippendorff_alpha(rng.integers(-4, 5, (2000, 10)).tolist())) < 0.01
    assert 0.5 < labels.krippendorff_alpha(comments["ratings"].head(2000)) < 0.95
    with pytest.raises(InputError, match="at least two"):
        labels.krippendorff_alpha([[1, 1], [1, 1, 1]])


def test_each_suffix_belongs_to_one_format():
    suffixes = {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "TIFF": (".tif", ".tiff"), "PNG": (".png",),
        "GIF": (".gif",), "BMP": (".bmp",), "WEBP": (".webp",), "AVIF": (".avif",), "TGA": (".tga",),
        "JPEG2000": (".jp2",), "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    }  # fmt: skip
    assert {suffix: name for name, own in suffixes.items() for suffix in own} == inspection.FORMATS
