"""Conversations as rows of tokens, of which only the answers are learnt (chapter 10 writes it by hand)."""

import numpy as np
import torch
from jinja2 import TemplateError
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from helpers.errors import InputError

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out
Messages = list[dict[str, str]]  # [{"role": "user", "content": "..."}, {"role": "assistant", ...}, ...]


def prompt_ids(messages: Messages, tokenizer, system: str | None = None) -> list[int]:
    """The tokens that a model reads before it answers: the template ends where the answer begins.

    Args:
        messages: ends with one of the user.
        system: system message for conversations that bring none; None leaves it to the template.
    """
    messages = with_system(messages, system)
    options = {"add_generation_prompt": True, "return_dict": True}
    return tokenizer.apply_chat_template(messages, **options)["input_ids"]


def conversation_ids(messages: Messages, tokenizer, system: str | None = None) -> tuple[list[int], list[int]]:
    """Token ids and labels of a conversation; the labels are -100 but on the answers with their end signs.

    Prompt and answer are tokenised apart, as they are in use: the model never sees a token that spans both.
    An answer is all that the template writes behind the prompt: text, end sign, and what follows that.

    Raises InputError: the chat template refuses these messages, or rewrites what it wrote before, and no
        answer has a place.
    """
    messages, done, ids, labels = with_system(messages, system), "", [], []
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        try:
            asked = tokenizer.apply_chat_template(
                messages[:place], tokenize=False, add_generation_prompt=True
            )
            whole = tokenizer.apply_chat_template(messages[: place + 1], tokenize=False)
        except TemplateError as error:
            raise InputError(f"the chat template of this model refuses the messages: {error}") from error
        if not (asked.startswith(done) and whole.startswith(asked)):
            what = "the chat template of this model does not write a conversation from left to right"
            raise InputError(f"{what}: after answer {place + 1} it changed what stood before it; use another")
        prompt = tokenizer(asked[len(done) :], add_special_tokens=False)["input_ids"]
        answer = tokenizer(whole[len(asked) :], add_special_tokens=False)["input_ids"]
        ids += prompt + answer
        labels += [IGNORED] * len(prompt) + answer
        done = whole
    return ids, labels


def with_system(messages: Messages, system: str | None) -> Messages:
    """The conversation with `system` in front, unless it has a system message, or `system` is None."""
    if system is None or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


class ChatDataset(Dataset):
    """Conversations as tokens with labels on the answers, tokenised once when the dataset is built.

    Samples: {"input_ids": int64 (L,), "labels": int64 (L,), "index": int}.

    Args:
        conversations: each ends with an answer of the assistant.
        tokenizer: of transformers, with a chat template.
        max_length: most tokens of a conversation.
        system: system message of those that bring none.
        names: of the conversations, where a message speaks of one; their numbers from 0 by default.

    Raises InputError: a conversation is longer; nothing is cut.
    """

    def __init__(self, conversations: list[Messages], tokenizer, max_length: int, system=None, names=None):
        rows = [conversation_ids(messages, tokenizer, system) for messages in conversations]
        self.rows = [np.array(row, dtype=np.int32) for row in rows]  # each (2, L): ids and labels
        self.lengths = np.array([row.shape[1] for row in self.rows])  # for samplers that group similar ones
        too_long = np.flatnonzero(self.lengths > max_length)
        if len(too_long):
            name = too_long[0] if names is None else names[too_long[0]]
            first = f"conversation {name} has {self.lengths[too_long[0]]:,} tokens"
            raise InputError(f"{first}, expected at most {max_length:,}; shorten it or raise max_length")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of all conversations."""
        return int(self.lengths.sum())

    @property
    def num_learnt(self) -> int:
        """Tokens that have a label; nobody foretells the first one of a conversation."""
        return sum(int((labels[1:] != IGNORED).sum()) for _, labels in self.rows)

    def __getitem__(self, index: int) -> dict:
        ids, labels = torch.from_numpy(self.rows[index]).long()
        return {"input_ids": ids, "labels": labels, "index": index}


class AnswerCollate:
    """Collate conversations: pad on the right; padding has neither attention nor labels, whatever its id.

    Example: `DataLoader(dataset, 16, collate_fn=AnswerCollate(tokenizer.pad_token_id))`
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `labels` int64 (B, L), `indices` int64 (B,)."""
        ids = [sample["input_ids"] for sample in samples]
        masks = [torch.ones_like(row) for row in ids]  # by place: the end sign has the id of the padding
        labels = [sample["labels"] for sample in samples]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad_sequence(masks, batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
            "indices": torch.tensor([sample["index"] for sample in samples]),
        }


class PackedCollate:
    """Collate conversations into one row without padding; each begins again at position 0.

    Models of transformers see from the positions where a conversation begins, and let none look at another.
    """

    def __call__(self, samples: list[dict]) -> dict[str, torch.Tensor]:
        """`input_ids`, `position_ids`, `labels` int64 (1, L of all), `indices` int64 (B,)."""
        labels = [sample["labels"].clone() for sample in samples]
        for row in labels:
            row[0] = IGNORED  # nobody foretells a beginning from the end of another conversation
        return {
            "input_ids": torch.cat([sample["input_ids"] for sample in samples])[None],
            "position_ids": torch.cat([torch.arange(len(row)) for row in labels])[None],
            "labels": torch.cat(labels)[None],
            "indices": torch.tensor([sample["index"] for sample in samples]),
        }
