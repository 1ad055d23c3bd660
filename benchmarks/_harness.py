"""Timing in pairs, counting work, measuring memory. Ratios travel between machines; seconds do not."""

import argparse
import json
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FACTORISATIONS = ("linalg_qr", "_linalg_svd", "_linalg_eigh", "linalg_cholesky_ex", "_linalg_slogdet", "linalg_lu")


@dataclass(frozen=True)
class Timing:
    """CPU seconds of this process, as minimum, median and maximum over the repetitions."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:8.3f} s [{self.low:.3f}, {self.high:.3f}]"


def _timing(seconds: list[float]) -> Timing:
    return Timing(min(seconds), statistics.median(seconds), max(seconds))


def _once(fn: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    fn()
    return clock() - start


def timed(fn: Callable[[], object], *, repeats: int = 3) -> Timing:
    """CPU seconds of a function after one warm-up."""
    fn()
    return _timing([_once(fn) for _ in range(repeats)])


def paired(
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    repeats: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> tuple[Timing, Timing, Timing]:
    """Two functions in turn: ours, the reference, and the ratio pair by pair.

    The clock counts what this process computes; with other processes or devices at work, take `time.perf_counter`.
    """
    ours(), reference()
    pairs = [(_once(ours, clock), _once(reference, clock)) for _ in range(repeats)]
    ratios = [a / b for a, b in pairs]
    return _timing([a for a, _ in pairs]), _timing([b for _, b in pairs]), _timing(ratios)


class Work(TorchDispatchMode):
    """Counts multiply-adds of matrix products, factorisations and bytes written by conversions to float64."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds = 0
        self.factorisations: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_", "bmm", "baddbmm"):
            a, b = (args[-2], args[-1]) if not name.startswith(("addmm", "baddbmm")) else args[1:3]
            self.multiply_adds += a.numel() * b.shape[-1]
        if name in _FACTORISATIONS:
            self.factorisations[name.strip("_")] += 1
        return func(*args, **(kwargs or {}))


def work(fn: Callable[[], object]) -> Work:
    """What a function does, counted."""
    with Work() as counted:
        fn()
    return counted


def peak_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Table:
    """Rows printed as they come and, with ``--json FILE``, kept."""

    def __init__(self, title: str) -> None:
        parser = argparse.ArgumentParser(description=title)
        parser.add_argument("--threads", type=int, default=1)
        parser.add_argument("--json", metavar="FILE")
        self.arguments = parser.parse_args()
        torch.set_num_threads(self.arguments.threads)
        self.rows: list[dict[str, object]] = []
        print(f"{title}\ntorch {torch.__version__}, {self.arguments.threads} thread(s), CPU seconds of the process\n")

    def add(self, what: str, **figures: object) -> None:
        """One row."""
        self.rows.append({"what": what, **{k: v.__dict__ if isinstance(v, Timing) else v for k, v in figures.items()}})
        shown = "  ".join(f"{key} {value}" for key, value in figures.items())
        print(f"{what:<46} {shown}", flush=True)

    def close(self) -> None:
        """Write the JSON file, if one was asked for."""
        if self.arguments.json:
            with open(self.arguments.json, "w") as file:
                json.dump(self.rows, file, indent=1)
