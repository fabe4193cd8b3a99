"""Training of one model by several processes, each on its part of every batch.

``torchrun`` starts them and numbers them in the environment. All of them draw the same index vector
and make the same augmented batch; each runs its part of it through the model, and gradients are
summed. As the loss is divided by the sum of the weights of the whole batch, the sum of the
gradients is that of a single process with the same batch.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Stores by which the processes find each other and report failures, one for each `joined`.
_stores: list[Any] = []
_FAILED = "failed"
_PROCESS, _LEFT = "process/{}", "left/{}"
# Messages of gloo and NCCL about a process that is gone.
_LOST = re.compile(r"gloo|NCCL|connection|peer|process group", re.IGNORECASE)


class Group(NamedTuple):
    """The processes that train together; a single one outside `joined`.

    With a `size` of 1 nothing is communicated and nothing changes. All methods must be called by
    all processes of the group, in the same order.
    """

    rank: int = 0
    size: int = 1

    def part(self, count: int) -> slice:
        """Return the part of `count` consecutive things for this process."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def own(self, purpose: str) -> str:
        """Name a random stream that differs from process to process (dropout)."""
        return purpose if self.rank == 0 else f"{purpose}/{self.rank}"

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place, not seen by autograd."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, mine: Tensor, count: int) -> Tensor:
        """Return the rows of all processes (count, ...), where each has those of its `part`."""
        if self.size == 1:
            return mine
        rows = mine.new_zeros((count, *mine.shape[1:]))
        rows[self.part(count)] = mine
        return self.sum(rows)

    def of_first(self, values: Tensor, device: torch.device) -> Tensor:
        """Send a vector of the first process, on the CPU, to all of them, by way of `device`."""
        if self.size == 1:
            return values
        length = torch.tensor([len(values)], device=device)
        dist.broadcast(length, 0)
        vector = (
            values.to(device) if self.rank == 0 else values.new_empty(int(length), device=device)
        )
        dist.broadcast(vector, 0)
        return vector.cpu()

    def any(self, mine: bool, device: torch.device) -> bool:
        """Return whether `mine` is true in any process."""
        if self.size == 1:
            return mine
        return bool(self.sum(torch.tensor([float(mine)], device=device)))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the sum of all gradients, in one message."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def equal_weights(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.size > 1:
            for value in model.state_dict().values():
                first = value.contiguous()
                dist.broadcast(first, 0)
                value.copy_(first)

    def mean_buffers(self, model: nn.Module) -> None:
        """Give every process the mean of all batch-norm statistics."""
        if self.size > 1:
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.sum(buffer.contiguous().clone()) / self.size)


ALONE = Group()


def is_secondary_rank() -> bool:
    """Return whether ``torchrun`` started this process beside a first one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"


def group() -> Group:
    """Return the group of this process."""
    if dist.is_available() and dist.is_initialized():
        return Group(dist.get_rank(), dist.get_world_size())
    return ALONE


@contextlib.contextmanager
def joined(device: str) -> Iterator[Group]:
    """Join the other processes that ``torchrun`` started, if it did; leave them afterwards.

    Args:
        device: ``cuda`` (by NCCL, each process on the GPU of its LOCAL_RANK) or ``cpu`` (by gloo).

    Raises:
        ValueError: The device is not supported, or there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield group()
        return
    _choose_device(device)
    from torch._C._distributed_c10d import PrefixStore  # not in every build of torch
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(iter(rendezvous("env://")))
    _stores.append(PrefixStore(f"imbalance_study/{len(_stores)}", store))
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=_stores[-1], rank=rank, world_size=size)
    try:
        with _present(_stores[-1], rank) if rank else contextlib.nullcontext():
            yield group()
    except Exception as error:
        if rank:
            _stores[-1].set(_FAILED, f"process {rank}: {error}")
        raise
    finally:
        leave()


@contextlib.contextmanager
def _present(store: Any, rank: int) -> Iterator[None]:
    """Note this process in the store, and that it left: only one that is killed does not."""
    store.set(_PROCESS.format(rank), f"{os.getpid()} {platform.node()}")
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _exit) if in_main_thread else None
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the process with the store may be gone
            store.set(_LEFT.format(rank), "")
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def report_peer_failure() -> Iterator[None]:
    """Raise the error of another process in place of the failure that it caused in this one.

    Used around the work of the first process. ``torchrun`` then stops this process too; its signal
    is ignored until the status of the run is written.

    Raises:
        ValueError: Another process failed; with its message.
    """
    if group().size == 1:
        yield
        return
    store = _stores[-1]
    try:
        yield
    except (Exception, SystemExit) as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _of_another(store, error) or error from None


def _choose_device(device: str) -> None:
    if device not in ("cuda", "cpu"):
        raise ValueError(f"torchrun needs device=cuda or cpu, got device={device}")
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"torchrun started at least {local + 1} processes on a machine with "
                f"{torch.cuda.device_count()} GPUs; start one for each GPU"
            )
        torch.cuda.set_device(local)


def _of_another(store: Any, error: BaseException) -> ValueError | None:
    """Return the error of another process where `error` may only be its consequence."""
    lost = isinstance(error, RuntimeError) and _LOST.search(str(error))
    if not lost and not isinstance(error, SystemExit):
        return None
    reason = ""
    with contextlib.suppress(Exception):  # the process with the store may be gone as well
        reason = store.get(_FAILED).decode() if store.check([_FAILED]) else ""
        if not reason and _one_was_killed(store):
            reason = "it was killed"
    if lost and not reason:
        reason = "it was killed, or lost its connection"
    return ValueError(f"another process of torchrun failed ({reason})") if reason else None


def _one_was_killed(store: Any) -> bool:
    """Return whether another process on this machine is gone and could not say so.

    ``torchrun`` terminates this process when another one ends, which may be before this one notices
    that the connection is lost.
    """
    import psutil

    for rank in range(1, group().size):
        name = _PROCESS.format(rank)
        if store.check([name]) and not store.check([_LEFT.format(rank)]):
            number, _, host = store.get(name).decode().partition(" ")
            if host != platform.node():
                continue
            try:
                if psutil.Process(int(number)).status() == psutil.STATUS_ZOMBIE:
                    return True
            except psutil.NoSuchProcess:
                return True
    return False


def leave() -> None:
    """Leave the other processes; from now on each is alone."""
    if dist.is_initialized():
        dist.destroy_process_group()
