"""Appendix A: the tools of the trade with one line each, the versions found on this machine, and a
chooser.
"""

import html
import importlib.metadata
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass

import ipywidgets as widgets

from lessons.controls import explorer, wide
from lessons.workflows import link_to


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: as its makers write it.
        area: the section of appendix A: "data", "training", "debugging", "hubs".
        source: "package:NAME", "command:NAME" or "python" (part of Python itself): how to find its version.
        what: what it is for.
        not_for: when another one is better.
        line: one line of code (or of a terminal), runnable in appendix A where the tool is installed and
            needs no network.
        heading: of a section that does such work, with this tool or another; empty where none does.
        docs: address of its official documentation.
    """

    name: str
    area: str
    source: str
    what: str
    not_for: str
    line: str
    heading: str
    docs: str


TOOLS = (
    Tool("NumPy", "data", "package:numpy", "arrays of numbers of one type, and arithmetic on all of them at "
                                           "once",
         "rows with names and mixed types (pandas), gradients or a GPU (PyTorch)",
         "images[animals.label == name].mean(axis=0)", "2.5 Scale, standardise, augment", "https://numpy.org/doc/stable/"),
    Tool("pandas", "data", "package:pandas", "tables: read, join, group, find what is missing",
         "more rows than memory holds, or arithmetic on pictures (NumPy)",
         'comments.groupby("platform")["rating"].agg(["size", "mean"])', "5.8 Missing values: drop, fill or "
                                                                         "predict", "https://pandas.pydata.org/docs/"),
    Tool("scikit-learn", "data", "package:scikit-learn", "splits, metrics, and baselines that train in "
                                                         "seconds",
         "deep networks, GPUs, data that does not fit in memory",
         "make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(train.text, train.label)", "7.7 A "
                                                                                                "ladder of "
                                                                                                "baselines", "https://scikit-learn.org/stable/"),
    Tool("PyTorch", "training", "package:torch", "tensors with gradients, and the loop that you write "
                                                 "yourself",
         "tables (pandas) and small linear models (scikit-learn)",
         "loss.backward()", "3.5 One training step", "https://docs.pytorch.org/"),
    Tool("torch.utils.data", "training", "package:torch", "rows of any kind into shuffled batches, read by "
                                                          "several processes",
         "a table that fits into one model at once (scikit-learn)",
         "DataLoader(TensorDataset(pixels, targets), batch_size=32, shuffle=True)", "2.3 Collating: from a "
                                                                                    "list of samples to one "
                                                                                    "batch",
         "https://docs.pytorch.org/docs/stable/data.html"),
    Tool("TensorFlow", "training", "package:tensorflow", "another library for tensors and gradients, with "
                                                         "its own deployment tools",
         "this course, which needs one library for tensors: take it where your team already has it",
         'tf.data.Dataset.from_tensor_slices(comments["text"].tolist()).batch(32)', "3.8 The whole loop, by "
                                                                                    "hand, and as you will "
                                                                                    "import it", "https://www.tensorflow.org/"),
    Tool("Transformers", "training", "package:transformers", "pretrained text models with the tokenizer that "
                                                             "belongs to each",
         "networks for pictures alone (timm), or a model that you design from nothing (PyTorch)",
         'AutoTokenizer.from_pretrained(assets.path("minilm")).tokenize(comment)', "7.5 From words to tokens", "https://huggingface.co/docs/transformers"),
    Tool("accelerate", "training", "package:accelerate", "the same loop on a CPU, a GPU or many of them",
         "a loop that will never leave one device and one precision",
         "accelerate.Accelerator().prepare(layer, loader)", "8.10 Many processes, one model", "https://huggingface.co/docs/accelerate"),
    Tool("PEFT", "training", "package:peft", "training small matrices (LoRA) beside frozen weights",
         "small models, where all weights fit and train in minutes",
         'inject_adapter_in_model(LoraConfig(r=8, target_modules=["query", "value"]), encoder)',
         "4.9 LoRA: small matrices beside the frozen ones", "https://huggingface.co/docs/peft"),
    Tool("timm", "training", "package:timm", "image networks, all built and called in the same way",
         "texts, and tasks other than classification and features",
         'timm.create_model("tf_efficientnet_lite0", num_classes=10)', "6.3 The network: swap the head", "https://huggingface.co/docs/timm"),
    Tool("torchvision", "training", "package:torchvision", "reading, resizing and augmenting pictures; a few "
                                                           "classic networks",
         "the newest networks (timm)",
         "v2.RandomRotation((30, 30))(picture)", "5.12 Augment pictures", "https://docs.pytorch.org/vision/"),
    Tool("datasets", "training", "package:datasets", "public data sets of the Hugging Face hub, and tables "
                                                     "larger than memory",
         "a few thousand rows of your own (pandas)",
         'datasets.Dataset.from_pandas(comments[["text", "label"]])', "5.1 Collect: three ways to get rows", "https://huggingface.co/docs/datasets"),
    Tool("ONNX Runtime", "training", "package:onnxruntime", "running a finished model without PyTorch, often "
                                                            "smaller and faster",
         "training, and models that still change every day",
         'onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])', "8.4 Dynamic int8: a "
                                                                                       "byte per weight", "https://onnxruntime.ai/docs/"),
    Tool("FastAPI", "training", "package:fastapi", "a model behind an HTTP address, with checked inputs",
         "work through many files at once (a script is simpler)",
         'app.post("/predict")(label_of)', "8.7 Serve it under load", "https://fastapi.tiangolo.com/"),
    Tool("Jupyter", "debugging", "package:jupyterlab", "explaining and exploring: text, code and pictures on "
                                                       "one page",
         "code that others import, and jobs that run for hours (modules and scripts)",
         'nbformat.read("B_flowcharts.ipynb", as_version=4)', "0.2 Where am I running?", "https://docs.jupyter.org/"),
    Tool("VS Code", "debugging", "command:code", "an editor with a debugger, on your machine or on a server",
         "a first look at data (Jupyter)", "code --goto helpers/data/collate.py:20", "", "https://code.visualstudio.com/docs"),
    Tool("Docker", "debugging", "command:docker", "the same system libraries and versions on every machine",
         "one laptop and one person: an environment in .venv does it",
         'docker run --rm -it --shm-size=1g -v "$PWD":/course -v /course/.venv -w /course python:3.12 make '
         'test', "", "https://docs.docker.com/"),
    Tool("pdb", "debugging", "python", "stopping inside a program and asking for values",
         "failures that only show after an hour (write a log)",
         "pdb.post_mortem(error.__traceback__)", "2.3 Collating: from a list of samples to one batch", "https://docs.python.org/3/library/pdb.html"),
    Tool("torch.profiler", "debugging", "package:torch", "which operation takes the time, on CPU and GPU",
         "Python code between the operations (cProfile)",
         "torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])", "6.9 Look inside a "
                                                                                     "step: the profiler", "https://docs.pytorch.org/docs/stable/profiler.html"),
    Tool("nbdime", "debugging", "package:nbdime", "differences of notebooks, cell by cell",
         "plain Python files (git does it)", "nbdime.diff_notebooks(before, after)", "", "https://nbdime.readthedocs.io/"),
    Tool("Hugging Face Hub", "hubs", "package:huggingface_hub", "models and data sets with their cards, at a "
                                                                "revision that you can pin",
         "weights without a card or licence, wherever they are",
         'hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", "config.json", revision="main")',
         "4.1 Choose: what did the model learn, and from what?", "https://huggingface.co/docs/hub"),
    Tool("torch hub", "hubs", "package:torch", "models that a repository offers by a file hubconf.py",
         "repositories that you do not trust: it runs their code",
         'torch.hub.load("pytorch/vision", "resnet50", weights="IMAGENET1K_V2")', "6.3 The network: swap the "
                                                                                  "head", "https://docs.pytorch.org/docs/stable/hub.html"),
    Tool("OpenML", "hubs", "package:scikit-learn", "tables with tasks and fixed splits, for comparing methods",
         "pictures, long texts", 'fetch_openml("adult", version=2, as_frame=True)', "5.1 Collect: three ways "
                                                                                    "to get rows", "https://docs.openml.org/"),
    Tool("Kaggle", "hubs", "command:kaggle", "competitions and data sets, with what others tried",
         "data whose origin or licence you must be able to name: many uploads do not say",
         "kaggle competitions list", "5.1 Collect: three ways to get rows", "https://www.kaggle.com/docs"),
)  # fmt: skip

# (what you have, what you want, the tool)
CHOICES = (
    ("a table of rows", "see what is in it, and repair it", "pandas"),
    ("a table of rows", "a first model and an honest score", "scikit-learn"),
    ("a table of rows", "batches for a network", "torch.utils.data"),
    ("a table of rows", "work on more rows than memory holds", "datasets"),
    ("arrays of numbers", "fast arithmetic on all of them", "NumPy"),
    ("arrays of numbers", "gradients", "PyTorch"),
    ("texts", "a score to beat, in a minute", "scikit-learn"),
    ("texts", "a pretrained model for them", "Transformers"),
    ("pictures", "resize, crop, rotate and flip them", "torchvision"),
    ("pictures", "a pretrained network for them", "timm"),
    ("a model too large to train", "train a small part of it", "PEFT"),
    ("a model too large to train", "use several GPUs", "accelerate"),
    ("a trained model", "run it without PyTorch", "ONNX Runtime"),
    ("a trained model", "let others ask it over HTTP", "FastAPI"),
    ("a trained model", "the same system on every machine", "Docker"),
    ("code that stops with an error", "look around where it stopped", "pdb"),
    ("code that stops with an error", "walk through a large program", "VS Code"),
    ("code that is slow", "know which operation takes the time", "torch.profiler"),
    ("a notebook", "explain and show results", "Jupyter"),
    ("a notebook", "see what a colleague changed", "nbdime"),
    ("an idea, but no data or weights", "pretrained weights with a licence", "Hugging Face Hub"),
    ("an idea, but no data or weights", "a classic image network", "torch hub"),
    ("an idea, but no data or weights", "a table to compare methods on", "OpenML"),
    ("an idea, but no data or weights", "see what others tried on a task", "Kaggle"),
)


def tool(name: str) -> Tool:
    """The tool of this name."""
    return next(entry for entry in TOOLS if entry.name == name)


def version(name: str) -> str | None:
    """The version of a tool that this machine has, or None."""
    kind, _, where = tool(name).source.partition(":")
    if kind == "python":
        return platform.python_version()
    if kind == "package":
        try:
            return importlib.metadata.version(where)
        except importlib.metadata.PackageNotFoundError:
            return None
    if shutil.which(where) is None:
        return None
    said = subprocess.run([where, "--version"], capture_output=True, text=True, timeout=30).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return number.group() if number else "unknown version"


def found(name: str) -> str:
    """What the tables show: the version, after the name of the package where the tool's own name is
    another.
    """
    number, (_, _, package) = version(name), tool(name).source.partition(":")
    if number is None:
        return "not found"
    same = re.sub(r"\W|_", "", package).lower() == re.sub(r"\W|_", "", name).lower()
    return number if same or not tool(name).source.startswith("package:") else f"{package} {number}"


def not_found(name: str) -> str:
    """What it means that a tool is not installed here, and which line would have run."""
    missing = tool(name)
    return (
        f"{name} was not found here. The course does not need it. Where it is installed, this line would "
        f"run:\n    {missing.line}"
    )


def as_table(area: str) -> str:
    """The tools of one area as an HTML table with the versions found and links to documentation and
    course.
    """
    rows = []
    for entry in (t for t in TOOLS if t.area == area):
        cells = [
            f'<a href="{entry.docs}">{html.escape(entry.name)}</a>',
            html.escape(found(entry.name)),
            html.escape(entry.what),
            html.escape(entry.not_for),
            f'<a href="{html.escape(link_to(entry.heading))}">{_section(entry)}</a>'
            if entry.heading
            else "–",
        ]
        rows.append("".join(f'<td style="text-align:left;white-space:normal">{cell}</td>' for cell in cells))
    head = "".join(
        f'<th style="text-align:left">{name}</th>'
        for name in ("tool", "found", "what for", "when not", "section")
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def advice(have: str, want: str) -> str:
    """Which tool to take, a line of it, where the course does such work, and when not to take it."""
    name = next((choice[2] for choice in CHOICES if choice[:2] == (have, want)), None)
    if name is None:
        return f"Now choose what you want to do with {have}."
    entry = tool(name)
    place = (
        f" In the course: chapter {link_to(entry.heading)[:2]}, section {_section(entry)}."
        if entry.heading
        else ""
    )
    return f"Take {name}. One line of it: `{entry.line}`.{place} Not for {entry.not_for}."


def chooser() -> widgets.VBox:
    """Two lists, "I have" and "I want", with the advice below."""
    haves = list(dict.fromkeys(have for have, *_ in CHOICES))
    have = widgets.Dropdown(options=haves, description="I have", **wide(70))
    want = widgets.Dropdown(options=_wants(haves[0]), description="I want", **wide(70))
    box = explorer({"have": have, "want": want}, lambda have, want: (None, advice(have, want)))
    have.observe(lambda change: setattr(want, "options", _wants(change["new"])), "value")
    return box


def _section(entry: Tool) -> str:
    return entry.heading.split()[0]


def _wants(have: str) -> list[str]:
    return [want for owner, want, _ in CHOICES if owner == have]
