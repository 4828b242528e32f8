"""The same fine-tuning of MiniLM by the course's loop and by what people would use instead; see `rivals`.

Every trainer gets the same rows, the same first weights and as many updates, and loads its batches inside the
time that is measured; tokens are made before, evaluations stop the clock. `hugging_face` and `lightning` step
with the course's optimizer, rates and schedule; `textbook` is what a first tutorial shows.
"""

import importlib.util
import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import environment
from helpers.data import splits
from helpers.data.datasets import MAX_TOKENS, TextDataset, encode_labels
from helpers.models.pretrained import Classifier
from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, fit
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import make_optimizer, make_schedule, parameter_groups

TEXTBOOK_RATE = 5e-5  # constant, as the tutorials of transformers write it


@dataclass
class Watch:
    """The seconds of one training, its steps, and its scores by the second; `score` stops the clock."""

    score_of: object = None  # model -> {"macro_f1": number}; None scores nothing
    seconds: float = 0.0
    steps: int = 0
    curve: list[dict] = field(default_factory=list)
    begun: float = 0.0

    def start(self) -> None:
        """The first batch is about to be loaded."""
        self.begun = time.perf_counter()

    def stop(self) -> None:
        """Add what passed since `start`."""
        self.seconds += time.perf_counter() - self.begun

    def score(self, model: nn.Module) -> dict[str, float]:
        """Evaluate, if this training is scored."""
        self.stop()
        found = self.score_of(model) if self.score_of else {"macro_f1": 0.0}
        if self.score_of:
            self.curve.append({"seconds": round(self.seconds, 2), "macro_f1": round(found["macro_f1"], 4)})
        self.start()
        return found


def ours(classifier: Classifier, train: pd.DataFrame, config: TrainingConfig, watch: Watch) -> None:
    """The course: batches of similar lengths, this machine's precision, the raters' votes beside labels."""
    loader = recipes.training_loader(classifier, train, config)
    options = {
        "loss": recipes.loss_of(recipes.RunConfig(task="text", training=config), train),
        "score": watch.score,
        "runtime": Runtime(classifier.model, config.precision),
    }
    watch.start()
    for _ in fit(classifier.model, loader, config, **options):
        watch.steps += 1
    watch.stop()


def textbook(classifier: Classifier, train: pd.DataFrame, config: TrainingConfig, watch: Watch) -> None:
    """The loop of a first tutorial: every text padded to 128 tokens, float32, rows shuffled."""
    model, tokenizer, device = classifier.model, classifier.preprocessor, environment.device()
    options = {"padding": "max_length", "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "pt"}
    encoded = tokenizer(train["text"].tolist(), **options)
    labels = torch.tensor(encode_labels(train, classifier.classes))
    dataset = TensorDataset(encoded["input_ids"], encoded["attention_mask"], labels)
    loader = DataLoader(dataset, batch_size=config.batch_size, shuffle=True)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=TEXTBOOK_RATE)
    watch.start()
    for _ in range(config.epochs):
        for batch in loader:
            input_ids, attention_mask, targets = (tensor.to(device) for tensor in batch)
            loss = model(input_ids=input_ids, attention_mask=attention_mask, labels=targets).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.steps += 1
        watch.score(model)
    watch.stop()


def hugging_face(
    classifier: Classifier, train: pd.DataFrame, config: TrainingConfig, watch: Watch, *, order: str
) -> None:
    """`Trainer` of transformers, padding to the longest text of a batch; `order`: random, group_by_length."""
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__):
            watch.start()

        def on_step_end(self, *_, **__):
            watch.steps += 1

        def on_epoch_end(self, *_, **__):
            watch.score(classifier.model)

        def on_train_end(self, *_, **__):
            watch.stop()

    half = {precision: True for precision in (precision_here(config),) if precision != "no"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=config.batch_size,
            num_train_epochs=config.epochs,
            train_sampling_strategy=order,
            max_grad_norm=config.max_grad_norm,
            use_cpu=environment.device() == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=config.seed,
            **half,
        )
        trainer = Trainer(
            classifier.model,
            arguments,
            data_collator=DataCollatorWithPadding(classifier.preprocessor),
            train_dataset=samples(classifier, train),
            processing_class=classifier.preprocessor,
            optimizers=steppers(classifier.model, len(train), config),
            callbacks=[Clock()],
        )
        trainer.train()


def lightning(classifier: Classifier, train: pd.DataFrame, config: TrainingConfig, watch: Watch) -> None:
    """`lightning.Trainer` around a DataLoader that pads to the longest text of a batch."""
    import lightning as L
    from transformers import DataCollatorWithPadding

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = classifier.model

        def training_step(self, batch, _):
            return self.model(**batch).loss

        def configure_optimizers(self):
            optimizer, scheduler = steppers(self.model, len(train), config)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        def on_train_start(self):
            watch.start()

        def on_train_batch_end(self, *_):
            watch.steps += 1

        def on_train_epoch_end(self):
            watch.score(self.model)

        def on_train_end(self):
            watch.stop()

    collate = DataCollatorWithPadding(classifier.preprocessor)
    dataset = samples(classifier, train)
    loader = DataLoader(dataset, batch_size=config.batch_size, shuffle=True, collate_fn=collate)
    names = {"no": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=config.epochs,
            accelerator="cpu" if environment.device() == "cpu" else "auto",
            devices=1,
            precision=names[precision_here(config)],
            gradient_clip_val=config.max_grad_norm,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        classifier.model.train()
        trainer.fit(Module(), loader)


def samples(classifier: Classifier, train: pd.DataFrame) -> list[dict]:
    """Rows as dictionaries of transformers: `input_ids`, `attention_mask`, `labels`; not yet padded."""
    dataset = TextDataset(train, classifier.preprocessor, classifier.classes)
    rows = [dataset[index] for index in range(len(dataset))]
    return [
        {"input_ids": row["input_ids"], "attention_mask": [1] * len(row["input_ids"]), "labels": row["label"]}
        for row in rows
    ]


def steppers(model: nn.Module, rows: int, config: TrainingConfig) -> tuple:
    """The optimizer and the schedule that `fit` would use for so many rows."""
    decays = {"weight_decay": config.weight_decay, "layer_decay": config.layer_decay}
    optimizer = make_optimizer(config.optimizer, parameter_groups(model, config.learning_rate, **decays))
    num_steps = config.epochs * int(np.ceil(rows / config.batch_size))
    return optimizer, make_schedule(config.schedule, optimizer, num_steps, warmup_share=config.warmup_share)


def precision_here(config: TrainingConfig) -> str:
    """What `Runtime` makes of the configuration's precision."""
    return environment.precision(convolutional=False) if config.precision == "auto" else config.precision


TRAINERS = {
    "ours": ours,
    "textbook": textbook,
    "trainer": partial(hugging_face, order="random"),
    "trainer_grouped": partial(hugging_face, order="group_by_length"),
    "lightning": lightning,
}


def available(name: str) -> bool:
    """Whether a trainer can be measured here; the course does not depend on Lightning."""
    return name != "lightning" or importlib.util.find_spec("lightning") is not None


class Bench:
    """One trainer, ready to be measured again and again from the same first weights.

    Args:
        name: one of `TRAINERS`.
        limit: training rows of the full run, half of it for validation.
    """

    def __init__(self, name: str, limit: int = recipes.QUICK_LIMIT):
        self.train, training = TRAINERS[name], recipes.default_training("text", "full")
        self.config = recipes.RunConfig(task="text", limit=limit, training=training)
        self.rows = recipes.prepare(self.config).splits
        environment.seed_everything(training.seed)
        self.classifier = recipes.build_classifier(self.config, ("negative", "neutral", "positive"))
        model = self.classifier.model
        self.first = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        self.tokens = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, model, _, kwargs) -> None:
        if model.training:  # evaluations read other rows
            self.tokens += kwargs["input_ids"].numel()

    def run(self, *, rows: int = 0, epochs: int | None = None, seed: int = 0, scored: bool = False) -> dict:
        """Train once from the first weights.

        Args:
            rows: random training rows, the same for all trainers; 0 takes all.
            epochs: by default those of the recipe.
            scored: evaluate on the validation rows after each epoch; `ours` five times an epoch.
        """
        model, train = self.classifier.model, splits.subsample(self.rows["train"], rows)
        model.load_state_dict(self.first)
        training = replace(self.config.training, seed=seed, epochs=epochs or self.config.training.epochs)
        if scored and self.train is ours:
            every = max(1, len(train) // training.batch_size // 5)
            training = replace(training, evaluate_every=every, patience=10**6)
        watch = Watch(self._scorer() if scored else None)
        environment.seed_everything(seed)
        self.tokens = 0
        self.train(self.classifier, train, training, watch)
        lengths = TextDataset(train, self.classifier.preprocessor).lengths
        return {
            "seconds": round(watch.seconds, 3),
            "steps": watch.steps,
            "rows": training.epochs * len(train),
            "real_tokens": training.epochs * int(lengths.sum()),
            "tokens": self.tokens,
            "curve": watch.curve,
        }

    def _scorer(self):
        runtime = Runtime(self.classifier.model, self.config.training.precision)
        loader = recipes.evaluation_loader(self.classifier, self.rows["validation"])
        return partial(evaluate, loader=loader, runtime=runtime)

    def describe(self) -> dict:
        """What must be the same for all trainers, and what the arithmetic needs."""
        model = self.classifier.model
        embeddings = sum(p.numel() for name, p in model.named_parameters() if "embeddings" in name)
        return {
            "first_weights": round(float(sum(t.double().abs().sum() for t in self.first.values())), 6),
            "train_rows": len(self.rows["train"]),
            "computing_parameters": sum(p.numel() for p in model.parameters()) - embeddings,
            "precision": precision_here(self.config.training),
        }

    def matrix_peak(self, size: int = 2048, products: int = 8) -> dict:
        """The most floating-point operations per second that products of two matrices reach here."""
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision_here(self.config.training))
        matrix = torch.randn(size, size, dtype=half or torch.float32, device=environment.device())
        best = 0.0
        for _ in range(products):
            start = time.perf_counter()
            (matrix @ matrix)[0, 0].item()  # a GPU has answered when the number is here
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
        return {"flops": best}
