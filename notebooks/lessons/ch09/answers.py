"""One right answer to each exercise of chapter 09, written as a learner would write it."""

import math

import torch
from torch.utils.data import Dataset


def ruler(log_p, text):
    return -log_p.sum().item() / math.log(2) / len(text.encode())


class WholeDocuments(Dataset):
    def __init__(self, documents, length, sign):
        self.blocks, self.length, self.sign = [[]], length, sign
        for document in documents:
            if len(self.blocks[-1]) + 1 + len(document) > length:
                self.blocks.append([])  # it does not fit any more: a new block
            self.blocks[-1] += [sign, *document]

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        ids = self.blocks[index] + [self.sign] * (self.length - len(self.blocks[index]))
        places, position = [], 0
        for number in ids:
            position = 0 if number == self.sign else position + 1
            places.append(position)
        return {"input_ids": torch.tensor(ids), "position_ids": torch.tensor(places)}


class SlidingCache:
    def __init__(self, window):
        self.window, self.positions, self.keys, self.values = window, None, {}, {}

    def see(self, positions):
        if self.positions is not None:
            positions = torch.cat([self.positions, positions], dim=1)
        self.positions = positions[:, -self.window :]
        return positions

    def append(self, layer, keys, values):
        if layer in self.keys:
            keys = torch.cat([self.keys[layer], keys], dim=2)
            values = torch.cat([self.values[layer], values], dim=2)
        self.keys[layer] = keys[:, :, -self.window :]
        self.values[layer] = values[:, :, -self.window :]
        return keys, values


def keep_min_p(logits, share):
    p = logits.softmax(-1)
    return logits.masked_fill(p < share * p.amax(-1, keepdim=True), -torch.inf)


def three_shifts():
    return {"a": "twice", "b": "none", "c": "once"}  # b copies: loss 0; a skips every second letter


def three_packers():
    # A neighbour changes: only b moves. The last token changes: only in a do the tokens before it move.
    return {"a": "sees the future", "b": "no boundaries", "c": "right"}


def three_samplers():
    # Chances 60%, 30%, 10% and top_p 0.7: two tokens may be drawn; b never draws the second.
    return {"a": "always the same", "b": "cuts too early", "c": "right"}


def block_length():
    return 384  # an eighth of the comments is cut at about 200 tokens already; 512 is the most


def nucleus():
    return 0.95  # the model is too sure: at 0.9 fewer than 0.8 of the written tokens pass


def scheme():
    return {"bits": 4, "block": 64}  # a bit more per weight buys more than smaller blocks do
