"""Named child generators from one seed, and global generators that are put back as they were."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from collapselab.core import checks


def child_seed(seed: int, name: str) -> int:
    """Seed of one purpose: independent of which other purposes there are and in which order they are asked for.

    Args:
        seed: Seed of everything.
        name: What the randomness is for.

    Returns:
        A number below 2^63, from SHA-256.
    """
    seed = checks.whole(seed, "seed", at_least=0)
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generators(seed: int, *names: str) -> tuple[torch.Generator, ...]:
    """One generator on the CPU for each purpose.

    Args:
        seed: Seed of everything.
        names: What the randomness is for; a new purpose leaves the draws of the others as they were.

    Returns:
        Generators in the order of the names.

    Example:
        >>> data, order = generators(0, "data", "order")
        >>> data.initial_seed() == generators(0, "data")[0].initial_seed()
        True
    """
    return tuple(torch.Generator().manual_seed(child_seed(seed, name)) for name in names)


@contextlib.contextmanager
def preserved_randomness() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were, whatever is drawn or seeded inside.

    Yields:
        Nothing.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is kept
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
