"""Exercise of chapter 06 that builds: transforms and a loop, which are run, and must beat a linear probe."""

import functools

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.data.transforms import ImagePreprocessing, evaluation_preset
from lessons.ch06 import answers, small_rows
from lessons.exercise import Exercise

HALVES = (0.5, 0.5, 0.5)


@functools.cache
def bar() -> float:
    """Accuracy of a linear probe of the frozen network, on the hidden rows."""
    with torch.random.fork_rng(devices=[]):
        model, _ = small_rows.network()
    model.classifier = torch.nn.Identity()
    model.eval()
    see = evaluation_preset(ImagePreprocessing(small_rows.SIZE, HALVES, HALVES))
    features = {}
    for name, (pictures, _) in small_rows.rows().items():
        images = torch.stack([see(picture.convert("RGB")) for picture in pictures])
        with torch.no_grad():
            features[name] = torch.cat([model(part) for part in images.split(100)]).numpy()
    labels = {name: labels for name, (_, labels) in small_rows.rows().items()}
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(probe.fit(features["train"], labels["train"]).score(features["hidden"], labels["hidden"]))


def _check_transform(transform, pictures) -> None:
    if not callable(transform):
        raise AssertionError(f"expected your evaluation transform back, found {transform!r}")
    once, again = ([transform(picture) for picture in pictures[:20]] for _ in range(2))
    shape = (3, small_rows.SIZE, small_rows.SIZE)
    for image in once:
        if not torch.is_tensor(image) or image.dtype != torch.float32 or image.shape != shape:
            found = f"{image.dtype} {tuple(image.shape)}" if torch.is_tensor(image) else type(image).__name__
            raise AssertionError(f"the transform should give float32 {shape}, found {found}")
    if any(not torch.equal(one, other) for one, other in zip(once, again)):
        raise AssertionError("the evaluation transform draws: the same picture came out in two ways")
    low, high = min(image.min() for image in once), max(image.max() for image in once)
    if low > -0.9 or not 0.9 < high < 1.1:
        raise AssertionError(
            f"pixels go from {low:.2f} to {high:.2f}; scaled to 0..1 and standardised by halves they go from "
            "-1 to 1"
        )


def _verify_fine_tuning(attempt):
    pictures, labels = small_rows.rows()["train"]
    hidden, wanted = small_rows.rows()["hidden"]
    model, head = small_rows.network()
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    transform = attempt(model, head, list(pictures), list(labels))
    _check_transform(transform, hidden)
    moved = [name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])]
    if not moved:
        raise AssertionError("no weight of the model has moved: train it in place, and step the optimizer")
    if all(name.startswith("classifier.") for name in moved):
        raise AssertionError("only the head has moved; the optimizer must get the layers below it, too")
    right = small_rows.accuracy(model, torch.stack([transform(picture) for picture in hidden]), wanted)
    score = f"accuracy {right:.3f} on {len(hidden)} hidden pictures, the linear probe {bar():.3f}"
    if right <= bar():
        raise AssertionError(f"{score}; train and evaluate in the right mode, long enough, at rates that fit")
    return f"{score[0].upper()}{score[1:]}."


small_fine_tuning = Exercise(
    verify=_verify_fine_tuning,
    hints=(
        "`v2.RGB()` makes three channels of a grey picture; then resize, `ToImage`, `ToDtype(scale=True)`, "
        "`Normalize`. Only the training transform may flip.",
        "Few rows need many small steps: batches of 8, six epochs, the body at 1e-3 and the head at 3e-3, "
        "falling to zero.",
        "A dataset is a class with `__len__` and `__getitem__`; the loop is `fine_tune` of section 6.5 "
        "without the validation.",
    ),
    answer=answers.small_fine_tuning,
    praise="Your transforms and your loop beat the frozen network on rows that they have not seen.",
)
