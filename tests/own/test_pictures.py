"""Folders and labels files of pictures as people have them: everything is read, refused, or counted."""

import os
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from helpers import own
from helpers.data.picture_cache import PictureCache
from helpers.errors import DataError, InputError
from helpers.tasks import TASKS


def picture(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def pictures(folder, *names):
    for seed, name in enumerate(names):
        picture(folder / name, seed)
    return folder


@pytest.fixture
def folder(tmp_path):
    return pictures(tmp_path / "photos", "disc/a.png", "disc/b.png", "box/c.png", "box/2021/d.jpg")


def problems_of(folder, **options):
    with pytest.raises(DataError) as caught:
        own.from_folder(folder, **options)
    return {problem.where: problem.what for problem in caught.value.problems}


def test_the_class_is_the_first_level_and_the_order_is_that_of_names(folder):
    frame, problems = own.from_folder(folder)
    assert frame["id"].tolist() == ["box/2021/d.jpg", "box/c.png", "disc/a.png", "disc/b.png"]
    assert frame["label"].tolist() == ["box", "box", "disc", "disc"]
    assert problems == []
    assert frame.attrs == {"ignored": {}, "noticed": []}


def test_what_is_passed_over_is_counted(folder):
    hidden = ("disc/.a.png", "disc/._a.png", "disc/Thumbs.db", ".DS_Store", "box/desktop.ini")
    for name in (*hidden, "disc/a.xml", "disc/notes.txt", "box/LICENSE", "labels.csv"):
        (folder / name).write_bytes(b"not a picture")
    picture(folder / "disc" / ".ipynb_checkpoints" / "a.png")
    picture(folder / "__MACOSX" / "a.png")
    Image.new("RGB", (8, 8), (7, 7, 7)).save(folder / "box" / "plain.png")
    frame, problems = own.from_folder(folder)
    assert len(frame) == 5
    assert problems == []
    assert frame.attrs["ignored"] == {
        "hidden files and folders": 7,
        "files that are no pictures (.csv, .txt, .xml, no suffix)": 4,
        "pictures of one colour": 1,
    }
    assert "1 pictures of one colour: box/plain.png" in frame.attrs["noticed"]
    inputs, _ = own.image_files(folder)
    assert inputs.values == frame["path"].tolist()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("cut.png", "half", "cannot be read as an image (OSError)"),
        ("page.jpg", b"<html>404</html>", "cannot be read as an image (UnidentifiedImageError)"),
        ("empty.gif", b"", "cannot be read as an image (UnidentifiedImageError)"),
        ("picture.txt", "whole", "is no image by its name"),
        ("picture", "whole", "is no image by its name"),
        ("camera.cr2", b"II*\0", "is a picture in a format that is not read (.cr2)"),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(9), "HEIC is not read by this installation"),
    ],
)
def test_bad_files_are_named_everywhere(folder, name, content, what):
    whole = (folder / "disc" / "a.png").read_bytes()
    content = {"half": whole[: len(whole) // 2], "whole": whole}.get(content, content)
    (folder / "disc" / name).write_bytes(content)
    (found,) = problems_of(folder).items()
    assert found[0] == f"disc/{name}"
    assert found[1].startswith(what)
    frame, problems = own.from_folder(folder, on_bad="skip")
    assert (len(frame), len(problems)) == (4, 1)
    with pytest.raises(DataError, match=name.split(".")[0]):
        own.image_files([str(folder / "disc" / name)])
    with pytest.raises(DataError, match=name.split(".")[0]):
        own.image_files(folder)


def test_a_bomb_is_bad(folder):
    def chunk(content):
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    (folder / "disc" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT"))
    assert problems_of(folder) == {"disc/bomb.png": "cannot be read as an image (DecompressionBombError)"}


def test_what_the_check_accepts_the_training_opens(folder):
    exif = b"junk of a camera"
    picture(folder / "disc" / "from_phone.png", exif=exif)
    picture(folder / "disc" / "from_phone.webp", exif=exif)
    frame, problems = own.from_folder(folder)
    assert problems == []
    cache = PictureCache(None, side=4)
    assert all(cache.open(path).mode == "RGB" for path in frame["path"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_and_end(folder, tmp_path):
    pictures(tmp_path / "other", "x.png", "y.png")
    (folder / "star").symlink_to(tmp_path / "other")
    (folder / "disc" / "linked.png").symlink_to(folder / "disc" / "a.png")
    (folder / "disc" / "around").symlink_to(folder)
    (folder / "box" / "to_itself").symlink_to(folder / "box")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "other")
    frame, problems = own.from_folder(folder)
    assert frame["label"].value_counts().to_dict() == {"disc": 3, "box": 2, "star": 2}
    assert problems == []
    assert frame.attrs["ignored"] == {"folders that a link leads to again": 3}
    assert len(own.image_files(folder)[0].values) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_nowhere_are_bad(folder):
    (folder / "disc" / "lost.png").symlink_to("nowhere.png")
    (folder / "star").symlink_to("nowhere")
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "twin").symlink_to(folder / "disc")
    found = problems_of(folder)
    assert found.pop("twin") == "is the same folder as disc, by a link; remove it"
    assert found == dict.fromkeys(("disc/lost.png", "star", "round.jpg"), "the file does not exist")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_does_not_stop_the_reading(folder):
    for name in ("pipe.png", "pipe.txt"):
        os.mkfifo(folder / "disc" / name)
    assert problems_of(folder) == {"disc/pipe.png": "is a folder or a device, expected a file"}


def test_an_empty_class_is_named(folder):
    (folder / "star").mkdir()
    (folder / "moon" / "deep").mkdir(parents=True)
    (folder / "moon" / "notes.txt").touch()
    assert problems_of(folder) == dict.fromkeys(
        ("star", "moon"), "this class holds no picture; fill or remove it"
    )
    assert set(own.from_folder(folder, on_bad="skip")[0]["label"]) == {"box", "disc"}
    assert len(own.image_files(folder)[0].values) == 4, "to be labelled, an empty folder is no fault"


@pytest.mark.parametrize(
    "names",
    [
        ("train/disc/a.png", "val/disc/b.png", "test/box/c.png"),
        ("Training/disc/a.png", "VALID/disc/b.png"),
        ("train_set/disc/a.png", "test_set/a.png"),
        ("train2017/a/a.png", "Test Images/a/b.png"),
        ("train/a/a.png", "train/b/a.png", "extra/a/a.png", "extra/b/a.png"),
        ("seg_train/seg_train/a/a.png", "seg_test/seg_test/a/a.png", "seg_pred/seg_pred/a.png"),
        ("train/a/a.png", "test/a/a.png", "labels_preview/a.png"),
    ],
)
def test_parts_of_a_split_are_no_classes(tmp_path, names):
    first = names[0].split("/")[0]
    with pytest.raises(InputError, match=f"parts of a split .*give .*{first}, of which"):
        own.from_folder(pictures(tmp_path / "photos", *names))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.png", "b.png"), "holds 2 pictures and no class folders; move each into"),
        (("all/disc/a.png", "all/box/b.png"), "holds only one folder, all, .*give .*photos/all"),
    ],
)
def test_folders_without_classes(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        own.from_folder(pictures(tmp_path / "photos", *names))


@pytest.mark.parametrize(
    "names",
    [
        ("train/a.png", "bus/b.png"),
        ("positive test/a.png", "negative test/b.png"),
        ("cat/2021/a.png", "dog/2022/b.png"),
    ],
)
def test_classes_that_look_like_a_split_are_classes(tmp_path, names):
    frame, _ = own.from_folder(pictures(tmp_path / "photos", *names))
    assert sorted(frame["label"]) == sorted(name.split("/")[0] for name in names)


def test_folders_in_every_class_are_noticed(tmp_path):
    names = ("cat/train/a.png", "cat/test/b.png", "dog/train/c.png", "dog/test/d.png")
    frame, _ = own.from_folder(pictures(tmp_path / "photos", *names))
    assert set(frame["label"]) == {"cat", "dog"}
    assert frame.attrs["noticed"] == [
        "2 folders that stand in every class and are not taken as classes: test, train"
    ]


def test_a_loose_picture_beside_classes_is_bad(folder):
    picture(folder / "loose.png")
    assert problems_of(folder) == {"loose.png": "lies outside a class folder; move it into photos/CLASS/"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_in_an_old_code_page_are_bad_before_training(folder):
    name = os.fsdecode(b"caf\xe9_1.png")
    picture(folder / "disc" / name)
    pictures(folder / os.fsdecode(b"caf\xe9"), "a.png")
    what = "its name is not valid UTF-8; rename it"
    assert problems_of(folder) == {"disc/caf\\udce9_1.png": what, "caf\\udce9": what}
    frame, problems = own.from_folder(folder, on_bad="skip")
    assert len(frame) == 4
    "".join([*frame["id"], *frame["path"], *map(str, problems)]).encode()
    inputs, problems = own.image_files(folder, on_bad="skip")
    assert (len(inputs.values), len(problems)) == (4, 2)
    with pytest.raises(DataError, match="not valid UTF-8"):
        own.image_files([str(folder / "disc" / name)])


@pytest.mark.parametrize("text", ["x" * 300, "a\0b.png", "", "no such.png", "\\", "~/a.png"])
def test_a_text_where_a_picture_is_expected(text, tmp_path):
    with pytest.raises(DataError, match=r"(does not exist|expected a file)"):
        own.image_files([text, str(picture(tmp_path / "a.png"))])


def labels_file(folder, lines, header="file,label"):
    (folder / "labels.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder / "labels.csv"


def test_groups_of_a_labels_file_are_kept_and_a_blank_one_stands_alone(folder):
    lines = ["disc/a.png,disc,ann", "disc/b.png,disc,ann", "box/c.png,box,", "box/2021/d.jpg,box,"]
    file = labels_file(folder, lines, "file,label,patient")
    frame, _ = own.images_from(file, "file", "label", "patient")
    assert frame.columns.tolist() == ["id", "group", "path", "label"]
    assert frame["group"].tolist() == ["ann", "ann", "row 4 alone", "row 5 alone"]
    assert frame.attrs["noticed"][-1] == "2 of 4 rows have no 'patient': each stands alone"
    with pytest.raises(InputError, match="no column 'nobody'"):
        own.images_from(file, "file", "label", "nobody")
    with pytest.raises(InputError, match="is a folder, which has no column 'patient'"):
        own.images_from(folder, "file", "label", "patient")


def test_the_task_hands_the_groups_on(folder, monkeypatch, tmp_path):
    from helpers.runs.recipes import RunConfig

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    file = labels_file(folder, ["disc/a.png,disc,ann", "box/c.png,box,bob"], "file,label,patient")
    options = RunConfig(task="images", model="efficientnet_lite0", group_column="patient")
    frame, _ = TASKS["images"].read(str(file), options)
    assert frame["group"].tolist() == ["ann", "bob"]


def test_paths_of_a_labels_file(folder):
    absolute = folder / "disc" / "a.png"
    lines = [r"box\2021\d.jpg,box", f"{absolute},disc", "./disc/b.png,disc", "disc/b.png,disc"]
    frame, _ = own.from_labels_file(labels_file(folder, lines))
    assert all(os.path.isfile(path) for path in frame["path"])
    assert frame["id"].tolist() == ["2", "3", "4", "5"]


def test_all_problems_of_a_labels_file_come_together(folder):
    (folder / "cut.png").write_bytes((folder / "disc" / "a.png").read_bytes()[:60])
    lines = ["cut.png,disc", "~/a.png,disc", "disc/a.png,", f"{'word ' * 80},box", "box/c.png,box"]
    with pytest.raises(DataError) as caught:
        own.from_labels_file(labels_file(folder, lines))
    found = [str(problem).rsplit(": ", 1)[-1] for problem in caught.value.problems]
    missing = "the file does not exist"
    assert found == ["cannot be read as an image (OSError)", missing, "the label is empty", missing]
    assert len(own.from_labels_file(folder / "labels.csv", on_bad="skip")[0]) == 1


def test_a_labels_file_names_pictures_of_one_colour(folder):
    Image.new("L", (5, 5), 9).save(folder / "plain.png")
    frame, _ = own.from_labels_file(labels_file(folder, ["plain.png,x", "disc/a.png,y"]))
    assert frame.attrs["ignored"] == {"pictures of one colour": 1}


def test_the_check_fills_the_cache(tmp_path):
    cache = PictureCache(tmp_path / "cache", side=5)
    own.from_folder(pictures(tmp_path / "photos", "disc/a.jpg", "box/b.jpg"), cache=cache)
    assert len(list(cache.folder.iterdir())) == 2


def test_a_line_of_pixels_is_no_picture(tmp_path):
    folder = pictures(tmp_path / "photos", "a/a.png", "b/b.png")
    Image.new("RGB", (3000, 1)).save(folder / "a" / "line.png")
    assert problems_of(folder) == {"a/line.png": "is 3000 x 1 pixels, more than 100 times as long as wide"}
