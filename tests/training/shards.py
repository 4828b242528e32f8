"""Trains tiny models of every kind in the processes of one torchrun; run by test_shards.py.

Usage: shards.py FOLDER. Writes what each training gave into FOLDER/<processes>.json.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from helpers.data.loaders import make_loader
from helpers.models.low_bit import to_low_bit
from helpers.training.checkpoints import Keeper
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, fit, mean_loss, predict_logits
from helpers.training.losses import CausalLM, Classification
from helpers.training.runtime import Runtime
from helpers.tuning.lora import add_lora

ROWS = 41


class Rows(Dataset):
    """Random token ids, or pictures; of every second token the label is known."""

    def __init__(self, *, pictures=False):
        rng = np.random.default_rng(0)
        shape = (ROWS, 3, 16, 16) if pictures else (ROWS, 9)
        draw = rng.normal(size=shape).astype("float32") if pictures else rng.integers(1, 60, size=shape)
        self.name, self.inputs = "images" if pictures else "input_ids", torch.from_numpy(draw)
        self.labels = rng.integers(3, size=ROWS)

    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        return {self.name: self.inputs[index], "labels": int(self.labels[index]), "indices": index}


def collate(samples, *, of_tokens=False):
    batch = {name: torch.as_tensor(np.stack([sample[name] for sample in samples])) for name in samples[0]}
    if "input_ids" not in batch:
        return batch
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if of_tokens:
        known = (batch["input_ids"] % (2 + batch["indices"][:, None] % 3)) == 0  # as many as the row likes
        batch["labels"] = torch.where(known, batch["input_ids"], -100)
    return batch


def text():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(vocab_size=60, num_labels=3, **sizes))


def picture():
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, **sizes)


def convolutions():
    return timm.create_model("test_efficientnet", num_classes=3)  # with BatchNorm


def language(*, lora=False, bits=16):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=61, tie_word_embeddings=True, **sizes))
    if bits == 4:
        to_low_bit(model)
    if lora:
        add_lora(model, rank=4)
    return model


KINDS = {
    "text": (text, {}),
    "text gradual": (text, {"strategy": "gradual"}),
    "text head": (text, {"strategy": "head"}),
    "text lora": (text, {"strategy": "lora"}),
    "text bf16": (text, {"precision": "bf16"}),
    "picture": (picture, {}),
    "convolutions": (convolutions, {}),
    "chat": (language, {}),
    "chat lora": (partial(language, lora=True), {"strategy": "lora"}),
    "chat 4 bits": (partial(language, lora=True, bits=4), {"strategy": "lora"}),
}
IN_FOUR = ("text", "picture", "chat", "chat lora")  # the others with one and two processes


def held(model, optimizer) -> dict[str, int]:
    """Bytes of this process: of parameters with gradients and moments, and of buffers, which none share."""
    tensors = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None)]
    moments = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    own = [getattr(t, "to_local", lambda t=t: t)().untyped_storage() for t in (*tensors, *moments)]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in own}  # gradients are views of one storage
    return {
        "shared": sum(sizes.values()),
        "buffers": sum(b.untyped_storage().nbytes() for b in model.buffers()),
    }


def train(kind, way, folder=None, *, resume=False, stop_at=0, **changes):
    """Losses, scores and bytes of one training."""
    build, settings = KINDS[kind]
    torch.manual_seed(0)
    model, is_chat = build(), kind.startswith("chat")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # each process draws its own
    settings = {"precision": "no"} | settings | changes
    if is_chat:
        settings["select"] = "-loss"
    config = TrainingConfig(
        **{"max_steps": 20, "batch_size": 12, "learning_rate": 1e-3, "evaluate_every": 5, "patience": 99}
        | {"checkpoint_every": 3, "num_workers": 0} | settings
    )  # fmt: skip
    runtime = Runtime(model, config.precision, shard=way == "fsdp")
    data, of_tokens = Rows(pictures=kind in ("picture", "convolutions")), partial(collate, of_tokens=is_chat)
    loaders = [
        make_loader(data, 12, of_tokens, shuffle=shuffle, num_workers=0, **runtime.sharding)
        for shuffle in (True, False)
    ]
    loss = CausalLM() if is_chat else Classification()
    measure = partial(mean_loss, loss=loss) if is_chat else evaluate
    keeper = Keeper(folder, resume=resume, scores=("loss",)) if folder else Keeper()
    score, losses, scores, bytes_held = partial(measure, loader=loaders[1], runtime=runtime), [], [], {}
    for step in fit(model, loaders[0], config, loss=loss, score=score, runtime=runtime, keeper=keeper):
        losses.append(step.train_loss)
        scores += [step.validation["loss"]] if step.validation else []
        if step.step == 2:  # before the weights move, when the gradients are there, too
            now = lambda optimizer, *_: bytes_held.update(held(model, optimizer))
            keeper.optimizer.register_step_pre_hook(now)
        if step.step == stop_at:
            break
    end = None
    if not stop_at and not is_chat:
        end = predict_logits(model, loaders[1], runtime).tolist()
    if not stop_at and runtime.is_main:  # alone: the weights must be whole, and calls nobody else's
        assert not any("FSDP" in type(module).__name__ for module in model.modules())
        if is_chat:
            end = model(input_ids=data.inputs[:2]).logits.tolist()
        assert not any(type(tensor).__name__ == "DTensor" for tensor in model.state_dict().values())
    runtime.wait()
    return {"losses": losses, "scores": scores, "held": bytes_held, "end": end}


def main():
    folder, found = Path(sys.argv[1]), {}
    runtime = Runtime(precision="no")
    processes = runtime.num_processes
    for kind in KINDS if processes < 4 else IN_FOUR:
        for way in ("ddp", "fsdp"):
            found[f"{kind} {way}"] = train(kind, way)
    for kind in ("chat", "convolutions") if processes < 4 else ():
        found[f"{kind} again"] = train(kind, "fsdp", activation_checkpointing=True)
    # A run begun by four goes on in two and in one, with and without shares, and a plain one is shared out.
    for kind in ("text", "chat lora"):
        place = folder / kind
        stop_at = {4: 7, 2: 13}.get(processes, 0)
        found[f"{kind} resumed"] = train(kind, "fsdp" if processes > 1 else "ddp", place,
            resume=processes < 4, stop_at=stop_at)  # fmt: skip
    if runtime.is_main:
        (folder / f"{processes}.json").write_text(json.dumps(found))
    runtime.leave()


if __name__ == "__main__":
    main()
