"""Pairs of answers to one prompt, of which people prefer one (chapter 11 writes it by hand)."""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from helpers.data.chat import IGNORED, Messages, conversation_ids
from helpers.errors import InputError


class PairDataset(Dataset):
    """Pairs of conversations that differ in their last answer, tokenised once when the dataset is built.

    Samples: {"input_ids": two int64 (L,), first the chosen one, "labels": two int64 (L,), -100 but on the
    last answer, "reference": float32 (2,), "index": int}. Of a pair always both are read or none.

    Args:
        pairs: (chosen, rejected), whole conversations that end with an answer and share all before it.
        tokenizer: of transformers, with a chat template.
        max_length: most tokens of a conversation.
        system: system message of those that bring none.
        names: of the pairs, where a message speaks of one; their numbers from 0 by default.

    Attributes:
        reference: log-probabilities (nats), float32 (N, 2), of the chosen and the rejected answers before
            the training. None until somebody sets it, and then samples have none.

    Raises InputError: a conversation is longer; nothing is cut. Two of a pair have different prompts.
    """

    def __init__(
        self, pairs: list[tuple[Messages, Messages]], tokenizer, max_length: int, system=None, names=None
    ):
        self.rows, self.reference = [], None
        for number, pair in enumerate(pairs):
            name = number if names is None else names[number]
            if pair[0][:-1] != pair[1][:-1]:
                raise InputError(f"the chosen and the rejected answer of pair {name} have different prompts")
            rows = [_last_answer(*conversation_ids(messages, tokenizer, system)) for messages in pair]
            longest = max(row.shape[1] for row in rows)
            if longest > max_length:
                found = f"pair {name} has {longest:,} tokens, expected at most {max_length:,}"
                raise InputError(f"{found}; shorten it or raise max_length")
            self.rows.append(rows)
        # For samplers that group similar ones: both are padded to the longest of their batch.
        self.lengths = np.array([max(row.shape[1] for row in rows) for rows in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of all conversations: the prompts count twice."""
        return sum(row.shape[1] for rows in self.rows for row in rows)

    @property
    def num_learnt(self) -> int:
        """Tokens that have a label, of both answers."""
        return int(self.answer_lengths.sum())

    @property
    def answer_lengths(self) -> np.ndarray:
        """Tokens (N, 2) of the chosen and the rejected answers, with their end signs."""
        return np.array([[(labels != IGNORED).sum() for _, labels in rows] for rows in self.rows])

    def __getitem__(self, index: int) -> dict:
        ids, labels = zip(*(torch.from_numpy(row).long() for row in self.rows[index]))
        sample = {"input_ids": ids, "labels": labels, "index": index}
        return sample if self.reference is None else sample | {"reference": self.reference[index]}


class PairCollate:
    """Collate pairs: pad on the right; padding has neither attention nor labels, whatever its id.

    Example: `DataLoader(dataset, 8, collate_fn=PairCollate(tokenizer.pad_token_id))`
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` int64 (B, 2, L), 0 the chosen and 1 the rejected answer;
        `indices` int64 (B,), and `reference` float32 (B, 2) where the samples have it.
        """
        ids = [row for sample in samples for row in sample["input_ids"]]
        labels = [row for sample in samples for row in sample["labels"]]
        batch = {
            "input_ids": _padded(ids, self.pad_token_id),
            "attention_mask": _padded([torch.ones_like(row) for row in ids], 0),
            "labels": _padded(labels, IGNORED),
            "indices": torch.tensor([sample["index"] for sample in samples]),
        }
        if "reference" in samples[0]:
            batch["reference"] = torch.stack([sample["reference"] for sample in samples])
        return batch


def _padded(rows: list[torch.Tensor], value: int) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value).unflatten(0, (-1, 2))  # (B, 2, L)


def _last_answer(ids: list[int], labels: list[int]) -> np.ndarray:
    """Ids and labels, int32 (2, L), with labels on the last answer alone."""
    row = np.array([ids, labels], dtype=np.int32)
    row[1, : np.flatnonzero(row[1] == IGNORED)[-1]] = IGNORED
    return row
