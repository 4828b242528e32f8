"""Exercises of chapter 11 that build: a log-probability, the loss, a check of a reward, and a reward."""

import math

import torch

from lessons.ch11 import answers
from lessons.exercise import Exercise

WORDS = ("negative", "neutral", "positive")


def _verify_log_probabilities(attempt):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 6, 5, generator=generator)
    labels = torch.tensor(
        [[-100, -100, 3, 1, 2, -100], [-100, -100, -100, 4, -100, -100], [-100, 1, 0, 0, 1, 3]]
    )
    kept = labels.clone()
    found, right = attempt(logits, labels), answers.log_probabilities(logits, labels)
    if not torch.equal(labels, kept):
        raise AssertionError("the labels were changed; they belong to the batch")
    if not torch.is_tensor(found) or found.shape != (3,):
        raise AssertionError(f"expected one number per row, a tensor of shape (3,), found {found!r}")
    if torch.allclose(found, right, atol=1e-5):
        return
    counts = (labels[:, 1:] != -100).sum(1)
    table = logits.log_softmax(-1)
    at_place = table.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * (labels != -100)
    with_zeros = table[:, :-1].gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0].sum(1)
    for wrong, why in (
        (right / counts, "this is the mean over the tokens; the probability of an answer is a product"),
        (-right, "the sign is that of a loss; a log-probability is never above zero"),
        (at_place.sum(1), "the logits at t are about token t + 1; shift once"),
        (with_zeros, "places whose label is -100 were counted as if their token were 0"),
    ):
        if torch.allclose(found, wrong, atol=1e-5):
            raise AssertionError(why)
    raise AssertionError(f"expected {right.tolist()}, found {found.tolist()}")


log_probabilities = Exercise(
    verify=_verify_log_probabilities,
    hints=(
        "A row's number is a sum over its tokens that have a label, of the log-probability of that token.",
        "`F.cross_entropy(..., ignore_index=-100, reduction='none')` wants the classes in dimension 1, and "
        "gives 0 where the label is -100.",
        "`logits[:, :-1].transpose(1, 2)` beside `labels[:, 1:]`; then minus, and a sum over dimension 1.",
    ),
    answer=answers.log_probabilities,
    praise="A sum, shifted once, of the answer's tokens alone.",
)


def _verify_dpo_loss(attempt):
    log_p = torch.tensor([[-3.0, -5.0], [-8.0, -4.0], [-2.0, -2.5]], requires_grad=True)
    reference = torch.tensor([[-4.0, -4.5], [-6.0, -3.0], [-2.0, -3.5]])
    start = attempt(reference, reference, 0.1)
    if not torch.is_tensor(start) or start.shape != ():
        raise AssertionError(f"expected one number, a tensor of shape (), found {start!r}")
    if abs(float(start) - math.log(2)) > 1e-5:
        raise AssertionError(
            f"before the first step the policy is the reference, so the loss is log 2 = {math.log(2):.3f}; "
            f"yours is {float(start):.3f}"
        )
    for beta in (0.1, 2.0):
        found, right = attempt(log_p, reference, beta), answers.pair_loss(log_p, reference, beta)
        if torch.isclose(found, right, atol=1e-5):
            continue
        if torch.isclose(found, 3 * right, atol=1e-5):
            raise AssertionError("this is the sum over the pairs; the mean was asked for")
        if torch.isclose(found, answers.pair_loss(log_p.flip(1), reference.flip(1), beta), atol=1e-5):
            raise AssertionError("chosen (column 0) and rejected (column 1) are swapped")
        if torch.isclose(found, answers.pair_loss(log_p, reference, 1.0), atol=1e-5):
            raise AssertionError("beta changes nothing; it multiplies the margin inside the sigmoid")
        raise AssertionError(
            f"with beta {beta} expected {float(right):.4f}, found {float(found):.4f}; see the formula"
        )
    far = attempt(torch.tensor([[-3000.0, 0.0]]), torch.zeros(1, 2), 1.0)
    if not torch.isfinite(far):
        raise AssertionError(
            f"a pair that is 3,000 nats wrong gives {float(far)}; a sigmoid and then a logarithm round to "
            "infinity, F.logsigmoid does not"
        )


pair_loss = Exercise(
    verify=_verify_dpo_loss,
    hints=(
        "First the change of each log-probability against the reference, then the difference of the two "
        "changes, chosen minus rejected.",
        "`-F.logsigmoid(beta * margin)` is one pair's loss; then the mean.",
    ),
    answer=answers.pair_loss,
    praise="It starts at log 2, points the right way, and survives a hopeless pair.",
)


def _strict(answer, label):
    return float(answer == label)


def _close(answer, label):
    return float(abs(WORDS.index(answer) - WORDS.index(label)) <= 1)


def _cheerful(answer, label):
    return 1.0 if answer == "positive" else 0.1


def _verify_audit(attempt):
    rows = ["positive"] * 5 + ["negative"] * 3 + ["neutral"] * 2
    for reward, word, mean in (
        (_strict, "positive", 0.5),
        (_close, "neutral", 1.0),
        (_cheerful, "positive", 1.0),
    ):
        found = attempt(reward, rows, list(WORDS))
        if not isinstance(found, tuple) or len(found) != 2:
            raise AssertionError(f"expected a pair, (answer, its mean reward), found {found!r}")
        if found[0] != word:
            raise AssertionError(f"the constant answer that earns most is {word!r}, found {found[0]!r}")
        if abs(float(found[1]) - mean) > 1e-6:
            raise AssertionError(
                f"always {word!r} earns {mean} a row, found {found[1]}; take the mean over the rows"
            )


audit = Exercise(
    verify=_verify_audit,
    hints=(
        "A constant answer is the same for every row. What does each of the answers earn, on average?",
        "`np.mean([reward(answer, label) for label in rows])` for each answer; then the largest.",
    ),
    answer=answers.audit,
    praise="No model was asked: a loophole that a constant answer can use is found before the training.",
)

MOST_FOR_A_CONSTANT = 0.5


def _verify_partial_credit(attempt):
    rows = [word for word in WORDS for _ in range(20)]
    for label in WORDS:
        if abs(float(attempt(label, label)) - 1) > 1e-6:
            raise AssertionError(f"the right answer {label!r} should earn 1, found {attempt(label, label)}")
    for text in ("", "positive positive", "I think it is positive.", "POSITIVE!"):
        if float(attempt(text, "positive")) != 0:
            raise AssertionError(f"{text!r} is not one of the three words and should earn 0")
    near, far = float(attempt("neutral", "positive")), float(attempt("negative", "positive"))
    if not 0 <= far < near < 1:
        raise AssertionError(
            f"one step off should earn more than two steps off, and less than 1; found {near} and {far}"
        )
    word, mean = answers.audit(attempt, rows, list(WORDS))
    if mean >= MOST_FOR_A_CONSTANT:
        raise AssertionError(
            f"always {word!r} earns {mean:.2f} a row without reading a comment; below "
            f"{MOST_FOR_A_CONSTANT} is asked for"
        )
    return f"The best constant answer, always {word!r}, earns {mean:.2f} a row."


partial_credit = Exercise(
    verify=_verify_partial_credit,
    hints=(
        "The middle is one step from everything, so what you give for one step off, always 'neutral' earns "
        "on two rows of three.",
        "Let c be the credit for one step. Always 'neutral' earns (1 + 2 c) / 3 on equally many rows of each "
        "label: which c keeps that below 0.5?",
    ),
    answer=answers.partial_credit,
    praise="Partial credit that does not pay for a constant answer.",
)
