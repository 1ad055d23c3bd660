"""Several processes for one training: this one and others, which end with it and never outlive it.

The calling process is the first of them. It keeps its terminal, its listeners and its files; the others are started
anew, as on every platform, and get what they are to do as a pickled function. If one fails, all end, with the error of
the one that failed first. Ctrl-C is for the first alone, which may keep what it has; then the others are ended.

Every process holds the whole network. Sharding the weights (FSDP) and machines other than this one are not supported.
"""

import contextlib
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from collapselab.core import checks
from collapselab.core.errors import CollapselabError, InputError
from collapselab.training._member import Member, Report, joined, take_part
from collapselab.training.sharding import Alone

T = TypeVar("T")

# Seconds in which the first process must notice that another one is gone, and in which those that are done must end.
_GRACE = 10.0

# Seconds in which the report of a process that failed arrives: it was sent before the failure could be noticed.
_ARRIVAL = 1.0


def launch(
    function: Callable[[Any], T],
    *,
    device: torch.device,
    devices: int = 1,
    strategy: str = "auto",
    others: Callable[[Any], object] | None = None,
) -> T:
    """Call a function in as many processes as devices, on this machine, this process being the first.

    A script that calls this with several devices must be guarded by ``if __name__ == "__main__":``, since the other
    processes import it. Threads and deterministic algorithms are in all processes as they are in this one.

    Args:
        function: Is given the processes (`world_size`, `global_rank`, `device`): a `lightning.fabric.Fabric`, or
            `Alone`.
        device: Kind of device; with an index only if it is the only one.
        devices: How many, each with a process of its own.
        strategy: ``auto`` or ``ddp``.
        others: What the processes after the first call instead, for a `function` that cannot be pickled.

    Returns:
        What the function returned in this process.

    Raises:
        InputError: If there are not so many devices, the strategy is another, or the function cannot be pickled.
        CollapselabError: If another process failed: its own error if that is one of collapselab's.
        RuntimeError: What the function raised in this process.
    """
    devices = require_devices(device, devices, strategy)
    if devices == 1:
        return function(Alone(device))
    payload = _pickled(function if others is None else others)
    with tempfile.TemporaryDirectory(prefix="collapselab-", ignore_cleanup_errors=True) as folder:
        members = [Member.here(rank, devices, device.type, Path(folder) / "meeting") for rank in range(devices)]
        crew, done = _Crew(members[1:], payload), False
        try:
            crew.start()
            with crew.watched(), joined(members[0]) as fabric, crew.together():
                result = function(fabric)
                distributed.barrier()
            done = True
        except RuntimeError:
            crew.blame()
            raise
        finally:
            crew.end(at_once=not done)
    return result


def require_devices(device: torch.device, devices: int, strategy: str = "auto") -> int:
    """Refuse processes that cannot be.

    Args:
        device: Kind of device.
        devices: How many.
        strategy: How they work together.

    Returns:
        `devices`.

    Raises:
        InputError: If there are not so many devices, or the strategy is another.
    """
    devices = checks.whole(devices, "devices", at_least=1)
    if strategy not in ("auto", "ddp"):
        raise InputError(
            f"strategy must be auto or ddp, where every process holds the whole network, got {strategy!r}; strategies"
            " that share out the weights, such as fsdp, are not supported"
        )
    if devices == 1:
        return devices
    if device.index is not None:
        raise InputError(f"device must be {device.type} without an index for {devices} devices, got {str(device)!r}")
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type)
    if present is not None and devices > present:
        raise InputError(f"devices must be at most {present}, what this machine has of {device.type}, got {devices}")
    if not distributed.is_available():
        raise InputError(f"devices must be 1, this build of PyTorch has no torch.distributed, got {devices}")
    if distributed.is_initialized():
        raise InputError(f"devices must be 1 in a process that is one of several already, got {devices}")
    return devices


def _pickled(function: Callable[[Any], object]) -> bytes:
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"what other processes are to do must be a function of a module, got {function!r}") from error


class _Crew:
    """The processes after the first, seen from the first.

    Args:
        members: What each is.
        payload: The pickled function.
    """

    def __init__(self, members: list[Member], payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._lines: list[Any] = []
        self._theirs: list[Any] = []
        self._ready: list[Any] = []
        self._reports: list[Report] = []
        self._on_device = members[0].kind != "cpu"
        self._safe = threading.Event()  # set when the first process cannot wait in vain any more
        self._noticed = float("inf")  # when it met an error
        for member in members:
            mine, theirs = context.Pipe(duplex=False)
            self._lines.append(mine)
            self._theirs.append(theirs)
            name = f"process {member.rank} of {member.processes}"
            args = (member, payload, theirs)
            self._processes.append(context.Process(target=take_part, args=args, daemon=True, name=name))

    def start(self) -> None:
        """Start them and wait until each is about to join; one that fails before is noticed here.

        Raises:
            CollapselabError: If one fails.
        """
        for process, theirs in zip(self._processes, self._theirs, strict=True):
            process.start()
            theirs.close()
        for process, line in zip(self._processes, self._lines, strict=True):
            wait([line, process.sentinel])
            self._hear()
            # The end of its line may be seen before its own end: that it lives does not mean that it is ready.
            if self._reports or line not in self._ready:
                raise self._first_failure(process)

    def _hear(self) -> None:
        """Take in what the processes have said."""
        for line in self._lines:
            with contextlib.suppress(EOFError, OSError):  # of one that is gone
                while line.poll():
                    said = line.recv()
                    if said is None:
                        self._ready.append(line)
                    else:
                        self._reports.append(said)

    def _first_failure(self, process: BaseProcess) -> CollapselabError:
        """What the process that failed first said; what is known of this one, if none said anything."""
        self._hear()
        if self._reports:
            return min(self._reports, key=lambda report: report.when).raised(len(self._processes) + 1)
        process.join(_ARRIVAL)
        return CollapselabError(
            f"{process.name} ended without a word, exit code {process.exitcode}; a script that trains in several"
            ' processes must be a file, and guarded by if __name__ == "__main__":'
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """End this process if another one is gone and it would wait for that one without ever coming back.

        That is so while the processes look for each other, and later in the library of a device; on the CPU it is told.

        Yields:
            Nothing.
        """
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        finally:
            self._safe.set()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Where all have found each other; remembers when this process met an error there.

        Yields:
            Nothing.
        """
        if not self._on_device:
            self._safe.set()
        try:
            yield
        except BaseException:
            self._noticed = time.time()
            raise

    def _watch(self) -> None:
        waiting = {process.sentinel: process for process in self._processes}
        while waiting and not self._safe.is_set():
            for sentinel in wait(list(waiting), timeout=1.0):
                process = waiting.pop(sentinel)  # pyright: ignore[reportArgumentType]
                if process.exitcode and not self._safe.wait(_GRACE):
                    print(f"collapselab: {self._first_failure(process)}", file=sys.stderr, flush=True)
                    os._exit(1)

    def blame(self) -> None:
        """Raise the error of the process that failed first, where this one only noticed that it was gone.

        Raises:
            CollapselabError: If another one had failed before.
        """
        end = time.monotonic() + _ARRIVAL
        while time.monotonic() < end:
            self._hear()
            # Later ones only say that this process is gone.
            self._reports = [report for report in self._reports if report.when <= self._noticed]
            killed = [process for process in self._processes if (process.exitcode or 0) < 0]
            if self._reports or killed:
                raise self._first_failure((killed or self._processes)[0])
            time.sleep(0.02)

    def end(self, *, at_once: bool) -> None:
        """See to it that none is left.

        Args:
            at_once: Whether they are not to be waited for.
        """
        started = [process for process in self._processes if process.pid is not None]
        if not at_once:
            for process in started:
                process.join(_GRACE)
        for stop in (BaseProcess.terminate, BaseProcess.kill):
            for process in started:
                if process.is_alive():
                    stop(process)
                    process.join(_GRACE)
        for line in self._lines:
            line.close()
