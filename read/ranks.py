"""Several processes that train one model, each on its rows of every batch, with the result of one process.

Each collates the whole batch, so that all pad alike and draw alike, and runs the model on its own rows. What losses
look at is gathered, with its gradient, and each process computes the loss of the whole batch: contrasts between samples
and means over tokens, clips or windows are what they are in one process, which no mean of the parts' losses would be.
Of that loss each takes its share, 1 / P, so that the gradients summed over processes are those of one.

All this is at work in the loops of `read.train` where `torch.distributed` is set up with more than one process. Else
the functions give back what they are given.

Symbols: P processes, B samples of the batch, b of them this process'.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from read.autograd import once_differentiable
from read.errors import InputError

BUCKET = 2**24  # numbers that are summed over processes at once


def is_first() -> bool:
    """Whether this is the process that tells and writes; one that is alone is."""
    return not _several() or dist.get_rank() == 0


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@dataclass(frozen=True)
class Division:
    """Which rows of a batch of B samples each of P processes takes: parts that follow each other, as even as can be.

    A process without a row runs the first one, of which nothing is gathered, so that all take part in what follows.

    Attributes:
        sizes: rows of each process.
        rank: of this process.
        noise: what its draws depend on, beside the rank.
    """

    sizes: tuple[int, ...]
    rank: int
    noise: tuple[int, ...] = ()

    @classmethod
    def of(cls, count: int, *noise: int) -> "Division":
        """That of `count` samples among the processes there are."""
        each, more = divmod(count, dist.get_world_size())
        return cls(tuple(each + (rank < more) for rank in range(dist.get_world_size())), dist.get_rank(), noise)

    @property
    def own(self) -> slice:
        """The rows of this process."""
        start = sum(self.sizes[: self.rank])
        return slice(start, start + self.sizes[self.rank])

    @property
    def run(self) -> slice:
        """The rows that it runs the model on."""
        return self.own if self.sizes[self.rank] else slice(0, 1)


_TOGETHER: ContextVar[bool] = ContextVar("together", default=False)
_DIVISION: ContextVar[Division | None] = ContextVar("division", default=None)


@contextmanager
def together(model: nn.Module, *same: Any) -> Iterator[None]:
    """While the block runs, the processes there are train `model` together, from the first one's weights.

    Args:
        model: in each process, on that process' device.
        same: what has to be the same in all, by its `repr`: how, and on which samples.

    Raises:
        InputError: it is not the same, as where each process was given samples of its own.
    """
    if not _several():
        yield
        return
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, [zlib.crc32(repr(each).encode()) for each in same])
    if any(other != found[0] for other in found):
        raise InputError(
            f"train: the {len(found)} processes were given different settings or samples; give all of them to each, "
            "for every batch is divided among the processes"
        )
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            first = value.contiguous()
            dist.broadcast(first, 0)
            value.copy_(first)
    token = _TOGETHER.set(True)
    try:
        yield
    finally:
        _TOGETHER.reset(token)


@contextmanager
def divided(batch: Mapping[str, Any], *noise: int) -> Iterator[None]:
    """While the block runs, a batch is divided: see `own` and `gathered`, and for `noise`, its seed, `own_noise`."""
    rows = next(len(value) for value in batch.values() if value is not None)
    token = _DIVISION.set(Division.of(rows, *noise) if _TOGETHER.get() else None)
    try:
        yield
    finally:
        _DIVISION.reset(token)


@contextmanager
def own_noise(device: torch.device) -> Iterator[None]:
    """While the block runs, what is drawn on a device is this process' own, as dropout has to be.

    After it, all processes draw alike again, as losses have to.
    """
    if (division := _DIVISION.get()) is None:
        yield
        return
    with forked(device):
        torch.manual_seed(Random(f"{division.noise} {division.rank}").getrandbits(63))
        yield


def forked(device: torch.device) -> Any:
    """A block that leaves the random state as it was, on the CPU and on `device`."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def own(batch: Any) -> Any:
    """Of a batch the rows that this process runs: of tensors (B, ...), lists of B, and what holds such by name."""
    if (division := _DIVISION.get()) is None or batch is None:
        return batch
    if isinstance(batch, Mapping):
        return {name: own(value) for name, value in batch.items()}
    if len(batch) != sum(division.sizes):
        raise InputError(f"train: the batch has {sum(division.sizes)} samples, but a part of it has {len(batch)} rows")
    return batch[division.run]


def gathered(outputs: Any) -> Any:
    """Of what each process has of its own rows, that of the whole batch, in its order, with gradients.

    Args:
        outputs: a tensor (b, ...), or a mapping or a sequence of such. All processes have to ask in the same order.

    Returns:
        (B, ...); of a mapping what is looked at, when it is.

    Raises:
        InputError: something has not b rows.
    """
    if (division := _DIVISION.get()) is None or outputs is None:
        return outputs
    if isinstance(outputs, Mapping):
        return _Whole(outputs)
    if isinstance(outputs, (list, tuple)):
        return [gathered(each) for each in outputs]
    rows = division.run.stop - division.run.start
    if not isinstance(outputs, Tensor) or outputs.dim() == 0 or len(outputs) != rows:
        what = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(f"train: an output of the model is {what}, which is no tensor with a row for each sample")
    return _Gather.apply(outputs, division)


class _Whole(Mapping):
    """Outputs of the whole batch; what no loss looks at is not sent around."""

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self.outputs = outputs
        self.found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.found:
            self.found[name] = gathered(self.outputs[name])
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


class _Gather(torch.autograd.Function):
    """(b, ...) of every process -> (B, ...); the gradient of a row is the sum of what it is to all processes."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, division: Division) -> Tensor:
        ctx.division, ctx.rows = division, len(mine)
        real, most = division.sizes[division.rank], max(division.sizes)
        padded = torch.cat((mine[:real], mine.new_zeros(most - real, *mine.shape[1:]))).contiguous()
        parts = [torch.empty_like(padded) for _ in division.sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, division.sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        mine = gradient[ctx.division.own]
        return torch.cat((mine, mine.new_zeros(ctx.rows - len(mine), *mine.shape[1:]))), None


def mean(values: Tensor) -> Tensor:
    """The mean over processes, in each of them, of what should be the same: of one that is not finite all hear."""
    if not _TOGETHER.get():
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed / dist.get_world_size()


def share(loss: Tensor) -> Tensor:
    """Of the loss of the whole batch, what this process adds to the gradients."""
    return loss / len(division.sizes) if (division := _DIVISION.get()) else loss


@torch.no_grad()
def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Let the gradients be sums over all processes; a parameter that no process used stays without one."""
    if not _TOGETHER.get() or not parameters:
        return
    used = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
    used = used.to(parameters[0].device)
    dist.all_reduce(used)
    bucket: list[Tensor] = []
    for parameter in (each for each, times in zip(parameters, used.tolist(), strict=True) if times):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if bucket and sum(map(torch.numel, bucket)) + parameter.numel() > BUCKET:
            _sum(bucket)
            bucket = []
        bucket.append(parameter.grad)
    if bucket:
        _sum(bucket)


def _sum(values: list[Tensor]) -> None:
    flat = torch.cat([value.flatten() for value in values])
    dist.all_reduce(flat)
    for value, summed in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(summed.view_as(value))


def work_shared(items: Sequence[Any], work: Callable[[Sequence[Any]], Sequence[Any]]) -> list[Any]:
    """What `work` makes of items, one of each and in their order, divided among processes that train together.

    Raises:
        InputError: in all of them, what it raises in one.
    """
    if not _TOGETHER.get():
        return list(work(items))
    part, made, failed = items[Division.of(len(items)).own], [], None
    try:
        made = list(work(part)) if part else []
    except InputError as error:
        failed = error
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, (made, failed))
    for _, fault in found:
        if fault is not None:
            raise fault
    return [each for of_rank, _ in found for each in of_rank]


def agreed(value: Any) -> Any:
    """The first process' value, in all that train together: what they decide by must not differ in a last digit."""
    if not _TOGETHER.get():
        return value
    held = [value]
    dist.broadcast_object_list(held, 0)
    return held[0]
