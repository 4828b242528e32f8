# %% [markdown]
# # 06 Image case study
#
# **The question of this chapter: how do you fine-tune an image classifier so that you can trust its score, and how do you make it fast?**
#
# One job from start to end: 2,000 training pictures, a network pretrained on photographs, a score on test rows that were touched once. On the way you break what usually breaks: the machine, the learning rate, the averages. At the
# end you look at what the network gets wrong, and at where it looks.
#
# **After this chapter you can**
#
# * find out why a training is slow or out of memory, and choose a cure by measuring it;
# * fine-tune a pretrained image network with a sensible rate, keep the best weights, and test once with an interval;
# * tell which parts of a recipe earn their place, with seeds and intervals;
# * read a profiler's trace and climb a ladder of speed-ups that you have timed yourself;
# * look at the worst errors, and explain predictions with Grad-CAM that you have written by hand.
#
# **You need:** chapters 02 (loaders), 03 (the training loop) and 04 (fine-tuning). **Time:** about 85 s to run on 2 CPU cores, plan three hours to work through it. The time on a GPU was not measured.
#
# **Data and weights:** animal silhouettes (package `animal-mnist`, MIT licence), EfficientNet-Lite0 (Apache 2.0). Where they can be had, also torchvision's ResNet50 weights (BSD 3-clause code; trained on ImageNet, which its owners offer for research).

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd().parent))  # a clone that was not installed works, too
from helpers import environment

environment.set_up()

# %%
import contextlib
import copy
import inspect
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from PIL import Image
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function
from torchvision.models import ResNet50_Weights, resnet18

from helpers import assets
from helpers.data.caching import CachedDataset
from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.loaders import make_loader
from helpers.data.transforms import evaluation_preset, training_preset
from helpers.models import pretrained
from helpers.models.pretrained import image_classifier
from helpers.teaching import forgetting, plots, troubles
from helpers.teaching.exercises import ch06
from helpers.teaching.forgetting import features, tensors
from helpers.teaching.gradcam import covered, enlarge, peaks
from helpers.teaching.widgets import gradcam_maps
from helpers.training import recipes
from helpers.training.loop import fit, make_accelerator, predict_logits
from helpers.training.metrics import classification_metrics, macro_f1_interval
from helpers.training.performance import quiet_stderr, saved_bytes, time_calls, training_step
from helpers.tuning.freezing import apply_strategy, num_trainable, train_mode
from helpers.tuning.schedules import make_optimizer, parameter_groups

# %% [markdown]
# ## 6.1 The machine: what is it, and is it busy?
#
# Before the first experiment, write down what you run on. A result without versions cannot be repeated, and a time without hardware means nothing.

# %%
device = environment.device()
chosen = ("python", "torch", "torchvision", "timm", "accelerate")
print(", ".join(f"{name} {version}" for name, version in environment.versions().items() if name in chosen))
print(f"device {device}, {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads for one operation")
print(f"precision for convolutions here: {environment.precision(convolutional=True)}")

# %% [markdown]
# On a machine with an NVIDIA GPU, `nvidia-smi` shows driver and use. The next cell runs it where it exists.

# %%
if shutil.which("nvidia-smi"):
    print(subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=False).stdout)
else:
    print("nvidia-smi is not on this machine: it has no NVIDIA driver. An example of its lines follows below.")

# %% [markdown]
# **An example, not measured here.** The numbers are invented to show how to read the lines:
#
# ```
# | NVIDIA-SMI 570.00    Driver Version: 570.00    CUDA Version: 12.8 |
# | GPU  Name        Temp   Pwr:Usage/Cap |  Memory-Usage     | GPU-Util |
# |  0   Some GPU    41C     62W /  300W  |  21500 / 24000MiB |     9%   |
# ```
#
# * *Driver*, *CUDA version*: the newest CUDA that this driver can serve. The CUDA version that your torch was built with (`torch.version.cuda`) must not need a newer driver.
# * *Memory-Usage*: what is reserved. It is nearly full here, so a larger batch would end with "out of memory". PyTorch keeps freed memory for later, so the number does not fall by itself.
# * *GPU-Util*: the share of the last moment in which *some* work ran. Low, together with a low power, means that the GPU waits for something else.
#
# So this invented GPU is full and idle at the same time. The common troubles, and where this chapter reproduces them:
#
# | what you see | usual cause | cure | shown in |
# |---|---|---|---|
# | low GPU-Util, one CPU core at 100% | the loader is slower than the network | workers, cache, larger requests | next part |
# | slow, although the GPU is busy | layout, precision, picture size | measure each | 6.8 |
# | "out of memory" | the activations of a batch do not fit | smaller batch and accumulation, checkpointing | below |
# | `torch.cuda.is_available()` is False | a CPU build of torch, or a driver that is too old | install the matching build | [chapter 00](00_start_here.ipynb) |
# | `torchvision::nms does not exist` | torch and torchvision from different releases | install both together | [chapter 00](00_start_here.ipynb) |
#
# ### What went wrong: the processor waits for the data
#
# A network that waits for its next batch does nothing. That is a **bottleneck** in the loader: the slowest part sets the speed of the whole. We reproduce it with a dataset that waits 20 milliseconds for every picture, as a disk behind a network does (`troubles.SlowDisk`), and a frozen network whose head learns.

# %%
rows = recipes.prepare(recipes.RunConfig(task="images", limit=2000))
train_rows, validation_rows, test_rows = (rows.splits[name] for name in ("train", "validation", "test"))
print({name: len(part) for name, part in rows.splits.items()}, "rows of", ", ".join(rows.classes))

# %%
environment.seed_everything(0)
small = image_classifier(classes=rows.classes, image_size=64)
on_disk = ImageDataset(train_rows.head(96), evaluation_preset(small.preprocessor), rows.classes)
slow_ways = {
    "one by one": (troubles.SlowDisk(on_disk, 0.02), 0),
    "2 workers": (troubles.SlowDisk(on_disk, 0.02), 2),
    "4 workers": (troubles.SlowDisk(on_disk, 0.02), 4),
    "one request per batch": (troubles.SlowDisk(on_disk, 0.02, whole_batches=True), 0),
    "cached": (CachedDataset(troubles.SlowDisk(on_disk, 0.02)), 0),
}

# %% [markdown]
# Five ways to read the same 96 pictures. `waiting_share` runs an epoch and notes how much of its time goes by between asking for a batch and getting it.

# %%
def learn(batch):
    """One training step on a batch of the loader."""
    training_step(small.model, batch["images"].to(device), batch["labels"].to(device))()

# %%
apply_strategy(small.model, "head", 0, 1)
train_mode(small.model.to(device))
warnings.filterwarnings("ignore", "This DataLoader will create")  # workers that only wait need no core of their own
measured = {}
for name, (dataset, workers) in slow_ways.items():
    loader = make_loader(dataset, 16, collate_images, num_workers=workers)
    troubles.waiting_share(loader, lambda batch: None)  # the first epoch starts workers and fills the cache
    measured[name] = troubles.waiting_share(loader, learn)
    print(f"{name:<22} {measured[name][0]:>5.0f} images/s, {measured[name][1]:>4.0%} of the time spent waiting")

# %%
figure, ax = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
waits = np.array([share for _, share in measured.values()])
ax.barh(range(len(waits)), 1 - waits, color=plots.BLUE, label="learning")
ax.barh(range(len(waits)), waits, left=1 - waits, color=plots.ORANGE, hatch="//", label="waiting")
ax.set_yticks(range(len(waits)), [f"{name}, {speed:.0f} images/s" for name, (speed, _) in measured.items()])
ax.invert_yaxis()
ax.set(xlabel="share of the time", xlim=(0, 1))
figure.legend(frameon=False, loc="outside upper center", ncols=2)
plots.show(figure, "Five horizontal bars, each split into learning and waiting: the slow disk read one by one waits most of the time; with workers, one request per batch, or a cache, waiting nearly disappears.")

# %%
slow = measured["one by one"]
assert slow[1] > 0.3, "the disk is not slow enough to show the bottleneck"
assert measured["cached"][1] < slow[1] / 2
assert measured["one request per batch"][1] < slow[1] - 0.05
assert max(speed for speed, _ in measured.values()) > slow[0]

# %% [markdown]
# The network, the pictures and the machine were the same. Three cures, three reasons: workers wait *side by side* and while the network learns; one request per batch waits once instead of 16 times (`__getitems__`, chapter 02); a cache waits only in the first epoch. A cache must not hold augmented pictures, or
# each gets the same crop for ever.
#
# Waiting is what workers cure best. If the loader *computes* (decoding large photographs), workers need cores of their own. **Rule:** measure the waiting share before you touch the network. If it is high, no speed-up of the network will help.
#
# ### What went wrong: out of memory
#
# Training keeps the output of nearly every layer until the backward pass has used it. These are the **activations**; their size grows with the batch, and they, not the weights, fill the memory. How much is it? PyTorch offers every tensor that it keeps to a hook, so we can count:

# %%
print(inspect.getsource(saved_bytes).split('"""')[2])

# %%
weights_mb = sum(p.numel() * 4 for p in small.model.parameters()) / 1e6
small.model.requires_grad_(True).train()
per_batch = {size: saved_bytes(small.model, torch.randn(size, 3, 96, 96, device=device)) / 1e6 for size in (4, 8, 16)}
print(f"weights {weights_mb:.0f} MB; kept for the backward pass:", ", ".join(f"batch of {n} {mb:.0f} MB" for n, mb in per_batch.items()))
assert 1.8 < per_batch[16] / per_batch[8] < 2.2
assert per_batch[16] > 5 * weights_mb

# %% [markdown]
# A line through the origin: twice the batch, twice the memory. Now the real failure. We start a fresh Python process that may take only 640 MB beyond what it holds once the network is loaded, and ask it for the gradient of the same 64 pictures in five ways. **Guess:** which of them fit?

# %%
print(inspect.getsource(troubles.ways).split('"""')[2])

# %%
if sys.platform == "linux":
    tried = troubles.with_little_memory(640)
    for row in tried:
        print(f"{row['way']:<34} {row['seconds']:>5.1f} s  {row['ended'][-90:]}")
else:
    tried = []
    print("This system cannot limit a process's memory in this way; read the stored output of this cell.")

# %%
ended = {row["way"]: row["ended"] for row in tried}
if ended:
    assert "memory" in ended["one batch of 64"]
    assert all(ended[way] == "ok" for way in ("accumulate: 4 batches of 16", "frozen network, cached features"))
    assert ended["checkpointing, one batch of 64"] == "ok"

# %% [markdown]
# The first way dies with the message that every practitioner knows: on a CPU it reads `DefaultCPUAllocator: can't allocate memory`, on a GPU `CUDA out of memory`. The others ask for the gradient of the same mean loss:
#
# * **accumulation**: four small batches, their gradients added up before one step. It costs almost no time. (BatchNorm then standardises over 16 pictures, not over 64, so the results are close and not equal.)
# * **gradient checkpointing**: keep only the inputs of the blocks and compute the rest again in the backward pass. Time for memory.
# * *half precision* (bf16): activations of two bytes instead of four. It halves most of them; whether that is enough depends on the limit, so read the printed line.
# * *cached features*: a frozen network keeps nothing for the backward pass. The cheapest way, if you can live with a frozen network.
#
# [Chapter 08](08_outlook.ipynb) finds the largest batch that fits by itself.
#
# ## 6.2 The task, the rows and the baselines
#
# Ten animals as white silhouettes of 28 by 28 pixels. The recipe has removed exact copies and split the rest so that the classes have equal shares on all sides (chapter 05); the split never changes.

# %% tags=["nbval-check-output"]
print(rows.cleaning)
for name, part in rows.splits.items():
    counts = part["label"].value_counts()
    print(f"{name:<10} {len(part):>5,} rows, {counts.min()} to {counts.max()} per class")
assert not set(train_rows["id"]) & set(test_rows["id"])

# %%
figure, axes = plt.subplots(2, 10, figsize=(10, 2.3), layout="constrained")
for column, label in enumerate(rows.classes):
    pictures = train_rows[train_rows["label"] == label]["image"].head(2)
    plots.image_row(axes[:, column], pictures, [label, ""])
plots.show(figure, "Two silhouettes of each of the ten animals: bear, bird, cat, cow, dog, elephant, giraffe, horse, sheep, zebra. White shapes on black, without inner detail.")

# %% [markdown]
# What is a good score? Three **baselines** answer that before any network is trained: always the most frequent class; logistic regression on the 784 pixels; and logistic regression on the 1,280 features of the *frozen* pretrained network (a linear probe, chapter 04). Each is judged on validation rows.

# %%
def pixels(frame):
    return np.stack(frame["image"].tolist()).reshape(len(frame), -1) / 255  # (N, 784)


labels_of = {name: part["label"].map(rows.classes.index).to_numpy() for name, part in rows.splits.items()}
majority = np.bincount(labels_of["train"]).argmax()
baselines = {"majority": (labels_of["validation"] == majority).mean()}
# %%
linear = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=200))
linear.fit(pixels(train_rows), labels_of["train"])
baselines["pixels, logistic regression"] = linear.score(pixels(validation_rows), labels_of["validation"])

# %%
print(inspect.getsource(forgetting.features).split('"""')[2])

# %% [markdown]
# A hook notes what enters the last layer; the network itself is not changed. Then the same linear model as for the pixels reads these features.

# %%
frozen = image_classifier(classes=rows.classes)
frozen.model.to(device)
pictures = {name: tensors(rows.splits[name], frozen.preprocessor) for name in ("train", "validation")}
frozen_features = {name: features(frozen.model, images) for name, images in pictures.items()}
probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
probe.fit(frozen_features["train"], labels_of["train"])
baselines["frozen features, logistic regression"] = probe.score(frozen_features["validation"], labels_of["validation"])

# %%
for name, accuracy in baselines.items():
    print(f"{name:<37} validation accuracy {accuracy:.3f}")

# %%
assert baselines["majority"] < 0.15
assert 0.4 < baselines["pixels, logistic regression"] < 0.85
assert baselines["frozen features, logistic regression"] > baselines["pixels, logistic regression"] + 0.1

# %% [markdown]
# The frozen network is already strong, although it was trained on colour photographs and these are outlines. Fine-tuning has to beat *this* figure, not the first one. And each figure needs the same rows.
#
# ### What went wrong: a random flip on the validation rows
#
# One preset for both sides looks tidy: `transform = Compose([RandomResizedCrop, RandomHorizontalFlip, ...])` for training *and* validation. Nothing fails. We score the same probe on the same 300 validation rows, with the training preset and two seeds, and twice with the evaluation preset (the first time is the one of the baseline):

# %%
some, wanted = validation_rows.head(300), labels_of["validation"][:300]
random_preset, fixed_preset = training_preset(frozen.preprocessor), evaluation_preset(frozen.preprocessor)
scores = {"random crop and flip": [], "evaluation preset": [probe.score(frozen_features["validation"][:300], wanted)]}
for kind, preset, seed in (("random crop and flip", random_preset, 1), ("random crop and flip", random_preset, 2), ("evaluation preset", fixed_preset, 2)):
    images = tensors(some, frozen.preprocessor, preset, seed=seed)
    scores[kind].append(probe.score(features(frozen.model, images), wanted))
for kind, found in scores.items():
    print(f"{kind:<21} accuracy " + ", ".join(f"{score:.3f}" for score in found))
assert np.ptp(scores["evaluation preset"]) < 0.005
assert max(scores["random crop and flip"]) < scores["evaluation preset"][0]

# %% [markdown]
# The probe and the rows stayed the same. With the random preset the score moves with the seed, and it is lower: cropped animals are harder to name, and nobody crops them in use. So the figure is wrong twice. A difference between two models could be the dice alone, and "the best epoch" would be the luckiest one. **Rule:** two presets, one for training, one without anything random for all evaluation.
#
# ## 6.3 The network: swap the head
#
# The classic of this exercise is ResNet50 (He et al. 2015). Its weights are not on the Python package index, so they are downloaded, and that can fail. `image_classifier("resnet50")` then warns and hands you EfficientNet-Lite0. Code that quietly runs with another network than its title says is a trap, so we catch the
# warning and say it in one sentence.

# %%
with warnings.catch_warnings(record=True) as notices, contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("always")
    first_choice = image_classifier("resnet50", rows.classes, image_size=96)
reason = "its weights could not be had here" if notices else "ten times its work would not fit the quick scale"
name = first_choice.name if environment.scale() == "full" else "efficientnet_lite0"
print(f"This run uses {name}." + ("" if name == "resnet50" else f" ResNet50 was asked for; {reason}."))

# %%
def new_classifier(seed, **options):
    """The network of this run with a fresh head, on this machine's device."""
    environment.seed_everything(seed)
    classifier = image_classifier(name, rows.classes, **options)
    classifier.model.to(device)
    return classifier


classifier = new_classifier(0, image_size=96)
model = classifier.model
print(f"{sum(p.numel() for p in model.parameters()):,} weights; the new head: {list(model.children())[-1]}")

# %% [markdown]
# Only the last layer is new: as many outputs as there are animals, random weights. The function that swapped it is short:

# %%
print(inspect.getsource(pretrained._replace_head))

# %% [markdown]
# How much larger would ResNet50 be? Its architecture needs no download, so its size and its time per step can be measured everywhere. The size is printed here, the time in section 6.8.

# %% tags=["nbval-check-output"]
bare = {kind: image_classifier(kind, rows.classes, pretrained=False).model for kind in ("efficientnet_lite0", "resnet50")}
for kind, network in bare.items():
    print(f"{kind:<18} {sum(p.numel() for p in network.parameters()):>10,} weights")

# %% [markdown]
# ### What went wrong: `pretrained=True`
#
# Articles write `resnet50(pretrained=True)`. What does today's torchvision do with it? We ask with `pretrained=False` and a small network, so that nothing is downloaded, and print every message.

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        resnet18(pretrained=False)
    except TypeError as error:  # the day it is removed
        said.append(warnings.WarningMessage(error, TypeError, "", 0))
for message in said:
    print(f"{message.category.__name__}: {str(message.message)[:130]}")
assert said and "pretrained" in str(said[0].message)

# %% [markdown]
# It still runs, with a warning (since version `0.13`) that many notebooks switch off. The real trouble is silent: `pretrained=True` cannot say *which* weights. torchvision has two for ResNet50, and the word means the older ones:

# %% tags=["nbval-check-output"]
for weights in ResNet50_Weights:
    accuracy = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    print(f"{weights.name}: {accuracy} % right on ImageNet, {'DEFAULT' if weights == ResNet50_Weights.DEFAULT else 'what pretrained=True means'}")

# %% [markdown]
# The same architecture, other weights, several points apart, and each brings its own preprocessing (`weights.transforms()`). **Rule:** name the weights, `resnet50(weights=ResNet50_Weights.IMAGENET1K_V2)`, and take the preprocessing from the same object.
#
# ## 6.4 The learning rate: what 1e-3 destroys
#
# The second half of that article's line is `optimizer = Adam(model.parameters(), lr=1e-3)`: one rate for a head that knows nothing and for layers that know much. 1e-3 is Adam's default, made for training from scratch. What does it do to a pretrained network?
#
# Look at what training is *not* asked for. We fine-tune on five of the animals only, for 50 small steps, and then ask a probe how well the network's features tell the *other* five apart. What pretraining knew about those can only be lost.

# %%
data = forgetting.halves(rows.splits, rows.classes, small.preprocessor, size=200)
print("trained on:", ", ".join(rows.classes[:5]), "- probed with:", ", ".join(rows.classes[5:]))
print(inspect.getsource(forgetting.take_steps).split('"""')[2])

# %%
config = recipes.default_training("images", "full", epochs=2)
attempts = {"Adam 1e-4 everywhere": (1e-4, 1.0), "Adam 1e-3 everywhere": (1e-3, 1.0)}
knowledge = {"before fine-tuning": forgetting.probe(new_classifier(1, image_size=64).model, data)}
for label, (rate, decay) in attempts.items():
    tuned = new_classifier(1, image_size=64).model
    forgetting.take_steps(tuned, *data.train, learning_rate=rate, layer_decay=decay)
    knowledge[label] = forgetting.probe(tuned, data)
for label, accuracy in knowledge.items():
    print(f"{label:<21} probe of the five other animals: {accuracy:.3f}")

# %% [markdown]
# Read the two rates again: the *small* one lost more. Is that a slip? Two things move in training mode: the weights, with the rate, and the running statistics of **BatchNorm**, with every batch, whatever the rate (chapter 04). To tell them apart we need controls: rate 0, where only the statistics move, and each rate with the statistics frozen.
# One seed is an anecdote, so `benchmarks/images.py` measured all of them with three.

# %%
def interval_of(values):
    """Mean and half width of the 95% t-interval over seeds."""
    return np.mean(values), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


measured_results = json.loads((assets.ROOT / "benchmarks" / "results" / "images.json").read_text(encoding="utf-8"))
forgot = pd.DataFrame(measured_results["forgetting"])
by_rate = {rate: interval_of(values) for rate, values in forgot.groupby("rate", sort=False)["probe_accuracy"]}
for rate, (mean, half) in by_rate.items():
    print(f"{rate:<24} probe accuracy {mean:.3f} ± {half:.3f}")

# %%
figure, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
for place, (rate, (mean, half)) in enumerate(by_rate.items()):
    frozen_statistics = "frozen" in rate
    ax.errorbar(mean, place, xerr=half, fmt="s" if frozen_statistics else "o", color=plots.ORANGE if frozen_statistics else plots.BLUE, capsize=4)
ax.axvline(by_rate["before"][0], color=plots.VERMILION, linestyle="--", label="before fine-tuning")
ax.set_yticks(range(len(by_rate)), list(by_rate))
ax.invert_yaxis()
ax.set(xlabel="accuracy of a probe for the five animals that were not trained on")
ax.legend(frameon=False, loc="lower left")
plots.show(figure, "Probe accuracy with 95% intervals. Circles: statistics move; at rate 0 and 1e-4 the accuracy lies far below the dashed line of the pretrained network, at 1e-3 nearer to it, at 1e-2 lowest. Squares: the same rates with frozen statistics.")

# %%
mean_of = {rate: mean for rate, (mean, _) in by_rate.items()}
for rate in ("1e-4", "1e-3", "1e-2"):
    moving, kept = mean_of["before"] - mean_of[rate], mean_of["before"] - mean_of[f"{rate}, frozen statistics"]
    print(f"{rate}: points of 100 lost with moving statistics {100 * moving:.1f}, with frozen ones {100 * kept:.1f}")
assert mean_of["1e-2"] < mean_of["before"] - 0.1
assert knowledge["before fine-tuning"] > 0.6

# %% [markdown]
# Take the lines in this order.
#
# * *Rate 0.* No weight changed, and the probe loses about as much as at 1e-4. So at the small rate it was not the rate: 50 batches of five animals have replaced the statistics that the layers were trained with.
# * *Frozen statistics* (squares). Now the rate alone speaks. At 1e-4 the knowledge stays; at 1e-3 a large part is gone; at 1e-2 most of it. **This is what 1e-3 destroys.**
# * *Moving statistics* (circles). At 1e-3 the loss looks small again. Standardising anew repairs much of what large steps have shifted, and the lower layers have learnt something about silhouettes that helps with other animals, too. Which of the two is stronger was not measured.
#
# And on the animals that training *does* ask for, Adam 1e-3 looks nearly harmless: the ablation in section 6.7 trains with it, a few points below the recipe. That is why the mistake survives. The score that everybody looks at hardly shows it, and BatchNorm hides it. A network without BatchNorm, or with frozen statistics, shows it at once.
#
# **Rule:** a fresh head may move fast; pretrained layers need a rate that was *chosen* (range test or a small sweep, chapter 04), with warm-up and decay, and lower rates below. The rates and BatchNorm's mode belong together: change one, tune the other again.
#
# ## 6.5 Train, validate, keep the best
#
# Everything is in place: rows, network, rate. The loop is that of chapter 03, the numbers are the recipe's. `fit` yields one `Step` per optimizer step; at the end of each epoch the step carries the validation metrics.

# %%
classifier = new_classifier(0, image_size=96)
accelerator = make_accelerator(classifier.model, config.precision)
train_loader = recipes.training_loader(classifier, train_rows, config)
validation_loader = recipes.evaluation_loader(classifier, validation_rows)
print(f"{config.epochs} epochs of {len(train_loader)} steps, schedule {config.schedule}, warm-up {config.warmup_share:.0%}")

# %%
history, start = [], time.perf_counter()
for step in fit(classifier.model, train_loader, validation_loader, config, accelerator=accelerator):
    history.append({"step": step.step, "train_loss": step.train_loss, "validation_loss": step.validation and step.validation.loss})
    if step.validation:
        print(f"epoch {step.epoch}: validation accuracy {step.validation.accuracy:.3f}, macro-F1 {step.validation.macro_f1:.3f}, "
              f"loss {step.validation.loss:.3f}{'  <- best so far, kept' if step.is_best else ''}")  # fmt: skip
seconds = time.perf_counter() - start
print(f"{len(history) * config.batch_size / seconds:.0f} images/s, validation included")

# %%
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
plots.learning_curves(ax, pd.DataFrame(history).astype(float))
plots.show(figure, "Training loss per step falls steeply from above 2 within the first thirty steps and then slowly; the validation loss at the end of each epoch lies near or below the smoothed training loss.")

# %%
validation_logits = predict_logits(classifier.model, validation_loader, accelerator)
validation_metrics = classification_metrics(validation_logits, labels_of["validation"])
gain = validation_metrics.accuracy - baselines["frozen features, logistic regression"]
print(f"fine-tuned {validation_metrics.accuracy:.3f}, frozen features {baselines['frozen features, logistic regression']:.3f}: {gain:+.3f}")
assert validation_metrics.accuracy > 0.93
assert gain > -0.01

# %% [markdown]
# The validation loss can lie *below* the training loss: training pictures are cropped and flipped, and the loss is measured before each step, by a network that is still learning. This is no over-fitting.
#
# ### What went wrong: a mean of batch means
#
# Many loops compute the accuracy of each batch and average these. The last batch of an epoch is often smaller, and then its rows count more. We take the predictions that we have, in 200 random orders, in batches of 128: the rows, the network and the answers stay the same.

# %%
right = validation_logits.argmax(1) == labels_of["validation"]
right = right[:897]  # seven batches of 128 and a last one with a single row
rng = np.random.default_rng(0)
batch_means = []
for _ in range(200):
    shuffled = right[rng.permutation(len(right))]
    batch_means.append(np.mean([shuffled[i : i + 128].mean() for i in range(0, len(shuffled), 128)]))
print(f"mean over rows {right.mean():.4f}; means of batch means from {min(batch_means):.4f} to {max(batch_means):.4f}")
assert max(batch_means) - min(batch_means) > 0.05

# %% [markdown]
# One row in eight batches: when it is wrong, an eighth of the score is gone. The figure depends on the order of the rows. **Rule:** add up right answers and rows, and divide once. Exercise 2 is about this. The same holds for the loss of accumulated batches (exercise 1).
#
# ### What went wrong: the last checkpoint
#
# `torch.save(model.state_dict())` after the loop saves the *last* weights. `fit` restores the best ones by validation macro-F1. Does it matter? A head on the frozen features trains in a second, so we can ask many times: 12 seeds, 20 epochs each, on 200 pictures, with a rate that is too high, as happens. The validation rows are cut in two: one half chooses, the other half judges.

# %%
scaler = probe[0]  # the probe's StandardScaler, fitted on the training rows
inputs = {part: torch.tensor(scaler.transform(values), dtype=torch.float32) for part, values in frozen_features.items()}
targets = {part: torch.tensor(labels_of[part]) for part in inputs}


# %%
def head_run(seed, epochs=20, size=200, rate=0.03):
    """Accuracy per epoch (epochs, 2) of a linear head: on the half that chooses and on the half that judges."""
    environment.seed_everything(seed)
    head = nn.Linear(inputs["train"].shape[1], len(rows.classes))
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    chosen, curve = torch.randperm(len(inputs["train"]))[:size], []
    for _ in range(epochs):
        for part in chosen[torch.randperm(size)].split(16):
            optimizer.zero_grad()
            F.cross_entropy(head(inputs["train"][part]), targets["train"][part]).backward()
            optimizer.step()
        with torch.no_grad():
            found = (head(inputs["validation"]).argmax(1) == targets["validation"]).float()
        curve.append([found[0::2].mean().item(), found[1::2].mean().item()])
    return np.array(curve)

# %%
curves = np.stack([head_run(seed) for seed in range(12)])  # (12, epochs, 2)
best_epochs = curves[:, :, 0].argmax(1)
kept_best = curves[np.arange(12), best_epochs, 1]
kept_last = curves[:, -1, 1]
difference, half = interval_of(kept_best - kept_last)
print(f"judged on the other half: best {kept_best.mean():.3f}, last {kept_last.mean():.3f}")
print(f"difference {difference:+.4f}, 95% interval {difference - half:+.4f} to {difference + half:+.4f}")

# %%
figure, ax = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
for seed, color, marker in ((0, plots.BLUE, "o"), (1, plots.ORANGE, "s"), (2, plots.GREEN, "^")):
    ax.plot(range(1, 21), curves[seed, :, 0], color=color, alpha=0.8, label=f"seed {seed}")
    ax.plot(best_epochs[seed] + 1, curves[seed, best_epochs[seed], 0], color=color, marker=marker, markersize=10, linestyle="")
ax.set(xlabel="epoch", ylabel="accuracy, choosing half", xticks=[1, 5, 10, 15, 20])
ax.legend(frameon=False, loc="lower right")
plots.show(figure, "Validation accuracy per epoch of three runs: the curves rise within a few epochs and then go up and down by about a point; a marker shows the best epoch of each, which is not the last.")

# %% [markdown]
# A noisy curve has a best epoch that is not the last. The printed interval says what keeping it was worth *on other rows*, here, on average. If it contains zero, these seeds do not show a gain, and that is common for a schedule that ends at zero: the last steps of our recipe are tiny.
# Keeping the best weights is still the rule, for two reasons: it costs nothing, and it protects you from the run that falls apart at the end. It also means that the validation score is a little too good, because it has chosen. The score that counts comes from other rows.
#
# ## 6.6 Test once
#
# All choices are made: network, rate, epochs, checkpoint. Now, once, the test rows. A score from 972 rows is itself uncertain, so it comes with a **bootstrap interval**: draw the test rows again with replacement, many times, and see how far the figure moves (chapter 07 explains it).

# %%
test_loader = recipes.evaluation_loader(classifier, test_rows)
test_logits = predict_logits(classifier.model, test_loader, accelerator)
test_metrics = classification_metrics(test_logits, labels_of["test"])
predicted = test_logits.argmax(1)
interval = macro_f1_interval(labels_of["test"], predicted, len(rows.classes))
print(f"test, {test_metrics.n} rows, touched once: accuracy {test_metrics.accuracy:.3f}, macro-F1 {test_metrics.macro_f1:.3f} (95% interval {interval[0]:.3f} to {interval[1]:.3f})")

# %%
ladder = {"majority": baselines["majority"], "pixels,\nlogistic regression": baselines["pixels, logistic regression"],
          "frozen features,\nlogistic regression": baselines["frozen features, logistic regression"], "fine-tuned": validation_metrics.accuracy,
          "fine-tuned, test": test_metrics.accuracy}  # fmt: skip
wilson = [tuple(stats.binomtest(round(value * n), n).proportion_ci(method="wilson")) for value, n in zip(ladder.values(), [len(validation_rows)] * 4 + [len(test_rows)])]

# %%
figure, ax = plt.subplots(figsize=(7.5, 2.9), layout="constrained")
plots.scores(ax, list(ladder), list(ladder.values()), wilson, label="accuracy (bars 1 to 4: validation rows, bar 5: test rows)")
plots.show(figure, "Accuracy of majority, pixels, frozen features and fine-tuned network on validation rows, and of the fine-tuned one on test rows, with 95% intervals; each is higher than the one before, the last two are alike.")

# %%
assert test_metrics.accuracy > 0.92
assert interval[0] < test_metrics.macro_f1 < interval[1]
assert abs(test_metrics.accuracy - validation_metrics.accuracy) < 0.03

# %% [markdown]
# The intervals in the picture (Wilson 1927) treat each row as one trial. They say how sure we are about *these weights* on new rows of this kind. They do not say how much another seed would change; that is section 6.7.
#
# ### What went wrong: choosing on the test rows
#
# "We trained 100 variants and report the best test score." Nobody cheated, and yet the figure is too good: the luckiest of many draws wins. To see how much, we need rows that play the test set and further rows that tell the truth. Our real test rows stay out of it: 100 validation rows play the "test", the other validation rows are the truth. The 100 variants are linear heads on other random halves of 200 training pictures, with other strengths of regularisation.

# %%
def variant(seed):
    """A linear head with its own rows and strength: is each validation row right? (N,) bool"""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(200, size=100, replace=False)
    strength = 10 ** rng.uniform(2, 4)
    known, wanted = inputs["train"][chosen], F.one_hot(targets["train"][chosen], 10).float()
    weights = known.T @ torch.linalg.solve(known @ known.T + strength * torch.eye(100), wanted)  # ridge regression
    return ((inputs["validation"] @ weights).argmax(1) == targets["validation"]).numpy()

# %%
answers = np.stack([variant(seed) for seed in range(100)])  # (variants, rows)
claimed, truth = answers[:, :100].mean(1), answers[:, 100:].mean(1)
winner = claimed.argmax()
print(f"the best of 100 on the 'test' rows: {claimed[winner]:.3f}; the same variant on further rows: {truth[winner]:.3f}")

# %% [markdown]
# One draw of 100 rows is one story. We draw the 100 "test" rows again 200 times and note each time how much the winner's score promised too much.

# %%
optimism, plain = [], []
for seed in range(200):
    order = np.random.default_rng(seed).permutation(answers.shape[1])
    on_test, on_rest = answers[:, order[:100]].mean(1), answers[:, order[100:]].mean(1)
    optimism.append(on_test.max() - on_rest[on_test.argmax()])
    plain.append(on_test[0] - on_rest[0])
print(f"too good by, on average: winner of 100 {np.mean(optimism):+.3f}, one variant chosen beforehand {np.mean(plain):+.3f}")
assert np.mean(optimism) > 0.01
assert abs(np.mean(plain)) < 0.01

# %%
figure, ax = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
bins = np.linspace(-0.12, 0.12, 33)
ax.hist(plain, bins, color=plots.SKY, label="one variant, chosen beforehand")
ax.hist(optimism, bins, histtype="step", color=plots.VERMILION, linewidth=2, label="winner on the test rows")
ax.axvline(0, color="black", linewidth=1)
ax.set(xlabel="score on the 100 test rows minus score on further rows", ylabel="draws of 200")
ax.legend(frameon=False)
plots.show(figure, "Two histograms of the difference between test score and score on further rows: that of one fixed variant is centred at zero, that of the winner on the test rows lies to the right of zero.")

# %% [markdown]
# A variant that was fixed beforehand is right on average: sometimes lucky, sometimes not. The winner is lucky by selection. **Rule:** choose on validation rows, and open the test rows once, for the one model that you have chosen. If you look twice, it has become a second validation set.
#
# ## 6.7 Which part of the recipe earns its place?
#
# A recipe is a list of habits. To see which of them matter, change **one** at a time and leave the rest: an **ablation**. Every variant is trained with three seeds on 500 pictures, the epoch is chosen on some validation rows, and the score comes from 1,000 others. The runs take too long for a notebook; `benchmarks/images.py` made them. It tuned nothing per variant: each takes the rate of the recipe. **Guess:** which change costs most? Which one helps?

# %%
runs = pd.DataFrame(measured_results["runs"])
runs["accuracy"] = [reported["accuracy"] for reported in runs["reported"]]
complete = runs.groupby("variant", sort=False).filter(lambda part: len(part) == 3)
ablation = {name: interval_of(values) for name, values in complete.groupby("variant", sort=False)["accuracy"]}
recipe_low, recipe_high = (ablation["the recipe"][0] + sign * ablation["the recipe"][1] for sign in (-1, 1))
for variant_name, (mean, half) in ablation.items():
    apart = mean + half < recipe_low or mean - half > recipe_high
    print(f"{variant_name:<31} {mean:.3f} ± {half:.3f}{'  apart from the recipe' if apart else ''}")

# %%
figure, ax = plt.subplots(figsize=(8, 0.28 * len(ablation) + 1.2), layout="constrained")
ax.axvspan(recipe_low, recipe_high, color=plots.SKY, alpha=0.3, label="interval of the recipe")
for place, (variant_name, (mean, half)) in enumerate(ablation.items()):
    scores_of = complete.loc[complete["variant"] == variant_name, "accuracy"]
    ax.plot(scores_of, [place] * 3, "|", color=plots.GREY, markersize=9)
    ax.errorbar(mean, place, xerr=half, fmt="o", color=plots.BLUE, capsize=3)
ax.set_yticks(range(len(ablation)), list(ablation))
ax.invert_yaxis()
ax.set(xlabel="accuracy on 1,000 validation rows that chose nothing (mean of 3 seeds, 95% interval)")
ax.legend(frameon=False, loc="lower left")
plots.show(figure, "Accuracy of each variant with three grey ticks for the seeds and a 95% interval; the band of the unchanged recipe is shaded. Without pretrained weights the accuracy is far below the band; most other variants overlap with it.")

# %%
assert ablation["no pretrained weights"][0] < ablation["the recipe"][0] - 0.1
assert len(ablation) >= 4

# %% [markdown]
# Read the band first. A variant whose interval overlaps with it cannot be told from the recipe by three seeds, whatever the order of the means. The lines marked "apart" separate. Pretraining does by far the most: without it the same network is far below, with twice the epochs. Small pictures cost accuracy as well.
#
# Most of the habits do not separate. That does not prove that they are worthless: a difference of one point needs many more than three seeds to be seen, and an interval from three seeds is itself a rough thing. With other pictures (photographs, where colour means something) augmentation can matter much more. Frozen BatchNorm, which section 6.4 might have recommended, does not win here: for the
# task that you train, statistics that fit your pictures help.
#
# What should you take from it? Spend your time on the parts that separate: the pretrained weights, the size of the pictures, the number of rows. Take the cheap standard for the rest, and do not report the luckiest variant as a discovery.
#
# ## 6.8 The performance ladder
#
# Now speed. One rule before any rung: measure **on your machine**, with your network. What is a gain on a GPU can be a loss on a CPU, as you will see. All timings below use the same loop: a few training steps on the same batch, the first one left out, and the *median* of the rest, because a single slow step says nothing.

# %%
print(inspect.getsource(time_calls).split('"""')[2])

# %%
BATCH = 16


def timed(network, size=96, layout=torch.channels_last, bf16=False, repeats=3):
    """Median time of a training step of 16 random pictures."""
    images = torch.randn(BATCH, 3, size, size, device=device).contiguous(memory_format=layout)
    network.to(device, memory_format=layout)
    train_mode(network)
    step = training_step(network, images, torch.arange(BATCH, device=device) % 10, bf16=bf16)
    return time_calls(step, items=BATCH, repeats=repeats, warmup=1)


speed = {}

# %% [markdown]
# ### Layout, precision, compilation
#
# **channels_last** is a memory layout: the three colours of one pixel lie side by side, not in three separate planes. Convolutions can then read what they need in one piece. The numbers stay the same, only their order in memory changes. And bf16 has half of the bytes. **Guess** for a CPU: which of the two pays?

# %%
network = new_classifier(0, image_size=96).model
speed["planes (NCHW)"] = timed(network, layout=torch.contiguous_format)
speed["channels_last"] = timed(network)
speed["channels_last, bf16"] = timed(network, bf16=True)
for rung, timing in speed.items():
    print(f"{rung:<22} {timing.items_per_second:>5.0f} images/s")

# %% [markdown]
# Read it with the device in mind. bf16 is made for chips with fast bf16 matrix products. On a CPU they do not help the thin depthwise convolutions of this network, and converting between the formats costs time; on the machine where these outputs were made bf16 is the slower one. On a GPU it is usually a gain. `environment.precision` knows this, and the loop follows it.
#
# **`torch.compile`** translates the network into fused code, which takes a C++ compiler on a CPU and a minute or more before the first step. It must earn that time back. The benchmark has timed it, on one core:

# %%
timings = {row["timing"]: row for row in measured_results["ladder"]}
print(f"a C++ compiler is {'present' if shutil.which('c++') or shutil.which('g++') or shutil.which('cl') else 'absent: torch.compile could not work here'}")
for rung, row in timings.items():
    kept_mb = "" if row["saved_megabytes"] is None else f", keeps {row['saved_megabytes']:.0f} MB"
    print(f"{rung:<22} {32 / row['seconds_per_step']:>9.0f} images/s{kept_mb}")

# %%
if "compiled" in timings:
    saved = timings["channels_last"]["seconds_per_step"] - timings["compiled"]["seconds_per_step"]
    ready = timings["compiled"]["ready_seconds"]
    verdict = f"pays after {ready / saved:,.0f} steps" if saved > 0 else f"never pays: each step is {-saved:.3f} s slower"
    print(f"compiling took {ready:.0f} s of processor time; on that core it {verdict}")

# %% [markdown]
# Ask two questions about every speed-up that needs a start: how long is the start, and after how many steps is it earned back? A run of a hundred steps needs no compiler. On a GPU with a large network the answer is often another one; measure it there.
#
# ### Cached features, frozen layers, picture size
#
# The largest gains come from work that is *not done*. Freeze the network, and the backward pass stops at the head. Do not augment, and the features can be computed once for all epochs. Make the pictures smaller, and every layer has less to do.

# %%
head_only = copy.deepcopy(network)
apply_strategy(head_only, "head", 0, 1)
speed["frozen, new head"] = timed(head_only)
head = nn.Linear(frozen_features["train"].shape[1], 10).to(device)
batch_features = torch.tensor(frozen_features["train"][:BATCH], device=device)
head_step = training_step(head, batch_features, torch.arange(BATCH, device=device) % 10)
speed["cached features"] = time_calls(head_step, items=BATCH, repeats=20)
print(f"trainable: {num_trainable(network):,} weights, or the head's {num_trainable(head_only):,}")

# %%
by_size = {size: timed(network, size=size) for size in (64, 96, 128, 160)}
speed |= {f"{size} pixels": timing for size, timing in by_size.items() if size != 96}
for rung, timing in speed.items():
    print(f"{rung:<22} {timing.items_per_second:>9,.0f} images/s")

# %%
figure, left = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
names = [rung for rung in speed if rung != "cached features"]
left.barh(range(len(names)), [speed[rung].items_per_second for rung in names], color=[plots.BLUE if rung == "channels_last" else plots.SKY for rung in names])
left.set_yticks(range(len(names)), names)
left.invert_yaxis()
left.set(xlabel="images/s, training, this machine")
plots.show(figure, "Images per second of each rung; planes and bf16 are slower than channels_last, the frozen network and 64 pixels are faster, larger pictures slower.")

# %% [markdown]
# Fast is not enough: small pictures also show less. The benchmark has trained each size with three seeds. **Guess:** what does **progressive resizing** give, which begins with small pictures and ends with the full size?

# %%
figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
sizes_measured = [rung for rung in ablation if "pixels" in rung or rung == "the recipe"]
for rung in sizes_measured:
    mean, half = ablation[rung]
    cost = complete.loc[complete["variant"] == rung, "seconds"].mean()
    ax.errorbar(cost, mean, yerr=half, fmt="s" if "progressive" in rung else "o", capsize=3, color=plots.ORANGE if "progressive" in rung else plots.BLUE)
    label = "96 pixels" if rung == "the recipe" else rung.split(":")[0]
    ax.annotate(label, (cost, mean), xytext=(7, 5), textcoords="offset points", fontsize=9)
ax.set(xlabel="training time (seconds of one core)", ylabel="validation accuracy")
plots.show(figure, "Accuracy with 95% intervals against training time: 64 pixels is the cheapest and lowest, 96 pixels higher, progressive resizing between them in time; larger pictures, where measured, cost more time.")

# %%
assert speed["frozen, new head"].seconds < speed["channels_last"].seconds
assert speed["cached features"].seconds < speed["channels_last"].seconds / 10
assert by_size[64].seconds < by_size[160].seconds

# %% [markdown]
# Cached features are left out of the picture, because their bar would be many times as long as all others: read the printed line. In progressive resizing the early epochs, in which the network learns what is coarse, are cheap. Whether it pays is in the last picture: compare its interval with those of the fixed sizes around it.
#
# ResNet50 is another rung, in the other direction. Its time needs no weights:

# %%
large = timed(bare["resnet50"], repeats=1)
print(f"ResNet50, 96 pixels: {large.items_per_second:.1f} images/s; EfficientNet-Lite0: {speed['channels_last'].items_per_second:.0f}")

# %% [markdown]
# ### Accumulation and checkpointing: time for memory
#
# Section 6.1 used both against "out of memory". Here is their price: bytes kept for the backward pass, and time, for the same 16 pictures.

# %%
checkpointed = copy.deepcopy(network)
if hasattr(checkpointed, "set_grad_checkpointing"):  # networks of timm
    checkpointed.set_grad_checkpointing(True)
sixteen = torch.randn(BATCH, 3, 96, 96, device=device).contiguous(memory_format=torch.channels_last)
cost = {"as it is": (saved_bytes(network.train(), sixteen), speed["channels_last"].seconds),
        "checkpointing": (saved_bytes(checkpointed.train(), sixteen), timed(checkpointed).seconds)}  # fmt: skip
for way, (kept_bytes, seconds) in cost.items():
    print(f"{way:<14} keeps {kept_bytes / 1e6:>5.0f} MB, {seconds * 1000:.0f} ms a step")
print(f"memory {cost['checkpointing'][0] / cost['as it is'][0]:.0%}, time {cost['checkpointing'][1] / cost['as it is'][1]:.0%}")

# %% [markdown]
# The forward pass of every block runs twice, which is about a third of the work of a step; in return most of the activations are gone. Accumulation is the other trade: two batches of 8 in place of one of 16 keep half of the memory at about the same time per picture. Is the gradient the same? In evaluation mode, where BatchNorm does not look at the neighbours, it is:

# %%
def gradient(model, parts):
    """The gradient of the mean loss over all rows of `parts`, as one long vector."""
    model.zero_grad()
    count = sum(len(part) for part in parts)
    for part in parts:
        labels = torch.zeros(len(part), dtype=torch.long, device=device)
        (F.cross_entropy(model(part), labels, reduction="sum") / count).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


network.eval()
whole, parts = gradient(network, [sixteen]), gradient(network, sixteen.split(8))
print(f"largest difference {(whole - parts).abs().max():.1e}, largest gradient {whole.abs().max():.1e}")
assert (whole - parts).abs().max() < 1e-3 * whole.abs().max()

# %% [markdown]
# In training mode each small batch is standardised by its own mean and variance, so accumulation gives another gradient than one large batch. For networks with BatchNorm that is a change of the method, not only of the memory.
#
# ### Several processes
#
# **Distributed data parallel** (DDP): several processes hold the same weights, each computes the gradient of its share of every batch, and the gradients are summed before each step. We start two real processes with `torchrun` on a small folder of pictures, through the command line of this course. `OMP_NUM_THREADS=1` gives each process one thread: two processes with two threads each would stall one another on two cores.

# %%
folder = Path(tempfile.mkdtemp())
for row in train_rows.groupby("label").head(15).itertuples():
    (folder / "data" / row.label).mkdir(parents=True, exist_ok=True)
    Image.fromarray(row.image).save(folder / "data" / row.label / f"{row.id.split(':')[1]}.png")
command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "helpers", "train", "images",
           "--data", str(folder / "data"), "--epochs", "1", "--output", str(folder / "run")]  # fmt: skip
# %%
surroundings = os.environ | {"OMP_NUM_THREADS": "1", "COURSE_SCALE": "quick", "CUDA_VISIBLE_DEVICES": ""}
start = time.perf_counter()
done = subprocess.run(command, cwd=assets.ROOT, env=surroundings, capture_output=True, text=True)
assert done.returncode == 0, done.stderr[-800:]
print(f"two processes, from start to report: {time.perf_counter() - start:.0f} s")

# %% [markdown]
# And the same training in this one process, which may use all threads:

# %%
run_config = recipes.RunConfig(task="images", data=str(folder / "data"), model="efficientnet_lite0", training=replace(config, epochs=1))
few_rows = recipes.prepare(run_config)
environment.seed_everything(config.seed)
alone = recipes.build_classifier(run_config, few_rows.classes)
loaders = (recipes.training_loader(alone, few_rows.splits["train"], run_config.training), recipes.evaluation_loader(alone, few_rows.splits["validation"]))
start = time.perf_counter()
alone_losses = [step.train_loss for step in fit(alone.model, *loaders, run_config.training)]
print(f"one process: {len(alone_losses)} steps in {time.perf_counter() - start:.1f} s")

# %%
together = pd.read_csv(folder / "run" / "history.csv")
print(f"two processes: {len(together)} steps in {together['seconds'].iloc[-1]:.1f} s")
for step_number, (one, two) in enumerate(zip(alone_losses, together["train_loss"]), 1):
    print(f"step {step_number}: loss with one process {one:.3f}, with two {two:.3f}")
assert len(together) == len(alone_losses)
shutil.rmtree(folder)

# %% [markdown]
# The number of optimizer steps is the same, because the batch is *split*, not doubled. The losses are close, not equal: BatchNorm standardises each process's half by itself. Whether two processes are faster than one with two threads is what the two times say; on two cores there is little to gain, because one process already uses both. DDP pays
# with several GPUs. With GPUs the usual start is `accelerate launch --num_processes 2 -m helpers train images ...`, the same code; on a CPU, accelerate's `--cpu` flag was seen to start a single process without a word, so there use `torchrun` and count the processes.
#
# ## 6.9 Look inside a step: the profiler
#
# When the rungs are known, the rest is found by looking. A **profiler** notes every operation with its time. We run three steps under `torch.profiler` and give names to the four parts of a step.

# %%
profiled = new_classifier(0, image_size=96).model.train()
optimizer = make_optimizer("adamw", parameter_groups(profiled, 1e-4))
batches = iter(recipes.training_loader(classifier, train_rows.head(96), replace(config, batch_size=BATCH)))


# %%
def one_step():
    with record_function("1 data"):
        batch = next(batches)
    with record_function("2 forward"):
        loss = F.cross_entropy(profiled(batch["images"].to(device)), batch["labels"].to(device))
    with record_function("3 backward"):
        loss.backward()
    with record_function("4 optimizer"):
        optimizer.step()
        optimizer.zero_grad()

# %%
one_step()  # a warm-up outside the profile
with quiet_stderr(), profile(activities=[ProfilerActivity.CPU], acc_events=True) as trace:
    for _ in range(3):
        one_step()
events = trace.key_averages()
operators = sorted((event for event in events if event.key.startswith("aten::")), key=lambda event: -event.self_cpu_time_total)
for event in operators[:6]:
    print(f"{event.key:<36} {event.self_cpu_time_total / 3000:>7.1f} ms a step, {event.count // 3:>4} calls")

# %%
phases = {event.key: event.cpu_time_total / 3000 for event in events if event.key[:2] in ("1 ", "2 ", "3 ", "4 ")}
shares = {phase: value / sum(phases.values()) for phase, value in sorted(phases.items())}
figure, ax = plt.subplots(figsize=(8, 1.7), layout="constrained")
left = 0.0
for (phase, share), color, hatch in zip(shares.items(), (plots.ORANGE, plots.SKY, plots.BLUE, plots.GREY), ("//", "", "", "..")):
    ax.barh([0], share, left=left, color=color, hatch=hatch, edgecolor="white", label=f"{phase} {share:.0%}")
    left += share
ax.set(xlabel="share of a training step", yticks=[], xlim=(0, 1))
figure.legend(frameon=False, loc="outside upper center", ncols=4)
plots.show(figure, "One bar split into data, forward, backward and optimizer: " + ", ".join(f"{phase} {share:.0%}" for phase, share in shares.items()) + ".")
assert shares["2 forward"] + shares["3 backward"] > 0.5

# %% [markdown]
# The table says which operation costs, the bar says in which part of the step. Read both before you optimise: a trick that makes the optimizer twice as fast gains half of *its* share at most (Amdahl's law). The whole trace, with every call on a time axis, goes to a file:

# %%
with tempfile.TemporaryDirectory() as folder:
    trace.export_chrome_trace(str(Path(folder) / "trace.json"))
    size = (Path(folder) / "trace.json").stat().st_size
print(f"the trace of 3 steps: {size / 1e6:.1f} MB of JSON, {sum(event.count for event in events):,} events")
assert size > 100_000

# %% [markdown]
# Open such a file at `ui.perfetto.dev` or, in Chrome, at `chrome://tracing`: drag it into the window, zoom with W and S. It stays on your machine. Look for gaps, in which nothing runs. Three steps are enough; a trace of an hour is a file that nobody can open.
#
# ## 6.10 The errors
#
# A score says how often the network is wrong, not how. First, which animals are confused?

# %%
figure, ax = plt.subplots(figsize=(5.6, 5), layout="constrained")
words = np.array(rows.classes)
plots.confusion_matrix(ax, words[labels_of["test"]], words[predicted], rows.classes)
wrong = np.flatnonzero(predicted != labels_of["test"])
pairs = pd.Series([f"{words[labels_of['test'][i]]} taken for {words[predicted[i]]}" for i in wrong]).value_counts()
plots.show(figure, f"Confusion matrix of {len(predicted)} test pictures: nearly all on the diagonal; {len(wrong)} errors, the most frequent: {pairs.index[0]}.")

# %%
print(f"{len(wrong)} errors among {len(predicted)} test rows; most frequent: {', '.join(f'{pair} ({count})' for pair, count in pairs.head(3).items())}")

# %% [markdown]
# Now the pictures themselves, the most confident errors first. A confident error is worth more than ten doubtful ones: it is either a wrong label, a picture that nobody could name, or something the network has learnt wrongly.

# %%
probabilities = np.exp(test_logits - np.logaddexp.reduce(test_logits, axis=1, keepdims=True))
worst = wrong[np.argsort(-probabilities[wrong, predicted[wrong]])][:12]
figure, axes = plt.subplots(2, 6, figsize=(10, 3.9), layout="constrained")
titles = [f"true {words[labels_of['test'][i]]}\nsaid {words[predicted[i]]}, {probabilities[i, predicted[i]]:.2f}" for i in worst]
plots.image_row(axes.flat, test_rows["image"].iloc[worst], titles)
for ax in axes.flat[len(worst) :]:
    ax.set_axis_off()
plots.show(figure, f"The {len(worst)} most confident errors: silhouettes with true and predicted animal and the probability of the prediction; many show the animal lying, from the front, or only in part.")

# %% [markdown]
# Look at each of them and write down a cause before you read on. Would *you* have named it? Some of these outlines show an animal from the front, lying, or cut off, and no outline tells a cat from a dog when the tail is missing. Those errors are not the network's: the task has a ceiling below 1, and nobody has measured it here. For data with several human labels per row you can (chapter 07).
#
# Do not repair the test rows now. What you learn from them may change the next version of the *training* data, and then you need new test rows.
#
# ## 6.11 Grad-CAM: where did it look?
#
# **Grad-CAM** (Selvaraju et al. 2017, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391)) asks: at which places do the channels of one layer speak for a class? Take the layer's output, weigh each channel by the mean gradient of the class's logit with respect to it, add up, and keep what is positive. By hand:

# %% tags=["same-as:helpers.teaching.gradcam.grad_cam"]
def grad_cam(model, layer, images, classes):
    kept = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    scores = model.eval()(images)  # (N, C)
    handle.remove()
    activations = kept[0]  # (N, K, h, w)
    chosen = scores.gather(1, classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(chosen, activations)
    weights = gradients.mean((2, 3), keepdim=True)  # (N, K, 1, 1): one number per channel
    return (weights * activations).sum(1).relu().detach()

# %% [markdown]
# Which layer? The last one knows most about classes but has few places; an earlier one has more places and knows less.

# %%
if name == "resnet50":
    layers = {"middle layer": classifier.model.layer3, "last layer": classifier.model.layer4}
else:
    layers = {"middle layer": classifier.model.blocks[4], "last layer": classifier.model.bn2}
classifier.model.requires_grad_(True)
test_images = tensors(test_rows, classifier.preprocessor)
sure = np.flatnonzero(predicted == labels_of["test"])[:120:24]
shown = np.concatenate([sure, worst[:5]])
said = torch.tensor(predicted[shown], device=device)

# %%
maps = {layer: grad_cam(classifier.model, module, test_images[shown].to(device), said) for layer, module in layers.items()}
print({layer: tuple(found.shape[1:]) for layer, found in maps.items()}, "places")

# %%
figure, axes = plt.subplots(2, 10, figsize=(11, 2.9), layout="constrained")
for row_axes, (layer, found) in zip(axes, maps.items()):
    for ax, index, heat in zip(row_axes, shown, enlarge(found, test_images.shape[-1]).cpu()):
        grey = test_images[index, 0].numpy() / 2 + 0.5
        title = f"{words[labels_of['test'][index]]}\n-> {words[predicted[index]]}" if layer == "middle layer" else ""
        gradcam_maps.overlay(ax, grey, heat.numpy(), title)
plots.show(figure, "Ten pictures with Grad-CAM maps of the middle layer (top) and the last layer (bottom), five right and five wrong predictions. Bright places lie on parts of the outline such as heads, necks and legs; the maps of the last layer are coarse.")

# %% [markdown]
# The first five are right, the last five wrong. Yellow marks what speaks for the *predicted* class. It is tempting to tell a story for each. Before that, two checks: does the map matter to the network, and does it depend on what the network has learnt?
#
# **Does it matter?** If the brightest place carries the decision, covering it must hurt more than covering another part of the animal. We cover a square of a quarter of the picture's width with background, once around the peak of the map and once around a random white pixel.

# %%
chosen = np.flatnonzero(predicted == labels_of["test"])[:200]
images = test_images[chosen].to(device)
classes_of = torch.tensor(predicted[chosen], device=device)
heat = enlarge(grad_cam(classifier.model, layers["middle layer"], images, classes_of), images.shape[-1])
side = images.shape[-1] // 4
generator = torch.Generator().manual_seed(0)

# %%
white = (images[:, 0] > images.mean()).flatten(1).float().cpu()
spots = torch.multinomial(white, 1, generator=generator)[:, 0].to(device)
random_places = torch.stack([spots // images.shape[-1], spots % images.shape[-1]], dim=1)

# %%
@torch.no_grad()
def confidence(pictures):
    """Probability of the class that was predicted for the whole picture (N,)."""
    return classifier.model.eval()(pictures).softmax(1).gather(1, classes_of[:, None])[:, 0].cpu()


drops = {"peak of the map": confidence(images) - confidence(covered(images, peaks(heat), side)),
         "random place of the animal": confidence(images) - confidence(covered(images, random_places, side))}  # fmt: skip
for place, drop in drops.items():
    mean, half = interval_of(drop.numpy())
    print(f"covering the {place:<27} lowers p by {mean:.3f} ± {half:.3f}")

# %%
difference, half = interval_of((drops["peak of the map"] - drops["random place of the animal"]).numpy())
print(f"difference {difference:+.3f} ± {half:.3f} (95% interval over {len(chosen)} pictures)")

# %% [markdown]
# Covering the place that the map points at hurts the prediction; compare with the random place, and read the interval of the difference. If it lies above zero, the map knows something about this network that chance does not. If it contains zero, the map of this layer is no better than chance at finding what the decision needs, and its stories should not be believed.
#
# What does a network for silhouettes look at? There is no fur and no colour, so only the outline can count. Most bright places lie on it: heads, necks, legs, a trunk. The map cannot say *why* a place counts, and a place of the middle layer covers 16 by 16 pixels of the network's input, so do not read it more finely than that.
#
# ### Is the map about this network at all?
#
# Adebayo et al. (2018, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)) found explanation methods whose pictures stay nearly the same when the network's weights are replaced by random ones: they show edges of the *picture*, not the knowledge of the network. Their **sanity check** is simple: randomise the weights and compare the maps. We compare ranks of places (Spearman's correlation: 1 = the same order).

# %%
def likeness(one, other):
    """Mean rank correlation of the maps (N, h, w) of the same pictures; maps without any contrast are left out."""
    pairs = [(a.flatten().cpu(), b.flatten().cpu()) for a, b in zip(one, other) if a.std() > 0 and b.std() > 0]
    return np.mean([stats.spearmanr(a, b).statistic for a, b in pairs])


def random_like(model, seed, layer="blocks.4", **options):
    """Maps of the same pictures and classes from a network with other weights."""
    other = new_classifier(seed, image_size=96, **options).model
    module = other.get_submodule("layer3" if name == "resnet50" else layer)
    return grad_cam(other, module, images[:60], classes_of[:60])

# %%
ours = grad_cam(classifier.model, layers["middle layer"], images[:60], classes_of[:60])
random_head = [likeness(ours, random_like(model, seed)) for seed in (1, 2, 3)]
all_random = [likeness(ours, random_like(model, seed, pretrained=False)) for seed in (1, 2, 3)]
print(f"like the map of a pretrained network with a random head: {np.mean(random_head):.2f} ({', '.join(f'{value:.2f}' for value in random_head)})")
print(f"like the map of a network with random weights:           {np.mean(all_random):.2f} ({', '.join(f'{value:.2f}' for value in all_random)})")
assert max(all_random) < 0.6, "the map does not depend on the weights: it shows the picture, not the network"

# %%
other = new_classifier(1, image_size=96, pretrained=False).model
untrained = grad_cam(other, other.get_submodule("layer3" if name == "resnet50" else "blocks.4"), images[:5], classes_of[:5])
figure, axes = plt.subplots(2, 5, figsize=(7, 3.2), layout="constrained")
for row_axes, (title, found) in zip(axes, (("trained", ours[:5]), ("random weights", untrained))):
    for ax, picture, heat_of_one in zip(row_axes, images[:5].cpu(), enlarge(found, images.shape[-1]).cpu()):
        gradcam_maps.overlay(ax, picture[0].numpy() / 2 + 0.5, heat_of_one.numpy(), title)
plots.show(figure, "Five pictures with the map of the trained network (top) and of a network with random weights (bottom): the maps differ.")

# %% [markdown]
# Near zero: the order of the places in the maps of other networks has nothing to do with the order in ours. That holds for random weights, and even for the same pretrained layers under a random head. So the map shows what *this* network has learnt, not only the picture. Look at the lower row of the figure all the same: a map that lies on an animal is no evidence by itself, because a random network draws such maps, too.
#
# **Rule:** before you show a map to anyone, show that it changes with the weights and that covering its peak changes the answer.
#
# Look around yourself. Choose a picture (the first ones are errors), then explain the true class and the predicted one. What speaks for each?

# %%
picked = np.concatenate([worst[:6], sure[:4]])
explorable = gradcam_maps.Pictures(test_images[picked].to(device), test_images[picked, 0].numpy() / 2 + 0.5, labels_of["test"][picked])
gradcam_maps.gradcam_explorer(classifier.model, layers, explorable, rows.classes)

# %% [markdown]
# ## Recap
#
# | step | what you learnt | check it by |
# |---|---|---|
# | machine | the slowest part sets the speed | share of the time spent waiting |
# | memory | activations, not weights, fill it | bytes kept for the backward pass |
# | baselines | a frozen network is hard to beat | the same validation rows for all |
# | network | say which one really ran | catch the warning |
# | rate | a large rate destroys knowledge, and so do moved statistics | probe what training does not ask for |
# | averages | divide once, by rows | shuffle the rows: the figure must stay |
# | checkpoint | keep the best by validation | judge on other rows |
# | test | once, with an interval | count how often you have looked |
# | ablation | most habits do not separate | three seeds, intervals |
# | speed | measure each rung here | median of a few steps, memory beside time |
# | errors, maps | look, then check the explanation | cover the place; randomise the weights |
#
# The mistakes that this chapter broke on purpose: a loader that makes the processor wait and a batch that does not fit (6.1), a random flip on validation rows (6.2), `pretrained=True` (6.3), Adam 1e-3 on the whole network (6.4), a mean of batch means and the last checkpoint (6.5), choosing on the test rows (6.6).
#
# ## Glossary
#
# * **bottleneck**: the slowest part of a chain, which sets the speed of the whole.
# * **activations**: outputs of layers, kept until the backward pass has used them.
# * **accumulation**: gradients of several small batches added up before one step.
# * **gradient checkpointing**: keep few activations, compute the others again in the backward pass.
# * **baselines**: simple methods whose score a better one must beat.
# * **bootstrap interval**: how far a score moves when the rows are drawn again.
# * **ablation**: change one part of a recipe and leave the rest.
# * **channels_last**: memory layout with the channels of one pixel side by side.
# * **`torch.compile`**: translates a network into fused code before the first step.
# * **progressive resizing**: small pictures first, full size at the end.
# * **distributed data parallel**: several processes share every batch and sum their gradients.
# * **profiler**: notes every operation with its time.
# * **BatchNorm**: standardises channels, with running statistics that change in training mode.
# * **Grad-CAM**, **sanity check**: a map of the places that speak for a class; a test that an explanation depends on the network.
#
# ## Exercises
#
# Each exercise has a check, hints and a solution: `ch06.accumulate.check(accumulate)`, `ch06.accumulate.hint()`, `ch06.accumulate.solution()`.
#
# **Exercise 1: accumulate correctly.** Write `accumulate(model, batches)`: after it, `.grad` of every weight holds the gradient of the *mean* cross-entropy over all rows of all batches, and nothing from before. `batches` is a list of `(inputs, labels)`, and the last one may be shorter.

# %%
def accumulate(model, batches): ...  # your code here


ch06.accumulate.check(accumulate)

# %% [markdown]
# **Exercise 2: an honest evaluation.** Write `evaluate(model, batches)`: the mean cross-entropy over all rows, as a number. It must not change the model: no dropout, no BatchNorm statistics, and afterwards the model is in the mode in which it came.

# %%
def evaluate(model, batches): ...  # your code here


ch06.evaluate.check(evaluate)

# %% [markdown]
# **Exercise 3: the map.** Write `cam(activations, gradients)` for one picture: from a layer's output (K, h, w) and its gradients (K, h, w) the Grad-CAM map (h, w), scaled to a maximum of 1, and 0 everywhere if nothing speaks for the class.

# %%
def cam(activations, gradients): ...  # your code here


ch06.cam.check(cam)

# %% [markdown]
# ## Where to go next
#
# The same road with texts is [the sentiment case study](07_sentiment_case_study.ipynb), which also ships the model. [Chapter 08](08_outlook.ipynb) makes networks smaller and finds the largest batch that fits. On your own pictures, one folder per class: `python -m helpers train images --data FOLDER --output runs/mine`, then open `runs/mine/report.html`.
