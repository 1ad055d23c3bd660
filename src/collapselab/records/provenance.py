"""Where a record comes from: versions, git state, threads, seed. Collected without importing what it names."""

import datetime
import functools
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from collapselab import __version__
from collapselab.records.schema import Provenance

# The packages whose version can change a number.
_NUMERICAL = ("torch", "numpy", "lightning", "scikit-learn", "mnist1d", "safetensors", "transformers")


def provenance(
    *,
    threads: int | None = None,
    device: str | None = None,
    devices: int | None = None,
    dtype: str | None = None,
    seed: int | None = None,
    command: tuple[str, ...] = (),
) -> Provenance:
    """Describe the present process.

    Args:
        threads: Threads the computation uses.
        device: Device it runs on, such as ``cpu``.
        devices: How many of them, each with a process of its own.
        dtype: Data type of the model.
        seed: Seed everything random comes from.
        command: Verb and flags that began it.

    Returns:
        The description.
    """
    commit, dirty = _git_state()
    return Provenance(
        collapselab=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=_versions(),
        git_commit=commit,
        git_dirty=dirty,
        threads=threads,
        device=device,
        devices=devices,
        dtype=dtype,
        seed=seed,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
    )


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _NUMERICAL:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _git_state() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout this package runs from; nothing for an installed wheel."""
    here = Path(__file__).resolve().parent
    if "site-packages" in here.parts:
        return None, None
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit, bool(_git(here, "status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True, timeout=10, stdin=None
    )
    return done.stdout.strip()


def command_line() -> tuple[str, ...]:
    """Verb and flags of this process, without the path of the program.

    Returns:
        Arguments after the program's name.
    """
    return tuple(sys.argv[1:])
