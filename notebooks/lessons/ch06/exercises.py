"""The exercises of chapter 06: accumulation over ragged batches, an honest evaluation, Grad-CAM's map."""

import torch
from torch import nn
from torch.nn import functional as F

from lessons.ch06 import answers
from lessons.ch06.gradcam import grad_cam
from lessons.exercise import Exercise


def _network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def _batches(sizes: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return [
        (torch.randn(size, 6, generator=generator), torch.randint(3, (size,), generator=generator))
        for size in sizes
    ]


def _verify_accumulate(attempt):
    for sizes in ((4, 4, 4), (8, 8, 3), (5,)):
        # In evaluation mode a row's output does not depend on its neighbours, so both ways must agree.
        batches, model = _batches(sizes), _network().eval()
        F.cross_entropy(
            model(torch.cat([x for x, _ in batches])), torch.cat([y for _, y in batches])
        ).backward()
        expected = [parameter.grad.clone() for parameter in model.parameters()]
        for parameter in model.parameters():
            parameter.grad.mul_(2)  # left from an earlier step: a right attempt clears it
        attempt(model, batches)
        left = [2 * gradient for gradient in expected]
        if any(p.grad is None or torch.equal(p.grad, old) for p, old in zip(model.parameters(), left)):
            raise AssertionError(f"batches of {sizes} left no new gradient; call backward() for each batch")
        found = [parameter.grad for parameter in model.parameters()]
        ratio = (sum(g.abs().sum() for g in found) / sum(g.abs().sum() for g in expected)).item()
        if not all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, expected)):
            raise AssertionError(
                f"batches of {sizes} rows: the gradient is not that of one batch of {sum(sizes)}; its size "
                f"is {ratio:.2f} times the right one"
            )


accumulate = Exercise(
    verify=_verify_accumulate,
    hints=(
        "Gradients add up in `.grad` as long as nobody clears them: clear once, before the first batch.",
        "The mean over all rows is a sum over all rows, divided once by the number of all rows. Count them "
        "before the loop.",
        '`F.cross_entropy(..., reduction="sum") / count` for each batch, then `backward()`.',
    ),
    answer=answers.accumulate,
    praise="Your gradient is that of one large batch, also when the last batch is short.",
)


def _verify_evaluate(attempt):
    for sizes, training in (((6, 6, 1), True), ((5, 5), False)):
        batches, model = _batches(sizes), _network(1).train(training)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        inputs, labels = (torch.cat(parts) for parts in zip(*batches))  # all rows as one batch
        with torch.no_grad():
            expected = F.cross_entropy(model.eval()(inputs), labels).item()
        model.train(training)
        found = attempt(model, batches)
        drifted = [
            name for name, tensor in model.state_dict().items() if not torch.equal(tensor, state[name])
        ]
        if drifted:
            raise AssertionError(f"the evaluation changed {drifted[0]}: the model was in training mode")
        if not isinstance(found, int | float):
            raise AssertionError(f"expected a number, found {found!r}; `.item()` makes one of a tensor")
        if abs(found - expected) > 1e-5:
            raise AssertionError(
                f"batches of {sizes} rows: expected the mean over {sum(sizes)} rows {expected:.4f}, found "
                f"{found:.4f}"
            )
        if model.training != training:
            raise AssertionError(
                f"the model came with training={training} and left with training={model.training}; put its "
                "mode back"
            )


evaluate = Exercise(
    verify=_verify_evaluate,
    hints=(
        "Two traps: dropout and BatchNorm behave differently in training mode, and a short batch must not "
        "weigh as much as a long one.",
        "Add up sums of losses and numbers of rows; divide once at the end.",
        "`model.training` says in which mode the model is; `model.train(flag)` puts it back.",
    ),
    answer=answers.evaluate,
    praise="A figure that depends on the rows and the weights, and on nothing else.",
)


def _cam_of_network(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """What `grad_cam` finds for a network with a layer of these activations and gradients (K, h, w)."""
    layer, head = nn.Identity(), nn.utils.skip_init(nn.Linear, gradients.numel(), 1, bias=False)
    head.weight = nn.Parameter(gradients.reshape(1, -1))
    network = nn.Sequential(layer, nn.Flatten(), head)
    (heat,) = grad_cam(network, layer, activations[None].requires_grad_(), torch.tensor([0]))
    return heat / heat.max()


def _verify_cam(attempt):
    for seed, shape in ((0, (4, 5, 5)), (1, (6, 3, 4))):
        generator = torch.Generator().manual_seed(seed)
        activations = torch.rand(shape, generator=generator)
        gradients = torch.randn(shape, generator=generator)
        expected, found = _cam_of_network(activations, gradients), attempt(activations, gradients)
        if not isinstance(found, torch.Tensor) or found.shape != shape[1:]:
            raise AssertionError(
                f"expected a map of shape {shape[1:]}, found {getattr(found, 'shape', found)!r}"
            )
        if (found < 0).any():
            raise AssertionError(
                "the map has negative places; they speak against the class, Grad-CAM keeps what speaks for it"
            )
        if not torch.allclose(found, expected, atol=1e-5):
            raise AssertionError(
                f"activations of shape {shape}: the map differs from Grad-CAM's by up to "
                f"{(found - expected).abs().max():.2f}; check weights and scale"
            )
    nothing = attempt(torch.ones(2, 3, 3), -torch.ones(2, 3, 3))
    if nothing.isnan().any():
        raise AssertionError(
            "where nothing speaks for the class the map should be 0 everywhere, found nan: 0 was divided by 0"
        )


cam = Exercise(
    verify=_verify_cam,
    hints=(
        "One weight per channel: the mean of its gradient over all places. One weight per place would be "
        "another method.",
        "Give the weights two more dimensions, multiply, sum over the channels, then `relu()`.",
        "Divide by the maximum, but by no less than a tiny number: `clamp(min=1e-12)`.",
    ),
    answer=answers.cam,
    praise="That is Grad-CAM: channels weighted by their mean gradient, places kept.",
)
