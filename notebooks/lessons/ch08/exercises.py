"""The exercises of chapter 08: pruning by magnitude, the population stability index, margin sampling."""

import numpy as np
import torch

from helpers.deployment.drift import stability_index
from lessons.ch08 import answers
from lessons.ch08.active_learning import least_sure
from lessons.exercise import Exercise


def _verify_prune(attempt):
    weight = torch.tensor([[0.5, -3.0, 0.1, 2.0], [-0.2, 1.0, -4.0, 0.3], [0.7, -0.9, 1.5, -0.05]])
    for sparsity in (0.5, 0.25, 0.0):
        before, result = weight.clone(), attempt(weight, sparsity)
        if not isinstance(result, torch.Tensor) or result.shape != weight.shape:
            raise AssertionError(
                f"expected a tensor of shape {tuple(weight.shape)}, found "
                f"{getattr(result, 'shape', result)!r}"
            )
        if not torch.equal(weight, before):
            raise AssertionError("the argument was changed in place; make a new matrix")
        zeros, expected = int((result == 0).sum()), round(sparsity * weight.numel())
        if zeros != expected:
            raise AssertionError(
                f"with sparsity {sparsity} expected {expected} zeros among {weight.numel()} weights, found "
                f"{zeros}"
            )
        kept = result != 0
        if not torch.equal(result[kept], weight[kept]):
            raise AssertionError("the weights that stay should keep their values and signs")
        if (~kept).any() and weight[~kept].abs().max() > weight[kept].abs().min():
            lost = weight[~kept][weight[~kept].abs().argmax()].item()
            raise AssertionError(
                f"{lost:g} was removed although weights closer to zero stayed: compare absolute values"
            )
    zeros = int((attempt(torch.ones(2, 4), 0.5) == 0).sum())
    if zeros != 4:
        raise AssertionError(
            f"with eight equal weights and sparsity 0.5 expected 4 zeros, found {zeros}: a threshold cannot "
            "split equals"
        )


prune = Exercise(
    verify=_verify_prune,
    hints=(
        "How near a weight is to zero does not depend on its sign: look at `weight.abs()`.",
        "`weight.abs().flatten().argsort()` gives the places of the weights, the smallest first. How many of "
        "them go?",
        "Begin with a mask of ones, set the first `round(sparsity * weight.numel())` places of that order to "
        "False, give it the weight's shape, and multiply.",
    ),
    answer=answers.prune,
    praise="The smallest go, the rest is untouched, and equal weights are counted, not compared.",
)


def _verify_psi(attempt):
    cases = (
        ("equal counts", [50, 30, 20], [50, 30, 20]),
        ("the same shares with ten times as many rows", [50, 30, 20], [500, 300, 200]),
        ("other shares", [50, 30, 20], [20, 30, 50]),
        ("other shares and other numbers of rows", [400, 400, 200], [10, 30, 60]),
        ("an empty bin", [50, 50, 0], [40, 40, 20]),
    )
    for what, reference, current in cases:
        reference, current = np.array(reference, dtype=float), np.array(current, dtype=float)
        expected, found = stability_index(reference, current), attempt(reference.copy(), current.copy())
        if not isinstance(found, int | float | np.floating):
            raise AssertionError(f"psi should return a number, found {found!r}")
        # inf and nan are refused, too; half a row more or less in the sum is not
        if not np.isclose(expected, found, rtol=0, atol=5e-3):
            raise AssertionError(f"{what}: expected {expected:.4f}, found {found:.4f}")


psi = Exercise(
    verify=_verify_psi,
    hints=(
        "Counts of 100 and of 1,000 rows cannot be compared; shares can. Turn both arrays into shares first.",
        "For each bin: (current share - reference share) x natural logarithm of (current share / reference "
        "share). Add them up.",
        "The logarithm of an empty bin is infinite: replace counts below 0.5 by 0.5 before you compute "
        "shares, `np.maximum(counts, 0.5)`.",
    ),
    answer=answers.psi,
    praise="Zero for equal shares, whatever the number of rows, and finite even where a bin is empty.",
)


def _verify_next_rows(attempt):
    probabilities = np.array(
        [
            [0.05, 0.90, 0.05],
            [0.02, 0.49, 0.49],
            [0.40, 0.30, 0.30],
            [0.45, 0.44, 0.11],
            [0.34, 0.33, 0.33],
            [0.06, 0.46, 0.48],
        ]
    )
    for size in (1, 3, 5):
        expected = least_sure(probabilities, size, "margin", np.random.default_rng(0))
        found = np.asarray(attempt(probabilities.copy(), size))
        if found.shape != (size,):
            raise AssertionError(f"with size {size} expected {size} row numbers, found {found!r}")
        if not set(found.tolist()) <= set(range(len(probabilities))):
            raise AssertionError(
                f"expected row numbers from 0 to {len(probabilities) - 1}, found {found.tolist()}"
            )
        if found.tolist() != expected.tolist() and set(found) == set(expected):
            raise AssertionError(
                "these are the right rows, but the smallest margin should come first: expected "
                f"{expected.tolist()}, found {found.tolist()}"
            )
        if found[0] == 0:
            raise AssertionError(
                "row 0 came first, the one that the model is most sure of: sort the other way round"
            )
        if found.tolist() != expected.tolist():
            raise AssertionError(
                f"expected rows {expected.tolist()}, found {found.tolist()}: compare the two largest "
                "probabilities of a row, not the largest alone"
            )


next_rows = Exercise(
    verify=_verify_next_rows,
    hints=(
        "The margin of a row is its largest probability minus its second largest. A small margin: the model "
        "hesitates between two classes.",
        "`np.sort(probabilities, axis=1)` sorts each row upwards: the two largest are in the last two "
        "columns.",
        "`np.argsort(margin, kind='stable')` gives the rows with the smallest margin first. Take `size` of "
        "them.",
    ),
    answer=answers.next_rows,
    praise="These are the rows between two classes, where one label settles the most.",
)
