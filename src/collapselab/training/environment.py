"""The settings of torch that a run changes, and puts back: threads, determinism, global randomness."""

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import preserved_randomness

# Small networks spend their time in handing work to threads: on two shared cores a step of the default network was
# measured at 4 ms on one thread and 87 ms on two. One thread also gives the same bits on machines of any size.
DEFAULT_THREADS = 1


def find_device(name: str) -> torch.device:
    """The device of a name, if this machine has it.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns:
        The device.

    Raises:
        InputError: If there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device must be auto, cpu, cuda, cuda:INDEX or mps, got {name!r}") from error
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise InputError(f"device {name!r} is not there: this machine has {_described(present)}")
    return device


def _described(present: dict[str, int]) -> str:
    return ", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in present.items() if count)


@contextlib.contextmanager
def computing(*, threads: int = DEFAULT_THREADS, device: torch.device | None = None) -> Iterator[None]:
    """Compute on so many threads, with deterministic algorithms only, and leave everything as it was.

    Args:
        threads: Threads of one operation.
        device: Where the work is done; CUDA needs one more setting to be deterministic.

    Yields:
        Nothing.
    """
    threads = checks.whole(threads, "threads", at_least=1)
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if device is not None and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, when cuBLAS starts
    with preserved_randomness():
        try:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def quiet_fabric() -> Iterator[None]:
    """Keep advice that is meant for people who write training scripts to themselves.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\..*")
        yield
