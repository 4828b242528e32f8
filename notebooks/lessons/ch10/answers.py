"""One right answer to each exercise of chapter 10, written as a learner would write it."""

import torch
from torch import nn


class Conversations(torch.utils.data.Dataset):
    def __init__(self, conversations, tokenizer):
        self.conversations, self.tokenizer = conversations, tokenizer

    def __len__(self):
        return len(self.conversations)

    def __getitem__(self, index):
        messages, input_ids, labels, done = self.conversations[index], [], [], ""
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            texts = {"tokenize": False}
            asked = self.tokenizer.apply_chat_template(messages[:place], add_generation_prompt=True, **texts)
            whole = self.tokenizer.apply_chat_template(messages[: place + 1], **texts)
            prompt = self.tokenizer(asked[len(done) :], add_special_tokens=False)["input_ids"]
            answer = self.tokenizer(whole[len(asked) :], add_special_tokens=False)["input_ids"]
            input_ids += prompt + answer
            labels += [-100] * len(prompt) + answer
            done = whole
        return {"input_ids": input_ids, "labels": labels}


def collate(samples, pad_token_id):
    length = max(len(sample["input_ids"]) for sample in samples)
    input_ids = torch.full((len(samples), length), pad_token_id)
    attention_mask, labels = torch.zeros_like(input_ids), torch.full_like(input_ids, -100)
    for row, sample in enumerate(samples):
        end = len(sample["input_ids"])
        input_ids[row, :end] = torch.tensor(sample["input_ids"])
        attention_mask[row, :end] = 1
        labels[row, :end] = torch.tensor(sample["labels"])
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class LowRank(nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T) @ self.b.T


def accumulate(sum_of_losses, batches, optimizer):
    tokens = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
    optimizer.zero_grad()
    for batch in batches:
        (sum_of_losses(batch) / tokens).backward()
    optimizer.step()
    return tokens


def three_adapters():
    # a never ends its word, b begins with the end, and c goes on with what stood behind answers: padding.
    return {"a": "no end sign", "b": "shifted twice", "c": "loss on everything"}


def four_prompts():
    # 1 retells, the old job of an assistant; 2 has to begin its own turn; 4 goes on with a text.
    return {1: "other system message", 2: "no generation prompt", 3: "right", 4: "no template"}


def three_runs():
    # 1: steps without a label; 2: prompt and padding are most of the labels, and easy; 3: it explodes.
    return {1: "answers cut off", 2: "loss on everything", 3: "rate too high"}


def offsets():
    # The untuned model hardly ever says neutral, and people do so in one comment of five.
    return {"negative": 0.0, "neutral": 2.0, "positive": 0.0}


def hand_over():
    return 0.7  # of the answers that are surer than this, enough are right; the others go to a person


def limits():
    # Nearly every comment fits, and a batch of the longest ones stays below the memory that there is.
    return {"max_tokens": 128, "batch_size": 8}
