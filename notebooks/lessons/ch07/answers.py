"""One right answer to each exercise of chapter 07, written as a learner would write it."""

import numpy as np
import torch


def prepared(texts, labels, tokenizer, encoder):
    names = ["negative", "neutral", "positive"]

    class Comments(torch.utils.data.Dataset):
        def __len__(self):
            return len(texts)

        def __getitem__(self, index):
            ids = tokenizer(texts[index], truncation=True, max_length=128)["input_ids"]
            return ids, names.index(labels[index])

    def collate(samples):
        rows = [torch.tensor(ids) for ids, _ in samples]
        input_ids = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=tokenizer.pad_token_id
        )
        attention_mask = torch.nn.utils.rnn.pad_sequence(
            [torch.ones_like(row) for row in rows], batch_first=True
        )
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": torch.tensor([label for _, label in samples]),
        }

    class MeanAndMaximum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.classifier = torch.nn.Linear(2 * encoder.config.hidden_size, 3)

        def forward(self, input_ids, attention_mask):
            hidden = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            maximum = hidden.masked_fill(mask == 0, float("-inf")).max(1).values
            return self.classifier(torch.cat([mean, maximum], 1))

    loader = torch.utils.data.DataLoader(Comments(), batch_size=16, shuffle=True, collate_fn=collate)
    return loader, MeanAndMaximum()


def three_runs():
    return {"a": "labels shuffled", "b": "mask not passed", "c": "test rows chose"}


def soft_targets(ratings):
    ratings = np.array(ratings)
    shares = np.array([(ratings <= -1).mean(), (ratings == 0).mean(), (ratings >= 1).mean()])
    mean = ratings.mean()
    label = np.array([mean <= -0.5, -0.5 < mean < 0.5, mean >= 0.5])
    return (shares + label) / 2


def hand_over():
    return 0.86  # the last limit that keeps the promise on the shown rows, and a few points more
