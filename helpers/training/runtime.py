"""Where a training runs: device, precision, processes. The only file that knows accelerate and
torch.distributed.

Alone, with copies of the model in several processes (DDP), or with its weights shared out among them (FSDP2),
on CPUs and
GPUs: the loop makes the same calls. All processes of a run must make them, in the same order (chapters 03 and
08).
"""

import contextlib
import gc
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from helpers import environment
from helpers.errors import InputError

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """One training's device, numeric precision and processes.

    Example: `runtime = Runtime(model); runtime.prepare(model, optimizer); wrapped = runtime.wrap(model)`

    Attributes:
        device: torch.device on which this process computes.
        precision: "bf16", "fp16" or "no" (float32).
        num_processes, process_index, is_main: of a run by torchrun or `accelerate launch`; 1, 0, True without
            one.
        shard: whether the processes share the weights out among them.

    Args:
        model: by which "auto" chooses the precision; None is taken for one of matrix products.
        precision: one of the above, or "auto", see `environment.precision`.
        shard: FSDP2: each process holds a part of every weight, gradient and moment.
        log_with: "tensorboard", "mlflow" or "wandb": where `log` writes to; None: nowhere.
        folder: for the logs of a tracker that writes files.

    Raises:
        InputError: the tracker is not installed, or one process has nothing to share with.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        precision: str = "auto",
        *,
        shard: bool = False,
        log_with: str | None = None,
        folder: Path | None = None,
    ):
        if log_with is not None and log_with not in map(str, get_available_trackers()):
            raise InputError(f"{log_with} is not installed; run `pip install {log_with}`, or log without it")
        if precision == "auto":
            precision = environment.precision(convolutional=model is not None and mostly_convolutions(model))
        # accelerate never hears of the precision: it keeps one for the whole Python process, and a notebook
        # trains texts in bf16 and then images in float32.
        self.accelerator = Accelerator(
            mixed_precision="no", cpu=environment.device() == "cpu", log_with=log_with, project_dir=folder
        )
        self.precision, self.shard, self.log_with = precision, shard, log_with
        self.scaler = torch.amp.GradScaler(self.device.type) if precision == "fp16" else None
        if shard and self.num_processes == 1:
            raise InputError(
                "one process cannot share its weights out; start several, e.g. torchrun --nproc_per_node 2"
            )

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def num_processes(self) -> int:
        return self.accelerator.num_processes

    @property
    def process_index(self) -> int:
        return self.accelerator.process_index

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def sharding(self) -> dict[str, int]:
        """What `make_loader` needs to know to give this process its share of each batch."""
        return {"num_processes": self.num_processes, "process_index": self.process_index}

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Move the model to the device; where weights are shared out, do it, and let the optimizer follow. In
        place.
        """
        model.to(self.device)
        if not self.shard:
            return
        names = {parameter: name for name, parameter in model.named_parameters()}
        mesh = init_device_mesh(self.device.type, (self.num_processes,))
        for module in list(model.modules())[
            ::-1
        ]:  # from the inside out; the layers of a transformer stand in a list
            if isinstance(module, nn.ModuleList):
                for layer in module:
                    fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        now = dict(model.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [now[names[parameter]] for parameter in group["params"]]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as several processes train it together; one process, and a sharded model, need no
        wrapper.

        Made anew when other weights start to move: the wrapper exchanges only gradients that it knew of when
            it was made.
        """
        if self.num_processes == 1 or self.shard:
            return model
        self.accelerator.free_memory()  # accelerate remembers what it wraps, and would return it as it is
        return self.accelerator.prepare_model(model)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The forward pass in the chosen precision."""
        return torch.autocast(self.device.type, HALF.get(self.precision), enabled=self.precision in HALF)

    @contextlib.contextmanager
    def without_exchange(self, wrapped: nn.Module):
        """Backward passes in here add to this process's gradients alone; the next one outside exchanges them
        all.
        """
        if isinstance(wrapped, FSDPModule):
            wrapped.set_requires_gradient_sync(False)
            yield
            wrapped.set_requires_gradient_sync(True)
        else:
            with self.accelerator.no_sync(wrapped):
                yield

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of `loss` (), scaled in fp16, where small ones would become zero."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, max_grad_norm: float) -> bool:
        """Clip, move the weights, clear the gradients; False when fp16 overflowed and the weights stayed."""
        moved = True
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        if self.scaler is None:
            optimizer.step()
        else:
            scale = self.scaler.get_scale()
            self.scaler.step(optimizer)
            self.scaler.update()
            moved = (
                self.scaler.get_scale() >= scale
            )  # the scaler lowers its scale exactly when it skipped the step
        optimizer.zero_grad()
        return moved

    def total(self, number: int) -> int:
        """The sum of a whole number over all processes."""
        if self.num_processes == 1:
            return number
        return int(self.sum(torch.tensor(number, device=self.device)))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        return self.accelerator.reduce(tensor, "sum")

    def gather(self, tensor: torch.Tensor, filling: int = 0) -> torch.Tensor:
        """The rows of all processes, on the CPU; shorter parts are filled up with `filling`."""
        return self.accelerator.gather(self.accelerator.pad_across_processes(tensor, pad_index=filling)).cpu()

    def state(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> dict[str, torch.Tensor]:
        """Whole tensors on the CPU: `model.NAME`, and of the optimizer `optimizer.NUMBER.NAME`, by the
        parameter's number.
        """
        first = _first_names(model)
        tensors = {f"model.{n}": tensor for n, tensor in model.state_dict().items() if first[n] == n}
        for index, moments in optimizer.state_dict()["state"].items() if optimizer else ():
            tensors |= {
                f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()
            }
        return {name: _whole(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}

    def load(
        self, state: dict[str, torch.Tensor], model: nn.Module, optimizer=None, groups: list[dict] = ()
    ) -> None:
        """Put what `state` returned back, into a model that may be shared out otherwise than the one it came
        from.

        Args:
            state: of `state`.
            model, optimizer: what to fill, after `prepare`.
            groups: the optimizer's `param_groups`, as its `state_dict` gives them.

        Raises:
            RuntimeError: the tensors are those of another model.
        """
        own, saved, first = model.state_dict(), below(state, "model"), _first_names(model)
        if set(saved) != set(first.values()):
            raise RuntimeError(f"{len(set(saved) ^ set(first.values()))} of its weights have other names")
        model.load_state_dict({name: _like(saved[first[name]], tensor) for name, tensor in own.items()})
        if optimizer is None:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        moments: dict[int, dict] = {}
        for name, tensor in below(state, "optimizer").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = _like(tensor, parameters[int(index)])
        optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def start_log(self, config: dict) -> None:
        """Open the tracker's run; `config` (flat) is stored with it."""
        if self.log_with is not None:
            self.accelerator.init_trackers(
                "course", config={name: str(value) for name, value in config.items()}
            )

    @property
    def is_logging(self) -> bool:
        """Whether a tracker listens: reading a loss for it makes Python wait for a GPU."""
        return bool(self.accelerator.trackers)

    def log(self, values: dict[str, float], step: int) -> None:
        """Write values to the tracker, if there is one."""
        self.accelerator.log(values, step=step)

    def wait(self) -> None:
        """Until all processes have come here."""
        self.accelerator.wait_for_everyone()

    def leave(self) -> None:
        """Wait for all and end their group; called last, when nothing of the training is used any more."""
        self.wait()
        self.accelerator.free_memory()
        # a wrapper sits in cycles of references; it must go while its group stands, or a process may abort
        gc.collect()
        self.accelerator.end_training()


def is_first() -> bool:
    """Whether this process is the one that speaks, asked before any `Runtime` exists."""
    return os.environ.get("RANK", "0") == "0"


def mostly_convolutions(model: nn.Module) -> bool:
    """Whether most of the model's layers with weights are convolutions: a vision transformer, which has one,
    is not.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return 2 * sum(isinstance(layer, nn.Conv2d) for layer in layers) > len(layers)


def below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with `prefix.`, without it."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in state.items()
        if name.startswith(f"{prefix}.")
    }


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name in the model's state with the first name of the same tensor: tied weights have two."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name) for name, tensor in model.state_dict(keep_vars=True).items()
    }


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(tensor: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The tensor, shared out as `target` is, if that is and has its shape (a counter of steps is shared out
    by nobody).
    """
    if not isinstance(target, DTensor) or tensor.shape != target.shape:
        return tensor
    return distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)
