"""Where a training runs: the only file that knows accelerate and torch.distributed (chapters 03 and 08).

Alone, with copies of the model in several processes (DDP), or with its weights shared out among them (FSDP2),
on CPUs and GPUs: the loop makes the same calls, and all processes make them in the same order.
"""

import contextlib
import gc
import os
from datetime import timedelta

import torch
import torch.distributed
from accelerate import Accelerator, PartialState
from accelerate.state import is_initialized
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule

from helpers import environment
from helpers.errors import InputError, ProcessLost
from helpers.safety.signals import Signals
from helpers.training import states
from helpers.training.sharded import average_buffers, put_together, share_out, whole

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
# How the libraries below say that another process is gone, or did not come to a common call in time.
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "NCCL")
LONGEST_WAIT = 1800.0  # seconds: the first process reads the data and writes answers alone, the others wait
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """One training's device, numeric precision and processes.

    Example: `runtime = Runtime(model); runtime.prepare(model, optimizer); wrapped = runtime.wrap(model)`

    Attributes: `device`, `precision`, `shard`; `num_processes`, `process_index` and `is_main` of a run by
    torchrun (1, 0, True without it); `sharding`, what `make_loader` must know of the processes.

    Args:
        model: the model by which "auto" chooses the precision; None stands for one of matrix products.
        precision: "bf16", "fp16", "no" (float32), or "auto", see `environment.precision`.
        shard: FSDP2: each process holds a part of every weight, gradient and moment; alone, all of it.
        log_with: "tensorboard", "mlflow" or "wandb", to which `log` writes; None writes nowhere.
        folder: folder for a tracker that writes files.
        longest_wait: seconds that a process waits for another one in a common call, before it gives up.

    Raises InputError: the tracker is not installed.
    """

    def __init__(
        self,
        model=None,
        precision: str = "auto",
        *,
        shard: bool = False,
        log_with=None,
        folder=None,
        longest_wait: float = LONGEST_WAIT,
    ):
        if log_with is not None and log_with not in map(str, get_available_trackers()):
            raise InputError(f"{log_with} is not installed; run `pip install {log_with}`, or log without it")
        if precision == "auto":
            precision = environment.precision(convolutional=model is not None and mostly_convolutions(model))
        # accelerate never hears of the precision: it keeps one for the whole Python process, and a notebook
        # trains texts in bf16 and then images in float32. One process may keep what another trainer told it.
        told = None if is_initialized() and PartialState().num_processes == 1 else "no"
        waiting = InitProcessGroupKwargs(timeout=timedelta(seconds=longest_wait))
        options = {"log_with": log_with, "project_dir": folder, "kwargs_handlers": [waiting]}
        options |= {"mixed_precision": told, "cpu": environment.device() == "cpu"}
        self.accelerator = made = Accelerator(**options)
        self.device, self.is_main = made.device, made.is_main_process
        self.num_processes, self.process_index = made.num_processes, made.process_index
        self.sharding = {"num_processes": self.num_processes, "process_index": self.process_index}
        self.precision, self.shard = precision, shard
        self.log_with, self.longest_wait = log_with, longest_wait
        self.signals: Signals | None = None  # those that `asked_to_stop` asks
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Move the model to the device, share its weights out if asked; the optimizer follows. In place."""
        model.to(self.device)
        if not self.shard:
            return
        names = {parameter: name for name, parameter in model.named_parameters()}
        if not torch.distributed.is_initialized():  # one process: a group of one
            alone = {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
            torch.distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo", **alone)
        mesh = init_device_mesh(self.device.type, (self.num_processes,))
        self.plain = share_out(model, mesh, self.precision)
        now = dict(model.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [now[names[parameter]] for parameter in group["params"]]

    def finish(self, model: nn.Module) -> None:
        """Give every process all weights again, in place, after the last step; all processes call this."""
        if self.shard:
            put_together(model, self.plain)

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
        self.grad_norm = whole(nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)).to(self.device)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
        if self.num_processes > 1:
            average_buffers(model)
        return self.scaler.get_scale() >= scale  # it lowers its scale exactly when it skipped the step

    def total(self, number: float) -> float:
        """The sum of a number over all processes; of whole numbers a whole one."""
        if self.num_processes > 1:  # never on an Apple GPU, which has no float64
            number = type(number)(self.sum(torch.tensor(number, dtype=torch.float64, device=self.device)))
        return number

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        return self.accelerator.reduce(tensor, "sum")

    def gather(self, tensor: torch.Tensor, filling: int = 0) -> torch.Tensor:
        """The rows of all processes, on the CPU; shorter parts are filled up with `filling`."""
        return self.accelerator.gather(self.accelerator.pad_across_processes(tensor, pad_index=filling)).cpu()

    def places(self, place: dict | None) -> dict | None:
        """What the loaders of all processes say of their places, to be kept in a checkpoint."""
        is_shared = place is not None and self.num_processes > 1
        return {"of_processes": self.gather_objects(place)} if is_shared else place

    def own_place(self, places: dict | None) -> dict | None:
        """This process's part of what `places` returned.

        Raises InputError: it was kept by another number of processes.
        """
        if places is None:
            return None
        of_all = places.get("of_processes", [places])
        if len(of_all) != self.num_processes:
            what = f"this loader's place in its data was kept by {len(of_all)} processes"
            raise InputError(f"{what}, found {self.num_processes}; go on with as many, or use a RowStream")
        return of_all[self.process_index]

    def agree(self, found: object | None) -> object | None:
        """What the first process found that found something: the same in all, and None where none did."""
        return next((each for each in self.gather_objects(found) if each is not None), None)

    def gather_objects(self, found: object) -> list:
        """What each process has found, in their order, the same list in all."""
        all_found = [found] * self.num_processes
        if self.num_processes > 1:
            torch.distributed.all_gather_object(all_found, found)
        return all_found

    def state(self, model: nn.Module, optimizer=None, *, in_parts: bool = False) -> dict[str, torch.Tensor]:
        """Whole tensors on the CPU, or `in_parts`, see `states.state`; all processes call this."""
        tensors = states.state(model, optimizer)
        if in_parts:
            return tensors
        return {name: whole(tensor).cpu().contiguous() for name, tensor in tensors.items()}

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

    @contextlib.contextmanager
    def together(self):
        """Say in one sentence that another process has ended, hangs or does not make the same calls.

        Raises ProcessLost: in place of what the library below says of a common call in here.
        """
        try:
            yield
        except RuntimeError as error:
            if self.num_processes == 1 or not any(words in str(error) for words in LOST):
                raise
            waited = f", and gave up after {self.longest_wait:,.0f} s" if "Timed out" in str(error) else ""
            noticed = f"process {self.process_index} of {self.num_processes} waits for another one that has "
            raise ProcessLost(f"{noticed}ended, hangs or makes other calls{waited}") from error

    def is_first_to_tell(self) -> bool:
        """Whether no other process has called this yet; torchrun knows, when the common group is broken."""
        try:
            where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            waiting = {"timeout": timedelta(seconds=5), "wait_for_workers": False}
            store = torch.distributed.TCPStore(*where, is_master=False, **waiting)
            return store.add(f"told/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", 1) == 1
        except (KeyError, ValueError, RuntimeError):  # better twice than never
            return True

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
        if torch.distributed.is_initialized():  # a group of one, of which accelerate knows nothing
            torch.distributed.destroy_process_group()


def mostly_convolutions(model: nn.Module) -> bool:
    """Whether most of the layers with weights are convolutions: a vision transformer has one, and is not."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return 2 * sum(isinstance(layer, nn.Conv2d) for layer in layers) > len(layers)
