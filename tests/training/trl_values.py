"""Writes trl_preference.json: what TRL says of four pairs, to which `losses.Preference` is held.

TRL is in no environment of the course. Make one of its own (`pip install trl==1.16.0`, torch and transformers
as in requirements.txt), and run there, without a GPU:

    python tests/training/trl_values.py data/fetched/smollm2

The two models are tiny Llamas with weights that NumPy draws, so nothing of them need be stored. Written are
TRL's own token ids and masks, the answers' log-probabilities under both models, and the mean loss for two
values of beta.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

FILE = Path(__file__).with_name("trl_preference.json")
BETAS = (0.1, 0.5)
SYSTEM = "Rate the comment as JSON."
PAIRS = [  # question, chosen and rejected answer
    ("What a lovely day.", '{"sentiment": "positive", "strength": 3}', '{"sentiment": "negative"}'),
    (
        "It was fine 👋🏽, I suppose",
        '{"sentiment": "neutral", "strength": 0}',
        "Sure! Here is my rating: fine.",
    ),
    ("No.", "{}", "The comment is negative, with a strength of -2, as far as one word can tell."),
    ("Why would anybody buy this twice? " * 4, '{"sentiment": "negative", "strength": -2}', "?"),
]


def messages(question: str, *answers: str) -> list[dict]:
    """The conversation of system, question, and an answer, if there is one."""
    said = [("system", SYSTEM), ("user", question), *(("assistant", answer) for answer in answers)]
    return [{"role": role, "content": text} for role, text in said]


def tiny_model(seed: int, vocabulary: int) -> LlamaForCausalLM:
    """A Llama of two narrow layers; its weights depend on the seed alone, not on the version of torch."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=True, **sizes)).eval()
    draw = np.random.RandomState(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.from_numpy(draw.standard_normal(tuple(weight.shape)).astype(np.float32))
            weight.copy_(drawn / 4 + ("norm" in name))
    return model


def main() -> None:
    import trl
    from datasets import Dataset

    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    rows = [
        {
            "prompt": messages(question),
            "chosen": messages(question, good)[2:],
            "rejected": messages("", bad)[2:],
        }
        for question, good, bad in PAIRS
    ]
    models = [tiny_model(seed, len(tokenizer)) for seed in (1, 2)]  # the policy, the reference
    found = {"trl": trl.__version__, "losses": {}}
    for beta in BETAS:
        with tempfile.TemporaryDirectory() as folder:
            options = {
                "output_dir": folder,
                "beta": beta,
                "bf16": False,
                "use_cpu": True,
                "report_to": "none",
            }
            arguments = trl.DPOConfig(**options, max_length=None)
            data = {"train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}
            trainer = trl.DPOTrainer(models[0], models[1], args=arguments, **data)
        trainer.model.eval()
        batch = trainer.data_collator([trainer.train_dataset[number] for number in range(len(rows))])
        with torch.no_grad():
            found["losses"][str(beta)] = trainer.compute_loss(trainer.model, dict(batch)).item()
            sides = [
                trainer.compute_ref_log_probs(model, batch) for model in (trainer.model, trainer.ref_model)
            ]
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
    found["policy"], found["reference"] = (torch.stack(side, 1).tolist() for side in sides)  # (N, 2)
    found |= {name: batch[name].tolist() for name in ("input_ids", "attention_mask", "completion_mask")}
    FILE.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
