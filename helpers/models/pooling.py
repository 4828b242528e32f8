"""One vector for a whole text, in the way in which the encoder was trained (chapter 04)."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file

POOLING = "1_Pooling/config.json"  # sentence-transformers writes it beside its models


def masked_mean(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean (B, H) of the token vectors `hidden` (B, L, H) where `attention_mask` (B, L) is 1.

    Example: `masked_mean(torch.ones(1, 3, 8), torch.tensor([[1, 1, 0]]))`
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, L, 1)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


class MeanPooledBert(BertForSequenceClassification):
    """BERT with a head on the masked mean of its tokens; `[CLS]` and its pooler, which encoders such as
    all-MiniLM never trained, are not used.

    Its configuration says `classifier_pooling: mean`. transformers' own classes do not read that word: they
    load the weights with a pooler drawn at random, and warn of it.
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert.pooler = None

    @classmethod
    def from_config(cls, config):
        """A model with random weights, as the Auto classes make them."""
        return cls(config)

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, **options):
        """Logits (B, C) of token ids (B, L), or of their vectors `inputs_embeds` (B, L, H)."""
        outputs = self.bert(input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **options)
        hidden = outputs.last_hidden_state  # (B, L, H)
        if attention_mask is None:
            attention_mask = torch.ones(hidden.shape[:2], device=hidden.device)
        logits = self.classifier(self.dropout(masked_mean(hidden, attention_mask)))
        return SequenceClassifierOutput(
            logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def pooled_by_mean(source: str | Path, **options) -> bool:
    """Whether sentence-transformers trained the model of a folder or of the hub by its mean."""
    try:
        file = cached_file(source, POOLING, **options)
    except OSError:  # a model of another maker has no such file
        return False
    with open(file, encoding="utf-8") as opened:
        return bool(json.load(opened).get("pooling_mode_mean_tokens"))


def classifier_class(config):
    """What builds the classifier of a configuration, by `from_pretrained` or `from_config`."""
    is_mean = config.model_type == "bert" and getattr(config, "classifier_pooling", None) == "mean"
    return MeanPooledBert if is_mean else AutoModelForSequenceClassification
