# %% [markdown]
# # Custom datasets
#
# **The question of this chapter: how do you turn a messy pile of files into a dataset that you can trust?**
#
# Courses begin with a clean dataset. Work begins with a folder that somebody copied from three computers. In this chapter you get such a pile, made from real pictures and real comments. It has one advantage over
# the pile on your desk: a script planted every fault in it and wrote down where. So each tool can be asked how many faults it found, and how often it was right.
#
# **After this chapter you can**
#
# * collect pages from a web site within its rules, and read them without regular expressions;
# * find unreadable files, exact and near-duplicates, missing values and wrong labels, with a number for each;
# * repair texts and convert pictures without losing what is in them;
# * split without leaks, and measure what a leak would have flattered;
# * augment pictures and texts, and tell a change that helps from one that hurts;
# * hand over a dataset with a labels file, a loader and a data card.
#
# **You need:** chapter 02 (datasets and loaders). **Time:** under a minute to run on 2 CPU cores, plan three hours to work through it. No GPU is needed.
#
# **Data and weights:** comments rated by people (Hutto and Gilbert 2014, MIT licence), animal silhouettes (package `animal-mnist`, MIT licence), the image network EfficientNet-Lite0 and the text
# encoder MiniLM (both Apache 2.0).

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd().parent))  # a clone that was not installed works, too
from helpers import environment

environment.set_up()

# %%
import inspect
import itertools
import json
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import torch
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from PIL import Image
from safetensors.torch import load_file
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import default_collate
from torchvision.transforms.v2 import functional as to
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from helpers import assets
from helpers.data import augmentation, cleaning, duplicates, inspection, sources, splits
from helpers.data.cards import data_card
from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.loaders import make_loader
from helpers.data.scraping import PoliteScraper
from helpers.data.transforms import AUGMENTATIONS, evaluation_preset, training_preset
from helpers.models.multimodal import image_features
from helpers.models.pretrained import image_classifier, text_classifier
from helpers.teaching import mess, plots
from helpers.teaching.exercises import ch05
from helpers.teaching.website import CommentSite
from helpers.teaching.widgets import duplicates as duplicates_widget

# %% [markdown]
# ## 5.1 Collect: three ways to get rows
#
# | way | good for | ask first |
# |---|---|---|
# | a **public dataset** | the task is common; you need a start or a comparison | which licence, who labelled, is it in a benchmark that you report? |
# | **by hand**: photograph, write, label | the task is yours alone; the test set in any case | how long does one row take, and who checks it? |
# | **scraping**: a program reads web pages | much text or many pictures that are public | may I (licence, robots.txt, personal data), and do I trouble anybody? |
#
# Before you choose, calculate. Suppose one label takes 8 seconds, three people label each row, and one of them earns 20 an hour:

# %% tags=["nbval-check-output"]
for rows in (200, 2_000, 20_000):
    hours = rows * 3 * 8 / 3600
    print(f"{rows:>6,} rows: {hours:>5.0f} hours of work, {20 * hours:>6,.0f} in wages")

# %% [markdown]
# A few hundred good rows are affordable for anybody, and chapter 04 shows how far a pretrained model gets with them. So think of labels as something that you can buy, and of web pages as somebody else's property.
#
# ## 5.2 Scrape politely
#
# A web site tells robots in a file `/robots.txt` what they may read and how long they should wait between two requests. We practise on a site that runs on this machine: real comments, a licence line, and the troubles of real sites.

# %% tags=["nbval-check-output"]
rated_comments = sources.comments()
site = CommentSite(rated_comments, pages=3, crawl_delay=1)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our own machine: no proxy
print(direct.open(site.url + "/robots.txt").read().decode())

# %% [markdown]
# Two rules: wait a second between requests, and leave `/private/` alone.
#
# ### What went wrong: the scraper that nobody wants to visit
#
# This is the scraper of many tutorials. It follows every link as fast as it can and reads the pages with a **regular expression**, a pattern of characters. **Guess:** which rules does it break, and how does it end?

# %%
def rude_scraper(url):
    found, waiting = [], ["/comments/1"]
    while waiting:
        page = direct.open(url + waiting.pop()).read().decode()
        found += re.findall(r'<p class="comment".*?>(.*?)</p>', page)
        waiting += [link for link in re.findall(r'href="(.*?)"', page) if link not in waiting]
    return found


# %% tags=["nbval-check-output"]
site.log.clear()
try:
    rude_scraper(site.url)
except urllib.error.HTTPError as error:
    print(f"stopped with {error.code} {error.reason}")
else:
    raise AssertionError("the rude scraper got through: make the site harder")
print([request.path for request in site.log])
assert any(request.path.startswith("/private/") for request in site.log)

# %% [markdown]
# The log is what the owner sees: a nameless program walked into the private folder first. It then followed a dead link, and one missing page ended the whole run with everything it had collected. And what had it read until then? We look at one page ourselves:

# %% tags=["nbval-check-output"]
page = direct.open(site.url + "/comments/1").read().decode()
by_pattern = re.findall(r'<p class="comment".*?>(.*?)</p>', page)
by_parser = [p.get_text(" ", strip=True) for p in BeautifulSoup(page, "html.parser").select("p.comment")]
wanted = [" ".join(text.split()) for text in rated_comments["text"].head(25)]
print(f"on the page {len(wanted)}, the pattern found {len(by_pattern)}, the parser {len(by_parser)}")
print("right word for word: pattern", sum(text in wanted for text in by_pattern), "parser", sum(" ".join(text.split()) in wanted for text in by_parser))
print("never shown to a reader, but found by the pattern:", by_pattern.count("deleted by the moderator"))

# %%
assert len(by_parser) == len(wanted)
assert sum(" ".join(text.split()) in wanted for text in by_parser) == len(wanted)
assert by_pattern.count("deleted by the moderator") > 0

# %% [markdown]
# The pattern missed comments whose attributes come in another order, kept tags and entities inside others, and collected a text that the page had commented out. HTML is a tree; a **parser** like BeautifulSoup reads it as one.
#
# Now the polite way. `PoliteScraper` asks robots.txt first, waits, says who it is, tries again later when the server is busy, and keeps what it has read. Its heart:

# %%
print(inspect.getsource(PoliteScraper.get))
print(inspect.getsource(PoliteScraper._ask))

# %%
folder = tempfile.TemporaryDirectory()
root = Path(folder.name)
site.log.clear()
site.busy.add("/comments/3")  # this page will be busy once
scraper = PoliteScraper(site.url, "course-bot/1.0 (teacher@example.org)", root / "cache", least_pause=0.2)
pages, path = [], "/comments/1"
while path:
    pages.append(scraper.get(site.url + path))
    following = BeautifulSoup(pages[-1].html, "html.parser").select_one("a[rel=next]")
    path = following and following["href"]

# %% tags=["nbval-check-output"]
for path in ("/comments/archive", "/private/accounts", "/comments/1"):
    page = scraper.get(site.url + path)
    print(f"{path:<18} status {page.status}, from the cache: {page.from_cache}")
print([(request.path, request.status) for request in site.log])

# %% [markdown]
# Status 0 means: never asked for. The busy page came at the second attempt, the dead link is one line in a table and not the end, and the first page was not asked for twice. The rows, with their licence:

# %% tags=["nbval-check-output"]
scraped = pd.DataFrame(
    {"text": p.get_text(" ", strip=True), "rating": float(p["data-rating"]), "url": page.url.removeprefix(site.url)}
    for page in pages
    for p in BeautifulSoup(page.html, "html.parser").select("p.comment")
)
licence = BeautifulSoup(pages[0].html, "html.parser").select_one("footer[rel=license]").get_text()
print(f"{len(scraped)} comments from {scraped['url'].nunique()} pages. {licence}")

# %%
asked = pd.DataFrame(site.log)
gaps = asked["seconds"].diff().dropna()
assert not asked["path"].str.startswith("/private/").any()
assert gaps.min() > 0.9
assert asked["user_agent"].str.contains("@").all()
site.close()
print(f"{len(asked)} requests, the shortest pause {gaps.min():.1f} s")

# %%
figure, ax = plt.subplots(figsize=(9, 2.2), layout="constrained")
for status, color, marker in ((200, plots.BLUE, "o"), (503, plots.ORANGE, "s"), (404, plots.VERMILION, "x")):
    chosen = asked[asked["status"] == status]
    ax.plot(chosen["seconds"] - asked["seconds"].min(), chosen["path"], marker, color=color, markersize=9, label=f"status {status}")
ax.set(xlabel="time since the first request (seconds)", ylabel="page", title="What the owner of the site sees")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(figure, "The polite scraper's requests over time: one page a second, the third page twice because it was busy at first, the dead link once, nothing below /private/.")

# %% [markdown]
# **Rule:** robots.txt, a pause, a name with an address, a cache, a parser. And robots.txt does not give you a right to *use* what you read: note the licence of every page beside its text.
#
# ## 5.3 A messy pile, and a list of what is wrong with it
#
# Now the pile. `messy_pictures` and `messy_comments` take real animals and real comments and damage them as cameras, web sites and office programs do. They return the **ground truth**: what was planted, file by file. We put it aside and use it only to judge.

# %% tags=["nbval-check-output"]
truth = mess.messy_pictures(root, seed=21)
comment_truth = mess.messy_comments(root, seed=21)
print("pictures:", truth["kind"].value_counts().to_dict())
print("comments:", comment_truth["kind"].value_counts().to_dict())
print("wrong labels:", (truth["label"] != truth["true_label"])[truth["kind"] == "original"].sum(), "pictures,",
      (comment_truth["label"] != comment_truth["true_label"])[comment_truth["kind"] == "original"].sum(), "comments")  # fmt: skip

# %% [markdown]
# Seed 21 is a fresh pile: the thresholds of this chapter were chosen on piles with the seeds 0 to 5. Section 5.9 shows six fresh piles.
#
# What would you see on the disk? Three folders, files with numbers, and a labels file:

# %% tags=["nbval-check-output"]
labels = pd.read_csv(root / "labels.csv")
print(sorted(path.name for path in (root / "pictures").iterdir()))
print(f"{len(labels)} lines in labels.csv; the suffixes: {labels['file'].str.extract(r'([.].*)')[0].value_counts().to_dict()}")

# %% [markdown]
# Nothing looks wrong. That is the problem with piles.
#
# ## 5.4 Read every file before you use one
#
# First rule: decode every file once, and make a table with one row per file, hidden ones too. `inspect_images` notes what each file *is*, by its content and not by its name.

# %%
print(inspect.getsource(inspection._inspect).split('"problem": None,')[1])

# %% tags=["nbval-check-output"]
table = inspection.inspect_images(root / "pictures")
table["file"] = "pictures/" + table["file"]
visible = table[~table["hidden"]]
print(f"{len(table)} files, {table['hidden'].sum()} hidden, {visible['misnamed'].sum()} with the suffix of another format, {visible['turned'].sum()} lying on their side")
print("problems:", visible["problem"].value_counts().to_dict())
print("modes of the others:", visible.loc[visible["problem"].isna(), "mode"].value_counts().to_dict())

# %% tags=["nbval-check-output"]
def report(name, found, planted):
    """Print and return the precision and recall of a detector."""
    scores = inspection.precision_recall(found, planted)
    print(f"{name}: found {scores['found']} of {scores['planted']} planted, precision {scores['precision']:.2f}, recall {scores['recall']:.2f}")
    return scores


scores = report("unreadable files", visible["file"][visible["problem"].notna()], truth["file"][truth["kind"] == "unreadable"])
assert scores["precision"] == scores["recall"] == 1

# %% [markdown]
# **Precision** is the share of the findings that are right; **recall** is the share of the planted faults that were found. Every detector of this chapter must show both, because either alone is easy: report everything, or report one sure case.
#
# For unreadable files both are perfect. Note the word *decode*: `Image.open` reads only the header, and a file that was cut in the middle has a good header.
#
# ### What went wrong: four lines that look right
#
# Here is the dataset class of an article, shortened. It ran without an error on the author's machine. **Guess:** it has four mistakes in four lines. Which?

# %%
class ArticleDataset(torch.utils.data.Dataset):
    def __init__(self, folder, labels):
        self.files = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jpg")]
        self.labels = labels  # the column of the labels file

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return to.to_dtype(to.to_image(Image.open(self.files[index])), scale=True), self.labels[index]


# %% [markdown]
# **First: only `.jpg`.** Cameras write `.JPG`, web sites `.jpeg`, scanners `.png`. What does the filter leave?

# %% tags=["nbval-check-output"]
readable = truth[~truth["kind"].isin(["unreadable", "hidden"])].reset_index(drop=True)
kept = readable["file"].str.endswith(".jpg")
print(f"{kept.sum()} of {len(readable)} readable pictures are left, {1 - kept.mean():.0%} disappeared without a message")
assert kept.mean() < 0.5

# %% [markdown]
# **Second: the order.** `os.listdir` promises no order, and the labels file has an order of its own. Pictures and labels are paired by *position*. How many pictures get the label of another one? We count in the folder `camera`, and give the method every chance: `sorted` as well.

# %%
camera = labels[labels["file"].str.startswith("pictures/camera/")]
label_of = dict(zip(labels["file"], labels["label"]))
for name, order in {"os.listdir": list, "sorted": sorted}.items():
    files = [f"pictures/camera/{file}" for file in order(os.listdir(root / "pictures" / "camera")) if not file.startswith(".")]
    wrong = np.mean([label_of[file] != label for file, label in zip(files, camera["label"])])
    print(f"{name:<11} paired by position: {wrong:.0%} of the pictures have the label of another animal")
    assert wrong > 0.5

# %% [markdown]
# About nine in ten, which is what random labels give with ten classes. No error, no warning; a network would train on noise for hours. `sorted` makes the order the same on each machine, but it does not make it the order of the labels file: "10.png" comes before "2.png", and one hidden file shifts everything.
# **Pair by name, never by position.** `sources.from_labels_file` looks up each file that the labels file names.
#
# **Third: no `convert("RGB")`.** The files have many modes. A loader that stacks them stops, at a moment that depends on the shuffle:

# %% tags=["nbval-check-output"]
by_form = readable[readable["kind"] == "original"].drop_duplicates("form").set_index("form")["file"]
shapes = {form: tuple(to.to_image(Image.open(root / by_form[form])).shape) for form in sorted(by_form.index)}
print(shapes)
try:
    default_collate([torch.zeros(shape) for shape in shapes.values()])
except RuntimeError as error:
    print("RuntimeError:", str(error).split(",")[0])
else:
    raise AssertionError("these shapes should not stack")

# %% [markdown]
# That is the lucky case. The unlucky one is silent: in a palette picture (`P`) a pixel is the *number of a colour* in a table, and in a `CMYK` picture a high number means much ink, so dark. Both have shapes that stack with others of their kind. Section 5.5 shows what they look like then.
#
# **Fourth: `Image.open` without closing.** PIL opens a file and reads its pixels later. Until then the file stays open, and a process may keep only so many. We set the limit to 256 in a process of its own and open our pictures:

# %%
program = """
import resource, sys
from PIL import Image
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
opened = []
try:
    for name in sys.stdin.read().split():
        opened.append(Image.open(name))
except OSError as error:
    print(f"after {len(opened)} pictures: {error.strerror}")
"""
names = "\n".join(str(root / file) for file in readable["file"][:400])
if os.name == "posix":  # other systems have other limits
    stopped = subprocess.run([sys.executable, "-c", program], input=names, capture_output=True, text=True).stdout
    print(stopped.strip())
    assert "Too many open files" in stopped

# %% [markdown]
# The usual limit is higher, often 1,024, so a small test passes and the real folder fails. `with Image.open(path) as image:` closes the file at the end of the block.
#
# **Rule:** list all formats, pair by name, convert, close. The class that does it is `ImageDataset` (chapter 02), and it is not longer:

# %%
print(inspect.getsource(sys.modules["helpers.data.datasets"].open_image))

# %% [markdown]
# ## 5.5 Convert: one form for all pictures
#
# One **mode** for all: RGB, 8 bits a channel, upright. Each form needs its own step. Before you run the cell, guess which of these pictures `convert("RGB")` alone gets wrong.

# %%
forms = ["png", "transparent", "palette", "cmyk", "16 bit", "turned"]
raw, converted, right = {}, {}, {}
for form in forms:
    with Image.open(root / by_form[form]) as image:
        raw[form] = np.asarray(image).astype(float)
        converted[form] = np.asarray(image.convert("RGB"))
        right[form] = np.asarray(inspection.to_rgb(image))

# %%
figure, axes = plt.subplots(3, 6, figsize=(9, 4.8), layout="constrained")
for row, (name, images) in enumerate({"numbers in the file": raw, 'convert("RGB")': converted, "to_rgb": right}.items()):
    shown = [image if image.ndim == 2 else image[..., :3] for image in images.values()]
    plots.image_row(axes[row], [image / max(image.max(), 1) for image in shown], [f"{form}\n{images[form].max():.0f} max" for form in forms])
    axes[row, 0].text(-0.25, 0.5, name, rotation=90, va="center", ha="right", transform=axes[row, 0].transAxes)
plots.show(figure, "Six pictures in three rows. In the raw numbers CMYK is a negative; after convert(RGB) the transparent one is a white square, the 16-bit one is black and white only, the turned one lies on its side; to_rgb shows six grey animals, upright.")

# %% [markdown]
# Look at the middle row. `convert("RGB")` mends the palette and CMYK. But the transparent picture becomes a white square, because its shape was in the transparency; the turned one stays on its side; and the 16-bit one deserves a closer look.
#
# ### What went wrong: sixteen bits cut to white

# %% tags=["nbval-check-output"]
for name, image in (("convert('RGB')", converted["16 bit"]), ("to_rgb", right["16 bit"])):
    print(f"{name:<15} {len(np.unique(image)):>3} grey values, {np.mean(image == 255):.0%} of the pixels are white")
assert len(np.unique(converted["16 bit"])) <= 3 < 20 < len(np.unique(right["16 bit"]))

# %% [markdown]
# A 16-bit pixel goes up to 65,535. PIL's `convert` does not divide, it *cuts* everything above 255 to 255: the picture keeps two or three grey values. Medical and scientific pictures are stored in 16 bits, and this loss makes no noise. `to_rgb` divides by 257:

# %%
print(inspect.getsource(inspection.to_rgb).split('"""')[2])

# %% [markdown]
# Now convert the whole pile, once, into a new folder. The originals stay as they are: you will want them when you find the next mistake.

# %% tags=["nbval-check-output"]
pile = readable.merge(table[["file", "sha256"]], on="file").merge(labels, on=["file", "label"])
assert len(pile) == len(readable)
pile = pile.assign(id=pile["file"], group=pile["file"], path=[str(root / file) for file in pile["file"]])
pile, convert_counts = inspection.convert_images(pile, root / "rgb")
print(convert_counts)

# %% [markdown]
# ## 5.6 Duplicates: exact, normalised, near
#
# A copy counts a row twice, and a copy on the other side of a split tells the model the answer. There are three kinds.
#
# An **exact duplicate** has the same bytes. A **hash** turns the bytes into a short number; equal files have equal hashes, so one pass over the files is enough.

# %%
def as_pairs(table):
    return set(zip(table["first"].tolist(), table["second"].tolist()))


same_bytes = as_pairs(duplicates.equal_keys(pile["sha256"]))
scores = report("exact duplicates", same_bytes, as_pairs(duplicates.equal_keys(mess.copied_bytes(pile))))
assert scores["precision"] == scores["recall"] == 1

# %% [markdown]
# The truth counts natural copies, too: the collection of silhouettes itself holds pairs of equal pictures, and finding them is right.
#
# Where copies carry different labels, nobody knows which is right, so `drop_duplicates` keeps none of them. Everything is counted:

# %% tags=["nbval-check-output"]
single, exact_counts = cleaning.drop_duplicates(pile, pile["sha256"])
print(exact_counts)

# %% [markdown]
# A **near-duplicate** was resized, compressed again, brightened or cropped. Not one byte needs to be the same. A **perceptual hash** keeps only the coarse waves of the picture, and of each wave only whether it is above the median: pictures that look alike differ in few bits.

# %%
pictures = [inspection.open_rgb(path) for path in single["path"]]
hashes = duplicates.picture_hashes(pictures)  # (N, 256)
near_row = single.index[single["form"] == "brighter"][0]
partner = next(row for row in single.index[single["source"] == single["source"][near_row]] if row != near_row)
stranger = next(row for row in single.index if single["true_label"][row] == single["true_label"][partner] and single["source"][row] != single["source"][partner])

# %%
figure, axes = plt.subplots(1, 6, figsize=(9.5, 2), layout="constrained")
for place, (row, name) in enumerate([(partner, "original"), (near_row, "brighter"), (stranger, "another one")]):
    bits = int((hashes[row] != hashes[partner]).sum())
    plots.image_row(axes[2 * place : 2 * place + 2], [pictures[row], hashes[row].reshape(16, 16)], [name, f"{bits} of 256 bits differ"])
plots.show(figure, "Three animals with their hashes as 16 by 16 bits: the brighter copy's hash differs from the original's in a few bits, that of another animal of the same class in many.")

# %% [markdown]
# How many different bits are too many? Silhouettes on black resemble each other, so this is no detail. We look at all pairs, and colour them by the truth.

# %%
everything = duplicates.near_hashes(hashes, max_distance=256)
source = single["source"].to_numpy()
everything["same"] = source[everything["first"]] == source[everything["second"]]
planted = int(everything["same"].sum())
figure, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
for same, color, hatch, name in ((False, plots.GREY, "", "different pictures"), (True, plots.VERMILION, "//", "near-duplicates")):
    ax.hist(everything.loc[everything["same"] == same, "distance"], bins=range(0, 170, 2), color=color, hatch=hatch, edgecolor="white", alpha=0.8, label=f"{name} ({(everything['same'] == same).sum():,} pairs)")
ax.axvline(duplicates.HASH_DISTANCE, color="black", linestyle="--", label=f"candidates: at most {duplicates.HASH_DISTANCE} bits")
ax.set(xlabel="different bits of 256", ylabel="pairs (log)", yscale="log")
ax.legend(frameon=False)
plots.show(figure, "Histogram of hash distances on a logarithmic axis: near-duplicates lie between 0 and about 60 bits, different pictures mostly above 60, and the two overlap a little.")

# %% [markdown]
# The two humps overlap: a cropped copy may be as far from its original as two different animals from each other. So the hash only proposes **candidates**, generously, and a second look decides: `aligned_similarity` shifts the two pictures by a few pixels and takes the best correlation.

# %%
candidates = everything[everything["distance"] <= duplicates.HASH_DISTANCE].reset_index(drop=True)
candidates["similarity"] = duplicates.aligned_similarity(pictures, candidates)
print(f"{len(everything):,} pairs, {len(candidates):,} candidates; they hold {candidates['same'].sum()} of {planted} near-duplicates")
assert candidates["same"].sum() >= 0.97 * planted

# %%
by_hash = duplicates_widget.curve(everything.assign(similarity=-everything["distance"]), planted)
by_both = duplicates_widget.curve(candidates, planted)
figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.plot(by_hash["recall"], by_hash["precision"], color=plots.ORANGE, linestyle="--", label="hash alone")
ax.plot(by_both["recall"], by_both["precision"], color=plots.BLUE, label="hash, then a second look")
precision, recall = duplicates_widget.at(by_both, duplicates.PICTURE_SIMILARITY)
ax.plot(recall, precision, "o", color=plots.VERMILION, markersize=9, label=f"similarity at least {duplicates.PICTURE_SIMILARITY}")
ax.set(xlabel="recall", ylabel="precision", xlim=(0.7, 1.01), ylim=(0.7, 1.01))
ax.legend(frameon=False, loc="lower left")
plots.show(figure, "Precision against recall: both curves stay near 1 until recall is high; the second look keeps the precision up a little further. A point marks the chosen threshold.")

# %% [markdown]
# A **precision-recall curve** shows all thresholds at once. Each step to the right finds more copies; where the curve falls, it begins to call different pictures copies. The point is the threshold that was chosen on another pile:

# %%
pairs = duplicates.near_pictures(pictures)
scores = report("near-duplicate pictures", as_pairs(pairs), as_pairs(everything[everything["same"]]))
assert scores["precision"] >= 0.9
assert scores["recall"] >= 0.9

# %% [markdown]
# Now you. Move the threshold and watch the two pairs next to it: the last pair that was found, and the first that was left. Where would *you* stop?

# %%
duplicates_widget.threshold_explorer(pictures, candidates, planted)

# %% [markdown]
# And on the real collection, with nothing planted? The same search among 1,500 silhouettes that are no exact copies of each other:

# %%
real = cleaning.clean_images(sources.animals())[0].groupby("label").head(150).reset_index(drop=True)
real_pictures = [Image.fromarray(image).resize((112, 112), Image.Resampling.LANCZOS) for image in real["image"]]
real_pairs = duplicates.near_pictures(real_pictures).sort_values("similarity", ascending=False, ignore_index=True)
print(f"{len(real_pairs)} pairs among {len(real):,} pictures")

# %%
shown = real_pairs.head(4)
figure, axes = plt.subplots(1, 8, figsize=(9.5, 1.7), layout="constrained")
for ax in axes:
    ax.set_axis_off()
for place, pair in enumerate(shown.itertuples()):
    plots.image_row(axes[2 * place : 2 * place + 2], [real_pictures[pair.first], real_pictures[pair.second]], [f"{pair.similarity:.3f}", real["label"][pair.second]])
plots.show(figure, "Up to four pairs of silhouettes of the real collection that the search calls near-duplicates, side by side with their similarity.")

# %% [markdown]
# Nobody planted these. Look at each pair yourself: on real data there is no truth to compare with, and your eyes are the last detector.
#
# ### Texts
#
# Texts have a kind between exact and near: a **normalised duplicate** has the same letters and digits, and differs in case, punctuation or spaces. To find copies we must first be able to read the files, so texts come next.
#
# ## 5.7 Repair texts: encodings, mojibake, HTML
#
# An **encoding** says which bytes stand for which letters. Three programs exported our comments, and nobody wrote down how. What happens if we guess?

# %% tags=["nbval-check-output"]
office = (root / "office.csv").read_bytes()
try:
    office.decode("utf-8")
except UnicodeDecodeError as error:
    print("read strictly:", error.reason)
sample = next(line for line in office.splitlines() if b"\x92" in line)[6:60]
print("errors='replace':", sample.decode("utf-8", errors="replace"))
print("as Windows-1252: ", sample.decode("cp1252"))

# %% [markdown]
# The strict error is the good case. `errors="replace"` puts a � where a letter was; what it was cannot be found out any more. So: never replace, find the encoding. UTF-16 begins with a mark of its own, and text in another encoding is almost never valid UTF-8 by chance. That gives an order of questions:

# %%
print(inspect.getsource(cleaning._decoded))

# %% tags=["nbval-check-output"]
tables = []
for name in ("forum.csv", "office.csv", "survey.csv"):
    rows, found = cleaning.read_table(root / name)
    tables.append(rows)
    print(name, found)
comments = pd.concat(tables, ignore_index=True)
assert not comments["text"].str.contains("�").any()

# %% [markdown]
# **Mojibake** is text that was read in the wrong encoding and saved again: `it's` became `itâ€™s`. Because nothing was replaced, it can be undone; the library ftfy does it. HTML is the other damage. The order of the steps matters:

# %% tags=["nbval-check-output"]
example = "<p>if x &lt;y and z&gt; 3, it&#39;s true<br/></p>"
print("tags, then entities:", repr(cleaning.clean_text(cleaning.text_of_html(example))))
print("entities, then tags:", repr(cleaning.text_of_html(cleaning.clean_text(example))))

# %% [markdown]
# The other way round a part of the sentence is taken for a tag and vanishes. How well does the repair work? The truth knows the text as it was.

# %% tags=["nbval-check-output"]
comments = comments.merge(comment_truth[["id", "source", "kind", "damage", "clean", "true_label", "true_rating"]], on="id")
comments["repaired"] = comments["text"].map(cleaning.text_of_html).map(cleaning.clean_text)
as_it_was = comments["clean"].map(cleaning.clean_text)
for damage in ("mojibake", "curly", "html"):
    rows = (comments["damage"] == damage) & (comments["kind"] != "unreadable")
    print(f"{damage:<9} {rows.sum():>4} texts, restored to the letter: {(comments['repaired'] == as_it_was)[rows].mean():.0%}")
report("empty texts", comments["id"][comments["repaired"] == ""], comments["id"][comments["kind"] == "unreadable"])

# %% [markdown]
# Repair what *storage* did to a text, and nothing else. Case, punctuation and small words stay: chapter 07 measures what happens to a model when they are removed.
#
# Now the copies. The normalised key first, then near-duplicates by the pieces of letters that two texts share:

# %%
texts = comments[comments["repaired"] != ""].reset_index(drop=True)
key = texts["repaired"].map(cleaning.duplicate_key)
same_key = as_pairs(duplicates.equal_keys(key))
truth_key = texts["clean"].map(cleaning.clean_text).map(cleaning.duplicate_key)
exact_texts = report("exact and normalised duplicates", same_key, as_pairs(duplicates.equal_keys(truth_key)))
near_pairs = duplicates.near_texts(texts["repaired"].tolist())
near_texts = report("near-duplicate texts", as_pairs(near_pairs) - same_key, as_pairs(duplicates.equal_keys(texts["source"])) - same_key)
assert exact_texts["precision"] == exact_texts["recall"] == 1
assert min(near_texts["precision"], near_texts["recall"]) >= 0.9

# %%
for pair in near_pairs[near_pairs["similarity"] < 0.97].sort_values("similarity").head(3).itertuples():
    print(f"{pair.similarity:.2f}  {texts['repaired'][pair.first][:90]}\n      {texts['repaired'][pair.second][:90]}")

# %% [markdown]
# Long texts are easy: two sentences rarely share so many letters by chance. The hard ones are short; the pairs above are the least similar that still count as copies. A few pairs that no script planted may be among the findings: people do write nearly the same thing twice. They count as wrong here, so the real precision is a little higher.
#
# ## 5.8 Missing values: drop, fill or predict
#
# A tenth of the ratings is missing. Dropping the rows is honest and costs rows. **Imputation** fills the gaps. Which way is best can be measured: take ratings that you know, remove some *on purpose*, fill, and compare. **Guess:** which way comes closest?

# %%
print(inspect.getsource(cleaning.fill_missing).split('"""')[2])

# %%
known = texts[texts["rating"] != ""].reset_index(drop=True)
ratings = known["rating"].astype(float)
words = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(known["repaired"])  # (N, words)
errors = []
for seed, how in itertools.product(range(5), ("mean", "median", "interpolate", "predict")):
    removed = np.random.default_rng(seed).random(len(known)) < 0.1
    filled, _ = cleaning.fill_missing(ratings.mask(removed), how, predictors=words)
    errors.append((how, seed, (filled - ratings)[removed].abs().mean()))
errors = pd.DataFrame(errors, columns=["how", "seed", "error"])

# %%
means = errors.groupby("how", sort=False)["error"].agg(["mean", "std"])
half = stats.t.ppf(0.975, 4) * means["std"] / 5**0.5
figure, ax = plt.subplots(figsize=(7, 2.3), layout="constrained")
ax.barh(means.index, means["mean"], xerr=half, color=plots.BLUE, capsize=4)
ax.invert_yaxis()
ax.set(xlabel="mean absolute error of the filled rating (rating points, -4 to 4)", ylabel="way to fill")
plots.show(figure, "Bars of the mean error with 95% intervals over five seeds: prediction from the words is the most exact, mean and median follow, interpolation between neighbouring rows is the worst.")
print(means["mean"].round(2).to_dict())
assert means["mean"].idxmin() == "predict"
assert means["mean"].idxmax() == "interpolate"

# %% [markdown]
# Prediction from the words is closest, because good words make good ratings. It is still off by about one point on a scale of eight. Interpolation is the worst, because our rows have no order. It is meant for series in time, where neighbours resemble each other.
#
# Two warnings. Here the *label* was made from the rating, so a model that predicts the rating from the label would look splendid, and would hide the answer in a feature. And a filled value is a guess: keep a column that says which ones were filled.

# %% tags=["nbval-check-output"]
missing = texts["rating"] == ""
for how in ("drop", "mean"):
    values, counts = cleaning.fill_missing(pd.to_numeric(texts["rating"], errors="coerce"), how)
    print(how, counts)
texts["rating_was_missing"] = missing

# %% [markdown]
# ## 5.9 Label errors: confident disagreement
#
# Somebody clicked on the wrong animal. Which labels are wrong? Nobody can look at everything, but a model can say where to look: rows whose given label it finds very improbable. The probabilities must be **out of fold**: for each row from a model that was trained without it.
#
# As a model we take a logistic regression on the frozen features of EfficientNet (chapter 04). First one row per picture:

# %%
classifier = image_classifier(classes=sources.ANIMALS)
all_features = image_features(classifier, single).numpy()  # (N, 1280)
one_each = single[single["kind"] != "near"].drop_duplicates("source").reset_index(names="place")
features = all_features[one_each["place"]]
folds = StratifiedKFold(10, shuffle=True, random_state=0)
probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
probabilities = cross_val_predict(probe, features, one_each["label"], cv=folds, method="predict_proba")

# %%
wrong_labels = np.flatnonzero(one_each["label"] != one_each["true_label"])
suspects = inspection.label_suspects(probabilities, one_each["label"].tolist(), sources.ANIMALS)
scores = report("label errors, pictures", suspects["row"], wrong_labels)
assert scores["precision"] >= 0.6
assert scores["recall"] >= 0.6

# %%
figure, axes = plt.subplots(1, 8, figsize=(9.5, 1.9), layout="constrained")
titles = [f"{row.label}?\nrather {row.suggestion}" for row in suspects.head(8).itertuples()]
plots.image_row(axes, [pictures[place] for place in one_each["place"][suspects["row"].head(8)]], titles)
plots.show(figure, "The eight most suspicious pictures, each with the label that it has and the label that the model would give; most of them plainly show the suggested animal.")

# %% [markdown]
# The list is for a *person* who looks at it from the top. Do not let the model overwrite labels by itself: it is wrong in the share of cases that the precision leaves, and it would remove just those rows from which it could learn something.
#
# ### What went wrong: asking the model about what it has learnt by heart
#
# It is tempting to train one model on everything and to look where it disagrees. **Guess** what that finds.

# %%
in_fold = probe.fit(features, one_each["label"]).predict_proba(features)
by_heart = report("trained on the same rows", inspection.label_suspects(in_fold, one_each["label"].tolist(), sources.ANIMALS)["row"], wrong_labels)
assert by_heart["recall"] < 0.3 < scores["recall"]

# %% [markdown]
# Next to nothing. The model was told these labels, and it repeats them.
#
# For comments the same idea is much weaker, because the labels are not certain in themselves: nobody can call a comment near the border wrong. But comments have a second column that must agree with the label: the rating. **Compare columns before you train models.**

# %%
single_texts = texts[texts["kind"] != "conflicting"].drop_duplicates("source").reset_index(drop=True)
wrong_comments = np.flatnonzero(single_texts["label"] != single_texts["true_label"])
by_words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000))
p = cross_val_predict(by_words, single_texts["repaired"], single_texts["label"], cv=StratifiedKFold(5, shuffle=True, random_state=0), method="predict_proba")
by_model = report("comments, by a model", inspection.label_suspects(p, single_texts["label"].tolist(), sources.SENTIMENTS)["row"], wrong_comments)
rated = np.flatnonzero(~single_texts["rating_was_missing"])
disagree = sources.sentiment(single_texts["rating"].iloc[rated].astype(float)) != single_texts["label"].iloc[rated]
by_column = report("comments, label against rating", rated[disagree], wrong_comments)
print(f"by chance, the precision would be {len(wrong_comments) / len(single_texts):.2f}")
assert by_column["precision"] == 1
assert by_column["recall"] > 0.8 > by_model["recall"]

# %% [markdown]
# The model finds few, and many of them are no errors; that is better than chance, and no more. The comparison of two columns is never wrong here, and it misses only rows whose rating is missing.
#
# ### All detectors, on piles they had not seen
#
# One pile may be luck. `benchmarks/cleaning.py` measured all detectors on six piles that nobody had looked at when the thresholds were chosen:

# %%
measured = json.loads((assets.ROOT / "benchmarks" / "results" / "cleaning.json").read_text(encoding="utf-8"))["seeds"]
rows = [(data, what, run["seed"], score["precision"], score["recall"])
        for run in measured if run["seed"] != 0 for data in ("pictures", "comments") for what, score in run[data].items()]  # fmt: skip
detectors = pd.DataFrame(rows, columns=["data", "detector", "seed", "precision", "recall"])
summary = detectors.groupby(["data", "detector"], sort=False)[["precision", "recall"]].agg(["mean", "min", "max"])

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained", sharey=True)
names = [f"{data}: {what}" for data, what in summary.index]
for axis, metric in zip(axes, ("precision", "recall")):
    axis.hlines(names, summary[metric]["min"], summary[metric]["max"], color=plots.SKY, linewidth=6)
    axis.plot(summary[metric]["mean"], names, "o", color=plots.BLUE)
    axis.set(xlabel=f"{metric} (mean and range of six piles)", xlim=(0, 1.05))
axes[0].invert_yaxis()
plots.show(figure, "Precision and recall of nine detectors on six piles: unreadable files and exact duplicates at 1, near-duplicates close to 1, label errors of pictures high, label errors of comments by a model low, by comparison with the rating high.")

# %% tags=["nbval-check-output"]
print(summary.round(2).to_string())
worst = detectors.groupby(["data", "detector"])[["precision", "recall"]].min()
for data in ("pictures", "comments"):
    assert (worst.loc[data].loc[["exact", "unreadable"]] == 1).all(axis=None)
    assert (worst.loc[(data, "near")] >= 0.95).all()
assert (worst.loc[("pictures", "labels")] >= 0.6).all()

# %% [markdown]
# Exact copies and unreadable files are found without exception, near-duplicates nearly so, wrong labels of pictures mostly. Wrong labels of comments cannot be found from their words alone; there is no clever threshold that changes that.
#
# ## 5.10 Ask how far people agree
#
# How good could labels be at all? Each comment was rated by many people. **Krippendorff's alpha** compares how often two raters of the *same* comment differ with how often two ratings of *any* comments differ: 1 means they always agree, 0 means they agree as often as chance.

# %%
print(inspect.getsource(inspection.krippendorff_alpha).split('"""')[2])

# %%
alpha = {"all": inspection.krippendorff_alpha(rated_comments["ratings"])}
for platform, rows in rated_comments.groupby("platform", sort=False):
    alpha[platform] = inspection.krippendorff_alpha(rows["ratings"])
majority = sources.rater_shares(rated_comments["ratings"]).max(1)  # (N,): share of the most frequent class
print({name: round(value, 2) for name, value in alpha.items()})

# %%
figure, (left, right_axis) = plt.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained")
left.bar(list(alpha), list(alpha.values()), color=[plots.GREY] + [plots.BLUE] * 4)
left.set(ylabel="Krippendorff's alpha (ratings)", ylim=(0, 1), xlabel="platform")
for name, color, style in zip(sources.SENTIMENTS, (plots.VERMILION, plots.GREY, plots.BLUE), ("-", "--", ":")):
    chosen = np.sort(majority[(rated_comments["label"] == name).to_numpy()])
    right_axis.plot(chosen, np.linspace(0, 1, len(chosen)), color=color, linestyle=style, label=name)
right_axis.set(xlabel="share of the raters who chose the most frequent class", ylabel="share of the comments with less", xlim=(0.3, 1))
right_axis.legend(frameon=False)
plots.show(figure, "Left: alpha of all comments and of each platform. Right: how united the raters are, for each label; for neutral comments the most frequent class has fewer votes than for the others.")

# %%
united = {name: majority[(rated_comments["label"] == name).to_numpy()].mean() for name in sources.SENTIMENTS}
print({name: f"{share:.0%}" for name, share in united.items()})
assert min(united, key=united.get) == "neutral"
assert 0.3 < min(alpha.values()) < max(alpha.values()) < 0.95

# %% [markdown]
# The raters agree on most of the rating, but not on all of it, and least about neutral comments. If your raters agree little, no model can be "right" more often than they are: improve the instructions for labelling before you improve the model. Chapter 07 uses the votes themselves as soft labels.
#
# ## 5.11 Split without leaks
#
# A **leak** is anything that lets test rows help in training. Near-duplicates are one: the copy in training gives away the answer in the test. Dropping them is one cure. The other is to give copies, and whatever belongs together, one **group**, and to keep groups whole.

# %% tags=["nbval-check-output"]
print(inspect.getsource(duplicates.joined_groups).split('"""')[2])

# %%
grouped, group_counts = duplicates.joined_groups(single, pairs)
parts = splits.split(grouped)
print(group_counts)
print({name: len(rows) for name, rows in parts.items()})
assert not set(parts["train"]["group"]) & set(parts["test"]["group"])

# %% [markdown]
# What would a leak have flattered? We compare two ways to split the same rows, ten times: row by row at random, and by group. The model is the one that shows it best, the nearest neighbour: it remembers every training row.

# %%
groups = grouped["group"].to_numpy()
twins = pd.Series(groups).duplicated(keep=False).to_numpy()  # rows that have a near-duplicate


def score_of_split(train, test):
    """Share of right answers on the test rows that have a twin somewhere, and on all test rows."""
    nearest = KNeighborsClassifier(1).fit(all_features[train], single["label"].to_numpy()[train])
    right = nearest.predict(all_features[test]) == single["label"].to_numpy()[test]
    return right[twins[test]].mean(), right.mean()


# %%
leaks = []
for seed in range(10):
    rng = np.random.default_rng(seed)
    by_row = rng.permutation(len(single)) < 0.7 * len(single)
    in_train = set(rng.permutation(np.unique(groups))[: int(0.7 * len(np.unique(groups)))])
    by_group = np.array([group in in_train for group in groups])
    for name, train in (("row by row", by_row), ("by group", by_group)):
        leaks.append((name, *score_of_split(np.flatnonzero(train), np.flatnonzero(~train))))
leaks = pd.DataFrame(leaks, columns=["split", "rows with a twin", "all rows"])

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.8), layout="constrained", sharey=True)
for axis, column in zip(axes, ("all rows", "rows with a twin")):
    axis.boxplot([leaks.loc[leaks["split"] == name, column] for name in ("by group", "row by row")], widths=0.5)
    axis.set(title=column, xlabel="split")
    axis.set_xticks([1, 2], ["by group", "row by row"])
axes[0].set(ylabel="accuracy on test rows")
plots.show(figure, "Accuracy over ten splits: among rows that have a near-duplicate, splitting row by row scores clearly higher than splitting by group; over all rows the difference is small.")
means = leaks.groupby("split").mean()
flattery = means.loc["row by row"] - means.loc["by group"]
print({column: f"{value:+.1%}" for column, value in flattery.items()})
assert flattery["rows with a twin"] > 0.02

# %% [markdown]
# Among rows with a twin the leak is plain; over all rows it is diluted, because most rows have none. In a collection where one video gives a hundred frames, *every* row has a twin. The model has not become better by one picture. Only the number has.
#
# ## 5.12 Augment pictures
#
# **Augmentation** shows the model changed versions of its training rows. Each change says: this does not matter. If that is true for your task, the model learns from it; if it is false, you are planting wrong labels.

# %%
giraffe = next(picture for picture, label in zip(pictures, single["label"]) if label == "giraffe")
preprocessing = classifier.preprocessor
figure, axes = plt.subplots(2, 7, figsize=(9.5, 3), layout="constrained")
for row in range(2):
    torch.manual_seed(row + 3)
    versions = [evaluation_preset(preprocessing)(giraffe)] + [training_preset(preprocessing, augmentations=(name,))(giraffe) for name in AUGMENTATIONS]
    plots.image_row(axes[row], [version / 2 + 0.5 for version in versions], ["as it is", *AUGMENTATIONS])
plots.show(figure, "A giraffe as it is and after crop, flip, upside-down flip, rotation, colour and noise, two random draws each; some draws change nothing.")

# %% [markdown]
# Guess before you scroll: we fine-tune EfficientNet on 200 silhouettes, with one change at a time, three seeds each. Which changes help on plain validation pictures? Which on rotated ones? `benchmarks/augmentation.py` took the time; all variants have the same number of steps.

# %%
augmented = json.loads((assets.ROOT / "benchmarks" / "results" / "augmentation.json").read_text(encoding="utf-8"))
runs = pd.DataFrame([
    {"task": run["task"], "variant": run["variant"], "seed": run["seed"], "view": view, "score": metrics["accuracy" if run["task"] == "images" else "macro_f1"]}
    for run in augmented["runs"] for view, metrics in run["reported"].items()
])  # fmt: skip


def interval(scores):
    """Mean and half width of the 95% t-interval over the seeds."""
    scores = scores.dropna()
    return scores.mean(), stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / len(scores) ** 0.5


# %%
pictures_table = {key: interval(rows["score"]) for key, rows in runs[runs["task"] == "images"].groupby(["view", "variant"], sort=False)}
variants = [variant for view, variant in pictures_table if view == "plain"]
figure, axes = plt.subplots(1, 3, figsize=(9.8, 3.2), layout="constrained", sharey=True)
for axis, view in zip(axes, ("plain", "rotated", "noisy")):
    values, halves = zip(*(pictures_table[view, variant] for variant in variants))
    axis.errorbar(values, variants, xerr=halves, fmt="o", color=plots.BLUE, capsize=4)
    axis.axvline(values[0], color=plots.VERMILION, linestyle="--")
    axis.set(title=f"{view} pictures", xlabel="accuracy (validation)")
axes[0].invert_yaxis()
plots.show(figure, "Accuracy with 95% intervals for eight kinds of augmentation on plain, rotated and noisy validation pictures; a dashed line marks training without augmentation. On noisy pictures training with noise stands far above all others; upside-down flips are lowest on plain pictures.")

# %%
for view in ("plain", "rotated", "noisy"):
    for variant in variants[1:]:
        paired = runs[(runs["task"] == "images") & (runs["view"] == view)].pivot(index="seed", columns="variant", values="score")
        difference, half_width = interval(paired[variant] - paired["none"])
        verdict = "helps" if difference > half_width else "hurts" if -difference > half_width else "the seeds cannot tell"
        print(f"{view:<8} {variant:<12} {difference:+.3f} ± {half_width:.3f}  {verdict}")

# %%
mean = {key: value for key, (value, _) in pictures_table.items()}
assert mean["noisy", "noise"] > mean["noisy", "none"] + 0.3
assert min(variants, key=lambda variant: mean["plain", variant]) == "upside_down"

# %% [markdown]
# Read the verdicts line by line. One rule explains most of them: **a change helps on pictures that vary as it does.** Trained with noise, the model keeps working on noisy pictures, where every other variant is close to guessing.
# Animals standing on their heads are in no validation set, and learning them takes steps away from the upright ones: that mean is the lowest on plain pictures. Silhouettes have no colour, so a change of colour has nothing to teach.
#
# On plain pictures the differences are small, and a few seeds cannot tell most of them from chance. So do not ask "which augmentation is good?". Ask: how will the pictures of my users differ from mine?
#
# ### What went wrong: a flip in the validation set
#
# Articles define one `transform` with a random flip and a random crop, and use it for training *and* validation. Nothing fails. We train one probe on the plain features and validate it several times, with nothing changed in between.

# %%
held_out = splits.subsample(parts["validation"], 100)
in_training = grouped["id"].isin(parts["train"]["id"]).to_numpy()
trained = probe.fit(all_features[in_training], grouped["label"][in_training])


def validate(transform, epoch):
    """Accuracy of the probe on the validation pictures, as `transform` shows them in one epoch."""
    dataset = ImageDataset(held_out, transform)
    dataset.set_epoch(epoch)
    images = torch.stack([sample["image"] for sample in dataset])  # (N, 3, 96, 96)
    with torch.inference_mode():
        found = classifier.model.eval().forward_head(classifier.model.forward_features(images), pre_logits=True)
    return trained.score(found.numpy(), held_out["label"])


# %%
with_random = [validate(training_preset(preprocessing), epoch) for epoch in range(4)]
without = [validate(evaluation_preset(preprocessing), epoch) for epoch in range(2)]
print("training preset:  ", " ".join(f"{score:.3f}" for score in with_random))
print("evaluation preset:", " ".join(f"{score:.3f}" for score in without))
print(f"means: {np.mean(with_random):.3f} and {np.mean(without):.3f}")
assert len(set(with_random)) > 1
assert len(set(without)) == 1

# %% [markdown]
# The same model, the same rows, another score each time: the validation score has become a dice roll, and the "best epoch" is the one with the lucky roll. And its mean is another one, too, because the model is judged on pictures that nobody will ever send it.
#
# **Rule:** two presets. `training_preset` may be random, `evaluation_preset` never.
#
# ## 5.13 Augment texts
#
# Changing a word may change the meaning, so texts are harder. Three simple changes: swap two neighbouring words, delete a word, replace a word by a similar one. For "similar" we would like a masked language model, which reads the sentence and proposes words for a gap. Does our encoder have the **masked-language head** that this needs?

# %% tags=["nbval-check-output"]
stored = load_file(assets.path("minilm") / "model.safetensors")
heads = [name for name in stored if name.startswith(("cls.", "lm_head"))]
print("tensors of a masked-language head in MiniLM:", heads)
assert not heads

# %% [markdown]
# It has none: MiniLM was published as a sentence encoder, and its head was thrown away. (With a network, `augmentation.masked_words` does it with `bert-base-uncased`.) What MiniLM does have is a table with one vector for each word. Words in similar company have similar vectors, so we use **embedding neighbours**:

# %%
encoder = text_classifier()
neighbours = augmentation.WordNeighbours(encoder.preprocessor, encoder.model.get_input_embeddings().weight)
for word in ("phone", "movie", "wonderful", "terrible", "good", "never"):
    print(f"{word:<10} {neighbours(word)}")
assert "bad" in neighbours("good")

# %% [markdown]
# Read the last two lines twice. "Good" and "bad" are neighbours, because they stand in the same sentences. "Never" and "ever" are neighbours, too. A neighbour is not a synonym.

# %%
sentence = "This isn't a good phone, but the price is great and I love the camera."
rng = np.random.default_rng(4)
for name, change in (("swap", augmentation.swap_words), ("delete", augmentation.delete_words), ("replace", lambda t, r: augmentation.replace_words(t, r, neighbours))):
    for _ in range(2):
        print(f"{name:<8} {change(sentence, rng)}")

# %% [markdown]
# ### What went wrong: the change that changes the label
#
# How often does a harmless-looking change touch the words that carry the label? Two counts on real comments: comments that lose their negation when a tenth of the words is deleted, and replaced words whose mood turns round, judged by the VADER lexicon of moods.

# %%
some = rated_comments["text"].sample(2000, random_state=0).map(cleaning.clean_text)
negated = [text for text in some if any(map(augmentation.is_negation, text.split()))]
rng = np.random.default_rng(0)


def negations(text):
    return sum(map(augmentation.is_negation, re.findall(r"[\w'’]+", text)))


lost = {}
for name, keep in (("delete anything", None), ("keep negations", augmentation.is_negation)):
    lost[name] = np.mean([negations(augmentation.delete_words(text, rng, keep=keep)) < negations(text) for text in negated])
    print(f"{name:<16} {lost[name]:.0%} of {len(negated)} comments with a negation lose one")
assert lost["keep negations"] == 0 < 0.03 < lost["delete anything"]

# %%
mood = SentimentIntensityAnalyzer().lexicon
moody = [word for word in neighbours.words if abs(mood.get(word, 0)) >= 1.8]
turned = [(word, other) for word in moody for other in neighbours(word) if mood.get(other, 0) * mood[word] < 0]
pairs_of_words = sum(len(neighbours(word)) for word in moody)
print(f"{len(turned)} of {pairs_of_words} neighbours of words with a mood have the opposite mood: {len(turned) / pairs_of_words:.0%}")
print("for example:", ", ".join(f"{word} → {other}" for word, other in turned[:: len(turned) // 6][:6]))
assert len(turned) > 50

# %% [markdown]
# Each such change keeps the label and turns the text round. And the effect on a fine-tuned MiniLM? 200 comments, each with three changed copies, against the same comments four times; three seeds.

# %%
text_runs = runs[runs["task"] == "sentiment"].pivot(index="seed", columns="variant", values="score")
text_variants = list(dict.fromkeys(runs.loc[runs["task"] == "sentiment", "variant"]))
values, halves = zip(*(interval(text_runs[variant]) for variant in text_variants))
figure, ax = plt.subplots(figsize=(7, 2.5), layout="constrained")
ax.errorbar(values, text_variants, xerr=halves, fmt="o", color=plots.BLUE, capsize=4)
ax.axvline(values[0], color=plots.VERMILION, linestyle="--", label="the same comments, unchanged")
ax.invert_yaxis()
ax.set(xlabel="macro-F1 (validation), mean and 95% interval of three seeds", ylabel="change")
ax.legend(frameon=False)
plots.show(figure, "Macro-F1 with intervals for no change, swap, delete, replace and replacing half of the words; the intervals are wide and overlap.")

# %%
for variant in text_variants[1:]:
    difference, half_width = interval(text_runs[variant] - text_runs["none"])
    verdict = "helps" if difference > half_width else "hurts" if -difference > half_width else "the seeds cannot tell"
    print(f"{variant:<13} {difference:+.3f} ± {half_width:.3f}  {verdict}")

# %% [markdown]
# Compare the differences with the half widths behind them before you believe in any. A pretrained encoder has read millions of sentences; it knows already that "wonderful" and "lovely" are related, so such copies tell it little that is new. If you have an hour, label fifty more
# comments: that is new.
#
# Whatever you change, change **training rows after the split**. A copy made before the split is a near-duplicate on the other side. `with_copies` leaves the group as it is, so that a late split would still keep them together:

# %% tags=["nbval-check-output"]
three = texts.head(3).rename(columns={"repaired": "text", "text": "raw"})[["id", "text", "label"]]
copies = augmentation.with_copies(three, augmentation.swap_words, copies=1)
print(copies["id"].tolist())
assert len(copies) == 6

# %% [markdown]
# ## 5.14 From a folder and a labels file to batches
#
# Everything together, as you would do it with your own pile: inspect, convert, drop exact copies, join groups, split, and write a labels file. The pile is already inspected and converted; suspects wait for a person, so we leave them out here, and count them.

# %%
clean = grouped[~grouped["file"].isin(one_each["file"][suspects["row"]])].copy()
clean["file"] = [os.path.relpath(path, root) for path in clean["path"]]
clean[["file", "label", "group"]].to_csv(root / "clean.csv", index=False, encoding="utf-8")
rows, problems = sources.from_labels_file(root / "clean.csv")
print(f"{len(rows)} rows, {len(problems)} problems")
assert not problems

# %% [markdown]
# `from_labels_file` pairs by name and decodes each file once. The groups come from our own column:

# %%
rows = rows.assign(group=clean["group"].to_numpy())
parts = splits.split(rows)
train = ImageDataset(parts["train"], training_preset(preprocessing), sources.ANIMALS, seed=0)
loader = make_loader(train, 32, collate_images, shuffle=True, seed=0)
batch = next(iter(loader))
print({name: tuple(tensor.shape) for name, tensor in batch.items()})
print(f"range {batch['images'].min():.1f} to {batch['images'].max():.1f}, mean {batch['images'].mean():.2f}")
assert batch["images"].shape[1:] == (3, 96, 96)

# %%
figure, axes = plt.subplots(2, 8, figsize=(9.5, 2.9), layout="constrained")
plots.image_row(axes.flat, batch["images"][:16] / 2 + 0.5, [sources.ANIMALS[label] for label in batch["labels"][:16]])
plots.show(figure, "Sixteen pictures of the first training batch with their labels: all upright, grey on black, each under the name of the animal that it shows.")

# %% [markdown]
# Look at one batch before you train: the pictures, their labels, the range. This picture would have shown most mistakes of this chapter.
#
# ## 5.15 Write the data card
#
# A **data card** is what somebody must know before using your dataset. Numbers come from measurements; six answers must come from you, and `data_card` refuses to write a card without them.

# %%
steps = [("read every file", {"files": len(visible), "unreadable": int(visible["problem"].notna().sum())}), ("convert to RGB", convert_counts),
         ("exact duplicates", exact_counts), ("near-duplicates joined", group_counts), ("suspicious labels set aside", {"rows": len(suspects)})]  # fmt: skip
answers = {
    "source": "Package animal-mnist 0.4, damaged on purpose by chapter 05 of this course.",
    "licence": "MIT.",
    "collected": "Drawn from the package with seed 21; see helpers/teaching/mess.py.",
    "labels": "Those of the package; "
    f"{mess.Amounts().label_errors:.0%} were changed on purpose, and suspicious ones were set aside.",
    "intended use": "Practising how to clean data.",
    "limits": "Silhouettes on black, ten kinds of animals; it says nothing about photographs.",
}
checks = {"precision of the near-duplicate search": f"{precision:.2f}", "its recall": f"{recall:.2f}"}

# %%
card = data_card("Silhouettes, cleaned", answers, parts, steps, checks)
(root / "CARD.md").write_text(card, encoding="utf-8")
print(card)

# %% tags=["nbval-check-output"]
try:
    data_card("No licence", answers | {"licence": ""}, parts, steps, checks)
except ValueError as error:
    print(error)
else:
    raise AssertionError("a card without a licence was written")
folder.cleanup()

# %% [markdown]
# ## Recap
#
# | step | tool of this course | the number to write down |
# |---|---|---|
# | collect | `PoliteScraper`, BeautifulSoup | pages asked for, refused, failed; the licence |
# | read every file | `inspect_images`, `read_table` | unreadable, hidden, misnamed |
# | convert | `to_rgb`, `convert_images` | how many were changed |
# | duplicates | `drop_duplicates`, `near_pictures`, `near_texts` | precision and recall on planted ones |
# | repair texts | `text_of_html`, `clean_text` | repaired, still broken |
# | missing values | `fill_missing` | error on values removed on purpose |
# | label errors | `label_suspects`, or a second column | suspects, and how many a person confirmed |
# | agreement | `krippendorff_alpha` | alpha |
# | split | `joined_groups`, `split` | shared groups: zero |
# | augment | `training_preset`, `with_copies` | effect over seeds, with an interval |
# | hand over | `from_labels_file`, `data_card` | all of the above |
#
# The mistakes that this chapter broke on purpose: a rude scraper (5.2), a dataset class with four of them (5.4), sixteen bits cut to white (5.5), a model asked about what it knows by heart (5.9), a random flip in validation (5.12) and a change that changes the label (5.13).
#
# ## Glossary
#
# * **public dataset**, **by hand**, **scraping**: three ways to get rows.
# * **regular expression**, **parser**: a pattern of characters; a program that reads the structure.
# * **ground truth**: what is really so; here, what was planted.
# * **precision**, **recall**: share of the findings that are right; share of the faults that were found.
# * **mode**: how a picture stores a pixel (grey, RGB, palette, CMYK, 16 bits).
# * **exact duplicate**, **normalised duplicate**, **near-duplicate**: same bytes; same letters; same thing.
# * **hash**, **perceptual hash**: a short number of the bytes; of what the picture looks like.
# * **candidates**: pairs that a quick test proposes and a careful one decides.
# * **precision-recall curve**: both, for every threshold.
# * **encoding**, **mojibake**: which bytes stand for which letters; text read with the wrong one.
# * **imputation**: filling gaps.
# * **out of fold**: predicted by a model that was trained without the row.
# * **Krippendorff's alpha**: agreement of raters beyond chance.
# * **leak**, **group**: test rows that help in training; rows that stay on one side.
# * **augmentation**: changed versions of training rows.
# * **masked-language head**, **embedding neighbours**: proposes words for a gap; words with similar vectors.
# * **data card**: what a user of the data must know.
#
# ## Exercises
#
# Each exercise has a check, hints and a solution: `ch05.next_step.check(next_step)`, `ch05.next_step.hint()`, `ch05.next_step.solution()`.
#
# **Exercise 1: what next?** Write `next_step(status, attempt, retry_after)` for a polite scraper: return `"use"`, `"give up"`, or the seconds to wait before the next attempt. 429, 500, 502, 503 and 504 mean "later"; there are at most 4 attempts. After attempt 1 wait 4 seconds, then 8, then 16, but at least
# `retry_after` seconds if the server said so (it may be `None`).

# %%
def next_step(status, attempt, retry_after): ...  # your code here


ch05.next_step.check(next_step)

# %% [markdown]
# **Exercise 2: groups from pairs.** Write `group(size, pairs)`: a list of `size` group numbers. Rows that a pair joins share a number, also through others: with the pairs (0, 1) and (1, 2), rows 0 and 2 belong together. Which numbers you use does not matter.

# %%
def group(size, pairs): ...  # your code here


ch05.group.check(group)

# %% [markdown]
# **Exercise 3: find the suspects.** Write `suspects(probabilities, labels, most)`: the rows whose own label has a probability of at most `most` and is not the most probable class, the most improbable label first. `probabilities` is an array (N, C), `labels` an array (N,) of class numbers.

# %%
def suspects(probabilities, labels, most): ...  # your code here


ch05.suspects.check(suspects)

# %% [markdown]
# ## Where to go next
#
# You have a dataset. [Chapter 06](06_image_case_study.ipynb) trains an image classifier on one, [chapter 07](07_sentiment_case_study.ipynb) a sentiment model. With your own pile, begin today with `inspection.inspect_images(Path("your folder"))` and read the table from top to bottom.
