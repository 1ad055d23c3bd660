"""One process of a training that runs in several: how it joins the others, and how it says what went wrong."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from collapselab.core import extras
from collapselab.core.errors import CollapselabError
from collapselab.training.environment import quiet_fabric

# No process may be given up for slow: one that measures or writes lets the others wait. Dead ones are noticed at once.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Member:
    """The place of one process among all.

    Attributes:
        rank: Its number.
        processes: How many there are.
        kind: Kind of device.
        meeting: File over which they find each other: no port that somebody else could take.
        threads: Threads of an operation.
        deterministic: Whether only deterministic algorithms are allowed.
    """

    rank: int
    processes: int
    kind: str
    meeting: Path
    threads: int
    deterministic: bool

    @classmethod
    def here(cls, rank: int, processes: int, kind: str, meeting: Path) -> "Member":
        """A place with the settings of this process.

        Args:
            rank: Number of the place.
            processes: How many there are.
            kind: Kind of device.
            meeting: File over which they find each other.

        Returns:
            The place.
        """
        deterministic = torch.are_deterministic_algorithms_enabled()
        return cls(rank, processes, kind, meeting, torch.get_num_threads(), deterministic)


def _fabric_parts() -> tuple[Any, Any]:
    purpose = "training in several processes"
    lightning = extras.require("lightning.fabric", extra="train", purpose=purpose)
    return lightning, extras.require("lightning.fabric.plugins.environments", extra="train", purpose=purpose)


@contextlib.contextmanager
def joined(member: Member) -> Iterator[Any]:
    """Be one of the processes.

    Args:
        member: Which.

    Yields:
        The Fabric.
    """
    lightning, environments = _fabric_parts()
    backend = "nccl" if member.kind == "cuda" and distributed.is_nccl_available() else "gloo"
    if member.kind == "cuda":
        torch.cuda.set_device(member.rank)
    # The variables say that the processes are there already; Fabric reads them whenever it is asked for the rank.
    names = {"LOCAL_RANK": str(member.rank), "NODE_RANK": "0"}
    before = {name: os.environ.get(name) for name in (*names, "OMP_NUM_THREADS", "WORLD_SIZE")}
    os.environ.update(names)
    store = torch.distributed.FileStore(str(member.meeting), member.processes)  # pyright: ignore[reportPrivateImportUsage]
    distributed.init_process_group(
        backend, store=store, rank=member.rank, world_size=member.processes, timeout=_PATIENCE
    )
    try:
        with quiet_fabric():
            fabric = lightning.Fabric(
                accelerator=member.kind,
                devices=member.processes,
                strategy="ddp",
                plugins=[environments.LightningEnvironment()],
            )
            fabric.launch()
        torch.set_num_threads(member.threads)  # Fabric chooses a number of its own
        yield fabric
    finally:
        torch.set_num_threads(member.threads)
        with contextlib.suppress(RuntimeError):  # of a group that has lost a member
            distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Report:
    """What a process says that failed.

    Attributes:
        rank: Its number.
        when: Seconds since 1970.
        error: The error, if it is one of collapselab's.
        text: Its traceback.
    """

    rank: int
    when: float
    error: CollapselabError | None
    text: str

    def raised(self, processes: int) -> CollapselabError:
        """The error to raise in the first process.

        Args:
            processes: How many there are.

        Returns:
            The error itself if it is one of collapselab's, else one that quotes it; the traceback is its cause.
        """
        last = self.text.strip().splitlines()[-1]
        error = self.error or CollapselabError(f"process {self.rank} of {processes} failed: {last}")
        error.__cause__ = RuntimeError(f"in process {self.rank} of {processes}:\n{self.text}")
        return error


def take_part(member: Member, payload: bytes, line: Connection) -> None:
    """What the processes after the first do: say that they are ready, work, and say what went wrong if something did.

    Args:
        member: Which of them this is.
        payload: The pickled function.
        line: To the first process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of them; the first decides what comes of it
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(member.threads)
    if member.deterministic:
        if member.kind == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        with _reporting(member, line):
            function = pickle.loads(payload)
            _fabric_parts()  # imported before it is ready, so that the first process need not wait for it in the dark
            line.send(None)  # ready
            # Said once more before the group is left, since that is what the first process notices.
            with joined(member) as fabric, _reporting(member, line):
                function(fabric)
                distributed.barrier()
    except BaseException:
        sys.exit(1)  # its traceback is in the report


@contextlib.contextmanager
def _reporting(member: Member, line: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        own = error if isinstance(error, CollapselabError) else None
        line.send(Report(member.rank, time.time(), own, traceback.format_exc()))
        raise


def _leave_with(parent: Any) -> None:
    """End this process when the first one is gone, however it went."""
    parent.join()
    os._exit(1)
