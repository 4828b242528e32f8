"""Numbers that are not finite end a training, before they are kept anywhere."""

import math

import torch
from torch import nn

from helpers.errors import InputError

MOST_UNSEEN = 100  # steps whose numbers a GPU may leave unread
MOST_SKIPPED = 50  # steps in a row that fp16 may leave out; its scale halves each time
MOST_NAMED = 10  # rows in a message


class NotFinite(InputError):
    """A number of the training is nan or infinite.

    Attributes: `what` ("loss"), `when` ("at step 7"), and `rows`, numbers of the rows of that step; the loop
    does not know more of a row than that.
    """

    def __init__(self, what: str, when: str, rows: list = (), advice: str = "use a lower --learning-rate"):
        self.what, self.when, self.rows, self.advice = what, when, list(rows), advice
        more = f" and {len(self.rows) - MOST_NAMED} more" if len(self.rows) > MOST_NAMED else ""
        listed = f" (rows: {', '.join(map(str, self.rows[:MOST_NAMED]))}{more})" if self.rows else ""
        super().__init__(f"the {what} is not a number {when}{listed}; {advice}")

    def with_ids(self, ids) -> "NotFinite":
        """The same of rows that are called by their names: `ids[number]`."""
        return NotFinite(self.what, self.when, [ids[row] for row in self.rows], self.advice)


class Watch:
    """Looks whether losses and gradients are finite.

    On a CPU at every step. A GPU would have to wait for each, so there they are read where it waits anyway:
    before an evaluation and before a checkpoint, and every 100 steps.
    """

    def __init__(self, runtime):
        self.runtime, self.skipped, self.noted = runtime, 0, []

    def note(self, step: int, loss: torch.Tensor, batches: list[dict], *, moved: bool) -> None:
        """Note the `loss` () of a step and its gradient; `moved`: False when fp16 overflowed, by its design.

        Raises NotFinite: the numbers of a step that is looked at are not finite, or no step moves any more.
        """
        self.skipped = 0 if moved else self.skipped + 1
        if self.skipped >= MOST_SKIPPED:
            raise NotFinite("gradient", f"in any of the {self.skipped} last steps in fp16")
        if moved:
            rows = [batch["indices"] for batch in batches if "indices" in batch]
            self.noted.append((step, torch.stack([loss, self.runtime.grad_norm]), rows))
        if self.runtime.device.type == "cpu" or len(self.noted) >= MOST_UNSEEN:
            self.check()

    def check(self) -> None:
        """Look at all steps that were noted and not yet seen; all processes call this.

        Raises NotFinite: the loss or the gradient of one of them is not.
        """
        noted, self.noted = self.noted, []
        if not noted:
            return
        are_finite = torch.stack([numbers for _, numbers, _ in noted]).isfinite().tolist()
        for (step, _, rows), (loss, gradient) in zip(noted, are_finite, strict=True):
            if not (loss and gradient):
                what = "gradient" if loss else "loss"
                raise NotFinite(what, f"at step {step}", self._of_all(rows), _advice(bool(rows)))

    def _of_all(self, rows: list[torch.Tensor]) -> list[int]:
        """The rows of all processes."""
        if not rows:
            return []
        found = self.runtime.gather(torch.cat(rows).to(self.runtime.device), filling=-1)
        return [row for row in found.tolist() if row >= 0]


def check_scores(scores: dict[str, float], step: int) -> None:
    """Refuse what an evaluation after `step` found if it is not finite.

    Raises NotFinite: one of the scores is not.
    """
    for name, value in scores.items():
        if not math.isfinite(value):
            raise NotFinite(f"validation {name}", f"after step {step}")


def check_tensors(tensors: dict[str, torch.Tensor], model: nn.Module, step: int) -> None:
    """Refuse weights or moments, as `Runtime.state` gives them, that are not finite.

    Raises NotFinite: a weight, a running mean or variance, or a moment of the optimizer is not.
    """
    # Other buffers may hold an infinity on purpose: masks do.
    buffers = {f"model.{name}" for name, _ in model.named_buffers() if not name.endswith(("mean", "var"))}
    chosen = [tensor for name, tensor in tensors.items() if name not in buffers]
    if not all_finite(chosen):
        what = next(
            name for name, tensor in tensors.items() if name not in buffers and not all_finite([tensor])
        )
        raise NotFinite(f"tensor {what}", f"after step {step}")


def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Whether all numbers of all tensors are finite; a GPU waits once."""
    flags = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    return not flags or bool(torch.stack(flags).all())


def _advice(has_rows: bool) -> str:
    return "use a lower --learning-rate, or look at these rows" if has_rows else "use a lower --learning-rate"
