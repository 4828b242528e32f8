"""All documents as ONE stream of token ids on disk, and blocks of it to pretrain on (chapter 09)."""

import hashlib
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from helpers.errors import InputError
from helpers.files import write_atomically

TYPES = {"uint16": np.uint16, "uint32": np.uint32}
HEADER = 512  # bytes before the first id: one line of JSON, filled up with blanks


def fingerprint(tokenizer) -> str:
    """16 hexadecimal digits of all that makes ids of a text; raises InputError: no fast tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{type(tokenizer).__name__} is no fast tokenizer; load it with AutoTokenizer")
    last_call = ("truncation", "padding")  # has left its traces there
    rules = {name: rule for name, rule in json.loads(backend.to_str()).items() if name not in last_call}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:16]


class TokenStream:
    """Token ids of many documents, one after another, read from a memory-mapped file.

    A sign stands before each document and behind the last: it ends one document and begins the next.
    `ids` is a read-only array (N,) of uint16, or uint32 for a vocabulary beyond 65,536; `sign` is the id.

    Example: `TokenStream.write(Path("train.ids"), texts, tokenizer, "<|endoftext|>").ids[:10]`

    Raises InputError: no such file, no stream, one that is cut off, or ids of another tokenizer.
    """

    def __init__(self, file: Path, tokenizer):
        self.file = Path(file)
        try:
            with self.file.open("rb") as opened:
                stored = json.loads(opened.read(HEADER))
            dtype, count, self.sign = TYPES[stored["dtype"]], stored["tokens"], stored["sign"]
            is_stream = isinstance(self.sign, int) and count > 0 and "tokenizer" in stored
        except (OSError, ValueError, KeyError, TypeError):
            is_stream = False
        if not is_stream:
            raise InputError(f"{file} is missing, or no token stream; write it with TokenStream.write")
        expected, found = HEADER + count * dtype().nbytes, self.file.stat().st_size
        if found != expected:
            raise InputError(f"{file} must have {expected:,} bytes, found {found:,}; write it again")
        own = fingerprint(tokenizer)
        if stored["tokenizer"] != own:
            made = f"{file} was written with the tokenizer {stored['tokenizer']}, found {own}"
            raise InputError(f"{made}: its ids mean other tokens; use that tokenizer, or write it again")
        self.ids = np.memmap(self.file, dtype, "r", HEADER, (count,))

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def write(cls, file: Path, texts: Iterable[str], tokenizer, sign: str) -> "TokenStream":
        """Tokenise `texts` into `file`, whole or not at all, and open it; `sign` is a token of no text.

        The ids of all texts are in memory once (2 bytes each); write a larger collection as several streams.

        Raises InputError: the sign is no token, a text contains it, or there is no text.
        """
        number = tokenizer.get_vocab().get(sign)
        if number is None:
            raise InputError(f"{sign!r} is no token of this vocabulary; choose one of its special tokens")
        dtype = np.uint16 if max(tokenizer.get_vocab().values()) < 2**16 else np.uint32
        rows = tokenizer(list(texts) or [sign], add_special_tokens=False, verbose=False)["input_ids"]
        bad = [place for place, row in enumerate(rows) if number in row]
        if bad:  # no texts at all end here, too
            raise InputError(f"text {bad[0]} contains {sign!r}, which stands between texts, or there is none")
        ids = np.fromiter(chain(chain.from_iterable([number, *row] for row in rows), [number]), dtype)
        stored = {"tokens": len(ids), "dtype": ids.dtype.name, "sign": number}
        header = json.dumps(stored | {"tokenizer": fingerprint(tokenizer)}).encode().ljust(HEADER)
        write_atomically(Path(file), header + ids.tobytes())
        return cls(file, tokenizer)


class TokenBlocks(Dataset):
    """Blocks of `length` tokens of a stream, none twice, as samples for next-token prediction.

    Samples: {"input_ids", "next_ids", "position_ids"}, each int64 (length,). `next_ids[t]` follows
    `input_ids[t]`: already shifted, so a loss must not shift again. Positions begin at 0 with each document
    (and with the block), which is how a model can tell where its text begins.

    Raises InputError: the stream is shorter than one block.
    """

    def __init__(self, stream: TokenStream, length: int):
        self.ids, self.sign, self.length = stream.ids, stream.sign, length
        if len(self) < 1:
            raise InputError(
                f"a block needs {length + 1:,} tokens, found {len(self.ids):,}; shorten the block"
            )

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.length
        window = torch.from_numpy(self.ids[start : start + self.length + 1].astype(np.int64))
        ids, next_ids = window[:-1], window[1:]
        return {"input_ids": ids, "next_ids": next_ids, "position_ids": positions(ids, self.sign)}


def positions(ids: torch.Tensor, sign: int) -> torch.Tensor:
    """int64 (L,) -> (L,): 0 1 2 ..., beginning anew at every `sign`."""
    places = torch.arange(len(ids))
    starts = torch.where(ids == sign, places, 0).cummax(0).values
    return places - starts
