"""Named child generators, and global generators put back."""

import random

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.core.random import child_seed, generators, preserved_randomness
from tolerances import EXACT


def test_a_name_gives_the_same_draws_whatever_else_is_asked_for() -> None:
    alone = torch.randn(5, generator=generators(3, "order")[0])
    _, beside = generators(3, "data", "order")
    EXACT.check(torch.randn(5, generator=beside), alone)


def test_names_and_seeds_differ() -> None:
    seeds = {child_seed(seed, name) for seed in range(50) for name in ("data", "order", "network")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_known_value() -> None:
    # SHA-256 of "0/data"; a change would change the bits of every run.
    import hashlib

    assert child_seed(0, "data") == int(hashlib.sha256(b"0/data").hexdigest()[:16], 16) // 2


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, None])
def test_bad_seed(seed: object) -> None:
    with pytest.raises(InputError, match="seed must be an integer of at least 0"):
        child_seed(seed, "data")  # pyright: ignore[reportArgumentType]


def _draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the global one is meant


def _seed_and_fail() -> None:
    with preserved_randomness():
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        raise ZeroDivisionError


def test_global_generators_are_put_back() -> None:
    with preserved_randomness():
        first = _draws()
    with pytest.raises(ZeroDivisionError):
        _seed_and_fail()
    assert _draws() == first
