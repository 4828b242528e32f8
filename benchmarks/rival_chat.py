"""Tuning the language model by the course's loop and by what people would use instead, by turns.

usage: python benchmarks/rival_chat.py [--quick]     (about five minutes on 2 idle cores without bf16)

LoRA of rank 8 on all linear layers of SmolLM2: the same 64 comments with their answers, the same first
weights, optimizer, rates and precision, batches of 16 comments of similar lengths, loss on the answers alone.
`ours` is `fit` with `CausalLM`; `trainer` is `Trainer` of transformers; `trl` is TRL's `SFTTrainer`, which is
measured where it is installed (`pip install trl`); the course does not depend on it. Rivals get rows that
are tokenised and labelled already, so what they do to a conversation is not measured.

Each is a process of its own, which is made ready once and trains five times, after a warm-up. Counted are the
tokens of the comments and answers that pass through the model, without padding, by the second. Writes
results/rival_chat.json; `--quick` tries the script with few rows on one thread and prints the results.
"""

import importlib.util
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from by_turns import Worker, median, own_environment, serve

RESULTS = Path(__file__).resolve().parent / "results" / "rival_chat.json"
NAMES = ("ours", "trainer", "trl")
FULL_SIZE = {"rows": 64, "repeats": 5}
QUICK_SIZE = {"rows": 16, "repeats": 1}
BATCH, RANK, RATE = 16, 8, 1e-3


class Bench:
    """One trainer, ready to be measured again and again from the same first weights."""

    def __init__(self, name: str, rows: int, model: str = "smollm2"):
        import torch

        from helpers import environment
        from helpers.data import sources
        from helpers.data.chat import ChatDataset
        from helpers.models.language import language_model
        from helpers.training.config import TrainingConfig
        from helpers.tuning.freezing import apply_strategy
        from helpers.tuning.lora import add_lora

        self.train = {"ours": ours, "trainer": trainer, "trl": trl}[name]
        self.config = TrainingConfig(
            epochs=1, batch_size=BATCH, learning_rate=RATE, schedule="one-cycle", weight_decay=0.0,
            strategy="lora", evaluate_every=10**9,
        )  # fmt: skip
        lm = language_model(model)
        self.model, self.tokenizer = lm.model, lm.tokenizer
        environment.seed_everything(0)
        add_lora(self.model, rank=RANK, alpha=2 * RANK)
        apply_strategy(self.model, "lora", 0, 1)
        moving = {key: p for key, p in self.model.named_parameters() if p.requires_grad}
        self.first = {key: tensor.detach().clone() for key, tensor in moving.items()}
        comments = sources.comments().sample(rows, random_state=0)
        conversations = [sources.conversation(row) for _, row in comments.iterrows()]
        self.dataset = ChatDataset(conversations, self.tokenizer, 1024)
        self.tokens, self.torch = 0, torch
        self.model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _model, _, kwargs) -> None:
        self.tokens += kwargs["input_ids"].numel()

    def run(self, seed: int) -> dict:
        """Train once from the first weights."""
        from helpers import environment
        from rival_texts import Watch

        with self.torch.no_grad():
            for key, parameter in self.model.named_parameters():
                if key in self.first:
                    parameter.copy_(self.first[key])
        watch, self.tokens = Watch(), 0
        environment.seed_everything(seed)
        self.train(self, seed, watch)
        moved = {key: p.detach() for key, p in self.model.named_parameters()}
        change = sum(float((moved[key] - first).abs().sum()) for key, first in self.first.items())
        return {
            "seconds": round(watch.seconds, 3), "steps": watch.steps, "real_tokens": self.real_tokens(),
            "tokens": self.tokens, "change": round(change, 3),
        }  # fmt: skip

    def real_tokens(self) -> int:
        """Tokens of all rows, without padding."""
        return int(self.dataset.lengths.sum())

    def describe(self) -> dict:
        """What must be the same for all."""
        from rival_texts import precision_here

        return {
            "trainable": sum(first.numel() for first in self.first.values()),
            "first_weights": round(sum(float(first.abs().sum()) for first in self.first.values()), 3),
            "rows": len(self.dataset), "real_tokens": self.real_tokens(),
            "answer_tokens": int(sum((row[1] != -100).sum() for row in self.dataset.rows)),
            "precision": precision_here(self.config),
        }  # fmt: skip


def ours(bench: Bench, seed: int, watch) -> None:
    """The course's loop: only positions that have a label meet the output layer."""
    from dataclasses import replace

    from helpers.data.chat import AnswerCollate
    from helpers.data.loaders import make_loader
    from helpers.training.loop import fit
    from helpers.training.losses import CausalLM
    from helpers.training.runtime import Runtime

    config = replace(bench.config, seed=seed)
    collate = AnswerCollate(bench.tokenizer.pad_token_id)
    loader = make_loader(bench.dataset, BATCH, collate, shuffle=True, seed=seed)
    runtime = Runtime(bench.model, config.precision)
    watch.start()
    for _ in fit(bench.model, loader, config, loss=CausalLM(), score=watch.score, runtime=runtime):
        watch.steps += 1
    watch.stop()


def trainer(bench: Bench, seed: int, watch) -> None:
    """`Trainer` of transformers with its collator for labelled tokens."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    collate = DataCollatorForSeq2Seq(bench.tokenizer)  # pads labels with -100
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **options(bench, seed))
        run(bench, watch, Trainer, arguments, data_collator=collate, train_dataset=samples(bench))


def trl(bench: Bench, seed: int, watch) -> None:
    """TRL's `SFTTrainer` with its own collator and loss."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    half = options(bench, seed)
    own = {"bf16": half.get("bf16", False), "gradient_checkpointing": False}  # it would switch both on
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(folder, **half | own, dataset_kwargs={"skip_prepare_dataset": True})
        dataset = Dataset.from_list(samples(bench))
        run(bench, watch, SFTTrainer, arguments, train_dataset=dataset)


def samples(bench: Bench) -> list[dict]:
    """Rows as transformers wants them: `input_ids`, `attention_mask`, `labels`; not yet padded."""
    rows = [[part.tolist() for part in row] for row in bench.dataset.rows]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels} for ids, labels in rows]


def options(bench: Bench, seed: int) -> dict:
    """Arguments that both rivals get."""
    from helpers import environment
    from rival_texts import precision_here

    half = {name: True for name in (precision_here(bench.config),) if name != "no"}
    return half | {
        "per_device_train_batch_size": BATCH, "num_train_epochs": 1, "seed": seed,
        "train_sampling_strategy": "group_by_length", "max_grad_norm": bench.config.max_grad_norm,
        "use_cpu": environment.device() == "cpu", "save_strategy": "no", "logging_strategy": "no",
        "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip


def run(bench: Bench, watch, kind, arguments, **data) -> None:
    """Train by a trainer of transformers' kind, with the course's optimizer and schedule."""
    from transformers import TrainerCallback

    from rival_texts import steppers

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__):
            watch.start()

        def on_step_end(self, *_, **__):
            watch.steps += 1

        def on_train_end(self, *_, **__):
            watch.stop()

    optimizers = steppers(bench.model, len(bench.dataset), bench.config)
    fixed = {"processing_class": bench.tokenizer, "optimizers": optimizers, "callbacks": [Clock()]}
    kind(bench.model, arguments, **data, **fixed).train()


def prepare(name: str, rows: str):
    """What measures one trainer when it is asked; a rival's has not heard what `helpers` says of threads."""
    if name != "ours":
        import torch  # noqa: F401
    bench = Bench(name, int(rows))
    bench.run(seed=99)  # the warm-up
    calls = {"run": bench.run, "describe": bench.describe}
    return lambda call, **names: calls[call](**names)


def available(name: str) -> bool:
    """Whether a trainer can be measured here."""
    return name != "trl" or importlib.util.find_spec("trl") is not None


def measure(size: dict, environment: dict[str, str]) -> dict:
    """All trainers by turns."""
    names = [name for name in NAMES if available(name)]
    workers = {
        name: Worker(Path(__file__), name, str(size["rows"]), environment=environment) for name in names
    }
    for worker in workers.values():
        worker.receive()
    described = {name: worker.ask(call="describe") for name, worker in workers.items()}
    if len({json.dumps(found) for found in described.values()}) > 1:
        raise SystemExit(f"the trainers do not begin alike: {described}")
    runs = {name: [] for name in names}
    for repeat in range(size["repeats"]):
        for name, worker in workers.items():
            runs[name].append(worker.ask(call="run", seed=repeat))
    for worker in workers.values():
        worker.close()
    not_installed = [name for name in NAMES if name not in names]
    return {"same_for_all": described["ours"], "not_installed": not_installed, "speed": speeds(runs)}


def speeds(runs: dict[str, list[dict]]) -> dict:
    """Tokens without padding per second (all, and their median), and the course's ratio to each."""
    rates = {name: [one["real_tokens"] / one["seconds"] for one in repeats] for name, repeats in runs.items()}
    return {
        name: {
            "tokens_per_second": [round(rate, 1) for rate in rates[name]],
            "median": median(rates[name], 1),
            "ours_to_it": round(median(rates["ours"]) / median(rates[name]), 3),
            "tokens_that_are_padding": round(1 - repeats[0]["real_tokens"] / repeats[0]["tokens"], 3),
            "steps": repeats[0]["steps"],
            "change": repeats[0]["change"],
        }
        for name, repeats in runs.items()
    }


def main(arguments: list[str]) -> None:
    """Measure, and write the results, or only print them with `--quick`."""
    from importlib.metadata import version

    from helpers import environment
    from helpers.files import write_atomically

    quick = "--quick" in arguments
    one_thread = {"OMP_NUM_THREADS": "1"} if quick else {}
    size = QUICK_SIZE if quick else FULL_SIZE
    results = {"size": size, "cores": os.cpu_count(), "device": environment.device()}
    results |= measure(size, own_environment() | one_thread) | {"versions": environment.versions()}
    if available("trl"):
        results["versions"]["trl"] = version("trl")
    text = json.dumps(results, indent=2) + "\n"
    if quick:
        print(text)
        return
    write_atomically(RESULTS, text.encode())
    for name, row in results["speed"].items():
        print(f"{name:<8} {row['median']:7.1f} tokens/s, ours {row['ours_to_it']:.2f} times as fast")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in NAMES:
        serve(partial(prepare, *sys.argv[1:]))
    else:
        main(sys.argv[1:])
