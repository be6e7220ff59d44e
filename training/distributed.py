"""One process of several (torchrun): its part of a batch, and losses over the whole batch with the right gradients.

Every rank gathers what the losses read and computes the loss of the whole batch; the gradient flows back through the
rank's own part alone, and the sum over the ranks is the gradient that one process would have had.  So a loss knows
nothing of ranks, whatever it averages over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from henasy_stream.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which process this is (`rank` of `size`), and which of its machine (`local`)."""

    rank: int = 0
    size: int = 1
    local: int = 0

    def share(self, batch: int) -> slice:
        """This rank's clips of a batch.

        Raises:
            UserError: the batch can't be divided.
        """
        if batch % self.size:
            raise UserError(f"a batch of {batch} clips can't be divided among {self.size} ranks; change --batch")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


ALONE = Ranks()
CPU = torch.device("cpu")
MEETING = timedelta(minutes=2)
"""So long the ranks look for each other."""
WAITING = timedelta(hours=4)
"""So long a rank waits for another: the first renders clips and scores models alone."""


def ranks_of_environment() -> Ranks:
    """As torchrun says; one process without it.

    Raises:
        UserError: what the variables say makes no sense.
    """
    told = {name: os.environ.get(name, usual) for name, usual in
            (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))}  # fmt: skip
    if not all(map(str.isdecimal, told.values())) or int(told["RANK"]) >= int(told["WORLD_SIZE"]):
        values = ", ".join(f"{name}={value}" for name, value in told.items())
        raise UserError(f"{values}: a rank must be below the size; start workers with torchrun, or unset these")
    return Ranks(rank=int(told["RANK"]), size=int(told["WORLD_SIZE"]), local=int(told["LOCAL_RANK"]))


def device_of(name: str, ranks: Ranks) -> torch.device:
    """Of "cpu", "cuda" (each rank of a machine its own GPU), or "auto".

    Raises:
        UserError: another name, or a GPU asked for where there is none for this rank.
    """
    gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise UserError(f"no device {name!r}; choose auto, cpu or cuda")
    if ranks.local >= gpus:
        raise UserError(
            f"rank {ranks.rank} finds {gpus} GPUs on its machine and needs number {ranks.local}; "
            "start fewer processes or choose --device cpu"
        )
    torch.cuda.set_device(ranks.local)
    return torch.device("cuda", ranks.local)


def device_name(device: torch.device) -> str:
    """For a person: the GPU's name, or that it was a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"


@contextmanager
def first_rank_first(ranks: Ranks) -> Iterator[None]:
    """Rank 0 runs the body alone, then the others: they find done what it did, or meet the mistake that it met."""
    if ranks.rank:
        dist.barrier()
    try:
        yield
    finally:
        if ranks.size > 1 and not ranks.rank:
            dist.barrier()


@contextmanager
def process_group(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """The ranks can talk to each other inside (nccl between GPUs, gloo between CPUs); one rank needs nothing.

    Raises:
        UserError: they don't find each other.
    """
    if ranks.size == 1:
        yield
        return
    try:
        store, rank, size = next(rendezvous("env://", ranks.rank, ranks.size, timeout=MEETING))
        store.set_timeout(WAITING)
        gpu = device.type == "cuda"
        dist.init_process_group(
            "nccl" if gpu else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=WAITING,
            device_id=device if gpu else None,
        )
    except (ValueError, RuntimeError) as error:  # torch raises either, for what the environment says and for sockets
        address = f"{os.environ.get('MASTER_ADDR', '(no MASTER_ADDR)')}:{os.environ.get('MASTER_PORT', '(no port)')}"
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"rank {ranks.rank} of {ranks.size} does not reach the others at {address} ({reason}); start all with "
            "torchrun, with an address and a free port that every machine reaches"
        ) from None
    yield
    dist.destroy_process_group()  # not after an error: it may wait for ranks that wait for this one


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, ranks: Ranks) -> Tensor:
        ctx.rows = slice(ranks.rank * len(part), (ranks.rank + 1) * len(part))
        part = part.contiguous()  # first: empty_like keeps strides, and a message needs none
        parts = [torch.empty_like(part) for _ in range(ranks.size)]
        dist.all_gather(parts, part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0][ctx.rows], None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, ranks: Ranks) -> Tensor:
        ctx.size = ranks.size
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] / ctx.size, None


def gather(part: Tensor, ranks: Ranks) -> Tensor:
    """(N, …) of each rank → (ranks · N, …) in the order of ranks; every rank must bring the same shape."""
    if ranks.size == 1:
        return part
    if part.dtype is torch.bool:
        return gather(part.to(torch.uint8), ranks).bool()
    return _Gather.apply(part, ranks)  # type: ignore[no-untyped-call]


def gather_text(part: str, ranks: Ranks) -> str:
    """The texts of all ranks, one after the other."""
    if ranks.size == 1:
        return part
    parts = [""] * ranks.size
    dist.all_gather_object(parts, part)
    return "; ".join(parts)


def shared(whole: Tensor, ranks: Ranks) -> Tensor:
    """What every rank computes alike, e.g. the dictionary: its gradient must count once, not once a rank."""
    return whole if ranks.size == 1 else _Shared.apply(whole, ranks)  # type: ignore[no-untyped-call]


def gather_fields(parts: T, ranks: Ranks, *names: str) -> T:
    """A copy of a dataclass whose tensors `names` are gathered; None stays None."""
    present = {f.name for f in fields(parts) if getattr(parts, f.name) is not None}  # type: ignore[arg-type]
    return replace(parts, **{name: gather(getattr(parts, name), ranks) for name in names if name in present})  # type: ignore[type-var]


def sum_gradients(parameters: list[torch.nn.Parameter], ranks: Ranks) -> None:
    """Give every rank the sum of all ranks' gradients, in one message after the backward pass.

    All ranks compute one and the same loss, so a parameter that it does not reach has no gradient on any of them.

    At the paper's size the message holds 60.7 M floats, 243 MB; each rank sends and receives less than twice that,
    about 50 ms at 10 GB/s, beside a step of more than a second.  `DistributedDataParallel` could hide those few per
    cent behind the backward pass, for buckets, hooks, a wrapper around the model, and an average where a sum is due.
    """
    if ranks.size == 1:
        return
    reached = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in reached if p.grad is not None])
    dist.all_reduce(flat)
    for parameter, piece in zip(reached, torch.split(flat, [p.numel() for p in reached]), strict=True):
        parameter.grad = piece.view_as(parameter)


def broadcast(module: torch.nn.Module, ranks: Ranks) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    if ranks.size > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)
