"""Where a training runs: the only file that knows accelerate and torch.distributed (chapters 03 and 08).

Alone, with copies of the model in several processes (DDP), or with its weights shared out among them (FSDP2),
on CPUs and GPUs: the loop makes the same calls, and all processes make them in the same order.
"""

import contextlib
import gc

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from helpers import environment
from helpers.errors import InputError
from helpers.models.adapters import has_lora
from helpers.safety.signals import Signals

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """One training's device, numeric precision and processes.

    Example: `runtime = Runtime(model); runtime.prepare(model, optimizer); wrapped = runtime.wrap(model)`

    Attributes: `device`, `precision`, `shard`; `num_processes`, `process_index` and `is_main` of a run by
    torchrun (1, 0, True without it); `sharding`, what `make_loader` must know of the processes.

    Args:
        model: the model by which "auto" chooses the precision; None stands for one of matrix products.
        precision: "bf16", "fp16", "no" (float32), or "auto", see `environment.precision`.
        shard: FSDP2: each process holds a part of every weight, gradient and moment.
        log_with: "tensorboard", "mlflow" or "wandb", to which `log` writes; None writes nowhere.
        folder: folder for a tracker that writes files.

    Raises InputError: the tracker is not installed, or one process has nobody to share with.
    """

    def __init__(
        self, model=None, precision: str = "auto", *, shard: bool = False, log_with=None, folder=None
    ):
        if log_with is not None and log_with not in map(str, get_available_trackers()):
            raise InputError(f"{log_with} is not installed; run `pip install {log_with}`, or log without it")
        if precision == "auto":
            precision = environment.precision(convolutional=model is not None and mostly_convolutions(model))
        # accelerate never hears of the precision: it keeps one for the whole Python process, and a notebook
        # trains texts in bf16 and then images in float32.
        on_cpu = environment.device() == "cpu"
        options = {"log_with": log_with, "project_dir": folder}
        self.accelerator = made = Accelerator(mixed_precision="no", cpu=on_cpu, **options)
        self.device, self.is_main = made.device, made.is_main_process
        self.num_processes, self.process_index = made.num_processes, made.process_index
        self.sharding = {"num_processes": self.num_processes, "process_index": self.process_index}
        self.precision, self.shard, self.log_with = precision, shard, log_with
        self.signals: Signals | None = None  # those that `asked_to_stop` asks
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        if shard and self.num_processes == 1:
            raise InputError("one process cannot share its weights out; start several with torchrun")

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Move the model to the device, share its weights out if asked; the optimizer follows. In place."""
        model.to(self.device)
        if not self.shard:
            return
        names = {parameter: name for name, parameter in model.named_parameters()}
        mesh = init_device_mesh(self.device.type, (self.num_processes,))
        for module in reversed(list(model.modules())):  # from the inside out; layers stand in a list
            for layer in module if isinstance(module, nn.ModuleList) else ():
                fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        now = dict(model.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [now[names[parameter]] for parameter in group["params"]]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as several processes train it together; one process, or a shared-out model, is as it was.

        Made anew when other weights start to move: it exchanges gradients that it knew of when it was made.
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
        """Backward passes in here stay in this process; the next one outside exchanges all gradients."""
        if isinstance(wrapped, FSDPModule):
            wrapped.set_requires_gradient_sync(False)
            yield
            wrapped.set_requires_gradient_sync(True)
        else:
            with self.accelerator.no_sync(wrapped):
                yield

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of `loss` (), scaled in fp16, where small ones would become zero."""
        self.scaler.scale(loss).backward()

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, max_grad_norm: float) -> bool:
        """Clip, move the weights, clear the gradients; False when fp16 overflowed and the weights stayed.

        `grad_norm` () is the gradient's length before it was clipped.
        """
        scale = self.scaler.get_scale()
        self.scaler.unscale_(optimizer)
        self.grad_norm = _whole(nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)).to(self.device)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        return self.scaler.get_scale() >= scale  # it lowers its scale exactly when it skipped the step

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

    def places(self, place: dict | None) -> dict | None:
        """What the loaders of all processes say of their places, to be kept in a checkpoint."""
        if place is None or self.num_processes == 1:
            return place
        places = [None] * self.num_processes
        torch.distributed.all_gather_object(places, place)
        return {"of_processes": places}

    def own_place(self, places: dict | None) -> dict | None:
        """This process's part of what `places` returned.

        Raises InputError: it was kept by another number of processes.
        """
        of_all = [places] if places is None or "of_processes" not in places else places["of_processes"]
        if places is not None and len(of_all) != self.num_processes:
            what = f"this loader's place in its data was kept by {len(of_all)} processes"
            raise InputError(f"{what}, found {self.num_processes}; go on with as many, or use a RowStream")
        return of_all[self.process_index if places is not None else 0]

    def state(self, model: nn.Module, optimizer=None) -> dict[str, torch.Tensor]:
        """Whole tensors on the CPU: `model.NAME`, and `optimizer.NUMBER.NAME` by the parameter's number.

        Of a model with adapters only what moves: the frozen weights are those of the pretrained model.
        """
        first = _first_names(model)
        own = {name: tensor for name, tensor in model.state_dict().items() if first.get(name) == name}
        tensors = {f"model.{name}": tensor for name, tensor in own.items()}
        moments = optimizer.state_dict()["state"] if optimizer is not None else {}
        for number, values in moments.items():
            start = f"optimizer.{number}."
            tensors |= {start + name: torch.as_tensor(value) for name, value in values.items()}
        return {name: _whole(tensor).detach().cpu().contiguous() for name, tensor in tensors.items()}

    def frozen(self, model: nn.Module) -> list[torch.Tensor]:
        """What `state` leaves out: the weights below adapters."""
        tensors = model.state_dict(keep_vars=True) if has_lora(model) else {}
        return [tensor for name, tensor in tensors.items() if _is_still(name, tensor)]

    def load(self, state: dict[str, torch.Tensor], model: nn.Module, optimizer=None, groups=()) -> None:
        """Put what `state` returned back, also into a model that is shared out otherwise than before.

        Args:
            state: what `state` returned.
            model, optimizer: what to fill, after `prepare`.
            groups: the optimizer's `param_groups`, as its `state_dict` gives them.

        Raises RuntimeError: the tensors are those of another model.
        """
        own, saved, first = model.state_dict(), _below(state, "model"), _first_names(model)
        if set(saved) != set(first.values()):
            raise RuntimeError(f"{len(set(saved) ^ set(first.values()))} of its weights have other names")
        kept = {name: _like(saved[first[name]], own[name]) for name in first}
        model.load_state_dict(kept, strict=len(kept) == len(own))
        if optimizer is None:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        moments: dict[int, dict] = {}
        for name, tensor in _below(state, "optimizer").items():
            number, key = name.split(".", 1)
            parameter = parameters[int(number)]
            if tensor.ndim and tensor.shape != parameter.shape:
                raise RuntimeError(f"moment {key} of parameter {number} has another shape")
            moments.setdefault(int(number), {})[key] = _like(tensor, parameter)
        optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def asked_to_stop(self) -> int:
        """The number of the signal that asks to stop, the same in all processes; 0 for none."""
        if self.signals is None or self.num_processes == 1:
            return self.signals.number if self.signals else 0
        number = torch.tensor(self.signals.number, device=self.device)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
        return int(number)

    def interruptible(self) -> contextlib.AbstractContextManager:
        """A signal in here need not wait, but with several processes: the others would wait for this one."""
        if self.signals is None or self.num_processes > 1:
            return contextlib.nullcontext()
        return self.signals.not_waiting()

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error says that the memory is too small."""
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        return known or any(words in str(error) for words in NO_MEMORY)

    def free_memory(self) -> None:
        """Give back what no tensor uses any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def start_log(self, config: dict) -> None:
        """Open the tracker's run, if there is a tracker; `config` (flat) is stored with it."""
        if self.log_with is not None:
            self.accelerator.init_trackers("course", {name: str(value) for name, value in config.items()})

    def log(self, values: dict[str, float], step: int) -> None:
        """Write values to the tracker."""
        self.accelerator.log(values, step=step)

    def wait(self) -> None:
        """Until all processes have come here."""
        self.accelerator.wait_for_everyone()

    def leave(self) -> None:
        """Wait for all and end their group; called last, when nothing of the training is used any more."""
        self.wait()
        self.accelerator.free_memory()
        gc.collect()  # a wrapper sits in circles of references; it must go while its group stands
        self.accelerator.end_training()


def mostly_convolutions(model: nn.Module) -> bool:
    """Whether most of the layers with weights are convolutions: a vision transformer has one, and is not."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return 2 * sum(isinstance(layer, nn.Conv2d) for layer in layers) > len(layers)


def _below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name that is kept of the model's state with the first name of the same tensor: tied weights have
    two.
    """
    first: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    if has_lora(model):
        tensors = {name: tensor for name, tensor in tensors.items() if not _is_still(name, tensor)}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def _is_still(name: str, tensor: torch.Tensor) -> bool:
    """Whether it is of the pretrained model below the adapters: a frozen weight, or its parts in 4 bits."""
    return ".base_layer." in name or (isinstance(tensor, nn.Parameter) and not tensor.requires_grad)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(tensor: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The tensor, shared out as `target` is, if it has its shape: a counter of steps is never shared out."""
    if not isinstance(target, DTensor) or tensor.shape != target.shape:
        return tensor
    return distribute_tensor(tensor.to(target.device), target.device_mesh, target.placements)
