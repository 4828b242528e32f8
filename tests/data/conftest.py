"""Small data and models of the form that full scale has: a cache of the hub, a mirror of archives.

Names, layouts, annotation files and tokenizers are like the real ones; pictures, tweets and weights are not.
"""

import hashlib
import io
import json
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    RobertaConfig,
    RobertaTokenizer,
)

from helpers import assets
from helpers.data.full import ASSETS

BREEDS = [
    f"{'Breed' if number % 3 else 'breed'}_{number:02d}" for number in range(37)
]  # cats, then dogs: case
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 30)).save(file, "JPEG")
    return file.getvalue()


def pets(folder: Path, *, each: int = 12) -> Path:
    """`oxford-iiit-pet` below `folder`, as torchvision unpacks it: every second picture is in test.txt."""
    root = folder / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    lines = {"trainval": [], "test": []}
    for number, breed in enumerate(BREEDS, 1):
        for place in range(1, each + 1):
            name = f"{breed}_{place}"
            (root / "images" / f"{name}.jpg").write_bytes(jpeg(1000 * number + place))
            part = "test" if place % 2 else "trainval"
            lines[part].append(f"{name} {number} {1 + number % 2} {number}")
    for part, found in lines.items():
        (root / "annotations" / f"{part}.txt").write_text("\n".join(found) + "\n")
    return root


def flowers(folder: Path, *, each: int = 3) -> Path:
    """`flowers-102` below `folder`, one flower of each species in each of the three parts."""
    root = folder / "flowers-102"
    (root / "jpg").mkdir(parents=True)
    numbers = np.arange(1, 102 * each + 1)
    for number in numbers:
        (root / "jpg" / f"image_{number:05d}.jpg").write_bytes(jpeg(number))
    savemat(root / "imagelabels.mat", {"labels": 1 + (numbers - 1) % 102})
    thirds = np.array_split(numbers, 3)
    savemat(root / "setid.mat", dict(zip(("trnid", "valid", "tstid"), thirds)))
    return root


def archive(*folders: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for folder in folders:
            tar.add(folder, folder.name)
    return file.getvalue()


def snapshot(cache: Path, name: str) -> Path:
    """The folder of a snapshot in a cache of the hub, made as the hub's client makes it."""
    asset = ASSETS[name]
    kind = "datasets" if asset.is_data else "models"
    repository = cache / f"{kind}--{asset.repository.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(asset.revision)
    folder = repository / "snapshots" / asset.revision
    folder.mkdir(parents=True)
    return folder


def encoder(cache: Path, name: str) -> None:
    """A masked-language model, as the hub has them: no head for classes, its own kind of tokenizer."""
    folder = snapshot(cache, name)
    torch.manual_seed(0)
    if name == "roberta-base":
        bytes_level = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        bytes_level.train_from_iterator(["good bad fine phone "] * 3, vocab_size=300, special_tokens=special)
        bytes_level.save_model(str(folder))
        merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
        tokenizer = RobertaTokenizer(vocab=json.loads((folder / "vocab.json").read_text()), merges=merges)
        config = RobertaConfig(**SMALL, vocab_size=len(tokenizer), max_position_embeddings=130)
    else:
        tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
        numbers = {
            f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("pad", "cls", "sep")
        }
        kind = BertConfig if name == "bert-base-uncased" else ModernBertConfig
        config = kind(**SMALL, vocab_size=len(tokenizer), **numbers)
    tokenizer.save_pretrained(folder)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    complete(folder, name)


def writer(cache: Path, name: str) -> None:
    """A tiny Llama with the tokenizer and the chat template of SmolLM2."""
    folder = snapshot(cache, name)
    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    tokenizer.save_pretrained(folder, save_jinja_files=False)  # as the hub has it: in tokenizer_config.json
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": True}
    config = LlamaConfig(**SMALL, num_key_value_heads=1, vocab_size=len(tokenizer), **ends)
    LlamaForCausalLM(config).save_pretrained(folder)
    complete(folder, name)


def complete(folder: Path, name: str) -> None:
    """Files of the table that today's transformers reads no more, but that the hub holds."""
    for file in ASSETS[name].files:
        if not (folder / file["name"]).exists():
            (folder / file["name"]).write_text("{}")


def tweets(cache: Path, *, rows: int = 60) -> None:
    """The three Parquet files of tweet_eval's part sentiment."""
    folder = snapshot(cache, "tweet_eval") / "sentiment"
    folder.mkdir()
    for part in ("train", "validation", "test"):
        texts = [
            f"@user {part} number {number} is {['bad', 'so', 'good'][number % 3]}" for number in range(rows)
        ]
        frame = pd.DataFrame({"text": texts, "label": np.arange(rows) % 3})
        frame.to_parquet(folder / f"{part}-00000-of-00001.parquet", index=False)


class Mirror:
    """A web server on this machine with files {path: content}; it can break off, and notes what it was asked.

    It answers as the web servers of the archives do (ranges), and as the hub does (ETag, commit).
    """

    def __init__(self, files: dict[str, bytes]):
        self.files, self.asked, self.break_after = files, [], None
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, *, body):
                wanted = self.headers.get("Range")
                mirror.asked.append((self.command, self.path, wanted))
                content = mirror.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                commit = re.search("/resolve/([0-9a-f]{40})/", self.path)
                if commit:
                    self.send_header("X-Repo-Commit", commit[1])
                self.end_headers()
                if body:
                    self.wfile.write(content[start : mirror.break_after])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def standins():
    """Makers of all these."""
    makers = (pets, flowers, archive, encoder, writer, tweets, Mirror)
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})
