"""Which process does which samples, and how what they found is put together: without padding, the same in all."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, distributed, nn

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats
from collapselab.training.heads._neck import Centring


class Processes(Protocol):
    """What is needed to know of the processes of a training: a `lightning.fabric.Fabric` knows it, and so does `Alone`.

    A training in one process needs nothing else of Fabric, whose import takes longer than many a run.
    """

    @property
    def world_size(self) -> int:
        """How many there are."""
        ...

    @property
    def global_rank(self) -> int:
        """Which of them this one is, from 0."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this one computes."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process on one device.

    Attributes:
        device: Where it computes.
        world_size: 1.
        global_rank: 0.
    """

    device: torch.device
    world_size: Literal[1] = 1
    global_rank: Literal[0] = 0


def share(total: int, fabric: Processes) -> slice:
    """The samples of this process: consecutive ones, as many as of any other process, or one more.

    Args:
        total: Samples of all processes together.
        fabric: The processes.

    Returns:
        The place of its samples among all; empty where there are more processes than samples, but never in the first.

    Example:
        >>> share(251, Alone(torch.device("cpu")))
        slice(0, 251, None)
    """
    whole, more = divmod(total, fabric.world_size)
    rank = fabric.global_rank
    start = rank * whole + min(rank, more)
    return slice(start, start + whole + (rank < more))


def gathered(rows: Tensor, fabric: Processes) -> Tensor:
    """Put the rows of all processes together again.

    Args:
        rows: (m, ...) those of this process; m may differ, the rest of the shape and the type may not. No gradient goes
            through.
        fabric: The processes, all of which must call this.

    Returns:
        (n, ...), those of the first process first; the same in every process, where `rows` are.
    """
    if fabric.world_size == 1:
        return rows
    mine = rows.detach().to(fabric.device)
    lengths = _everywhere(torch.tensor([mine.shape[0]], device=fabric.device), fabric)
    counts = [int(length) for length in lengths]
    padded = mine.new_zeros(max(counts), *mine.shape[1:])
    padded[: mine.shape[0]] = mine
    found = _everywhere(padded, fabric)
    return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)]).to(rows.device)


def _everywhere(tensor: Tensor, fabric: Processes) -> list[Tensor]:
    found = [torch.empty_like(tensor) for _ in range(fabric.world_size)]
    distributed.all_gather(found, tensor.contiguous())
    return found


def merged(stats: ClassStats | None, fabric: Processes) -> ClassStats:
    """Class moments of the samples of all processes.

    Args:
        stats: Moments of the samples of this process; None where it has none.
        fabric: The processes, all of which must call this.

    Returns:
        The moments, merged in the order of the processes and so the same bits in all of them.

    Raises:
        InputError: If no process has samples.
    """
    if fabric.world_size == 1:
        parts = [stats]
    else:
        parts: list[ClassStats | None] = [None] * fabric.world_size
        distributed.all_gather_object(parts, None if stats is None else _moved(stats, torch.device("cpu")))
    found = [part for part in parts if part is not None]
    if not found:
        raise InputError("statistics need at least one sample in one of the processes, got none")
    whole = found[0]
    for part in found[1:]:
        whole = whole.merge(part)
    return whole if stats is None else _moved(whole, stats.means.device)


def _moved(stats: ClassStats, device: torch.device) -> ClassStats:
    tensors = {name: value for name, value in vars(stats).items() if isinstance(value, Tensor)}
    fields = {field.name for field in dataclasses.fields(stats)}
    return dataclasses.replace(stats, **{name: tensors[name].to(device) for name in fields & set(tensors)})


def summed(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their sums over all processes, in one message for each data type and without waiting for it.

    Args:
        tensors: Of the same shapes in every process; changed in place.
    """
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    for group in groups.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        distributed.all_reduce(flat)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(part.view(tensor.shape))


class JointGradient:
    """Makes the gradients that processes found on their shares one gradient, the same bits in all of them.

    Not the reduction of `DistributedDataParallel`, which averages over processes whatever their share and needs each to
    go forward: here they are summed once after the pass, so shares may be uneven or empty, parameters unused, and an
    optimiser may add several gradients in a step.

    Args:
        network: The same in all processes.
        fabric: The processes.
    """

    def __init__(self, network: nn.Module, fabric: Processes) -> None:
        self._fabric = fabric
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._statistics = [
            buffer
            for module in network.modules()
            if isinstance(module, (nn.modules.batchnorm._NormBase, Centring))
            for buffer in module.buffers(recurse=False)
        ]
        self._before: list[Tensor | None] = []

    def begin(self) -> None:
        """Set aside the gradient that was there."""
        self._before = [parameter.grad for parameter in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None

    def end(self, totals: Sequence[Tensor], *, num_samples: int) -> None:
        """Sum over all processes what came since `begin`, and add it to what was there.

        Running statistics become those of the first process.

        Args:
            totals: Numbers to sum as well, in place.
            num_samples: Samples of all processes together.
        """
        used = [parameter for parameter, has in zip(self._parameters, self._used(num_samples), strict=True) if has]
        for parameter in used:
            if parameter.grad is None:  # this process had no sample
                parameter.grad = torch.zeros_like(parameter)
        with torch.no_grad():
            if self._fabric.global_rank != 0:
                for buffer in self._statistics:
                    buffer.zero_()
            summed([*(p.grad for p in used if p.grad is not None), *self._statistics, *totals])
            for parameter, before in zip(self._parameters, self._before, strict=True):
                if before is not None:
                    parameter.grad = before if parameter.grad is None else before.add_(parameter.grad)
        self._before = []

    def _used(self, num_samples: int) -> list[bool]:
        """Which parameters have a gradient in any process: those of this one, unless it had nothing to do."""
        mine = [parameter.grad is not None for parameter in self._parameters]
        if num_samples >= self._fabric.world_size:
            return mine
        flags = torch.tensor(mine, dtype=torch.int64, device=self._fabric.device)
        distributed.all_reduce(flags)
        return flags.bool().tolist()


def same_start(network: nn.Module, generator: torch.Generator, fabric: Processes) -> None:
    """Give every process the weights, buffers and order generator of the first.

    Args:
        network: Changed in place in all processes but the first.
        generator: Likewise.
        fabric: The processes, all of which must call this.
    """
    if fabric.world_size == 1:
        return
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            whole = tensor.detach().contiguous()
            distributed.broadcast(whole, 0)
            tensor.copy_(whole)
    state = generator.get_state().to(fabric.device)
    distributed.broadcast(state, 0)
    generator.set_state(state.cpu())
