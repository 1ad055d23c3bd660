"""Logits and their balanced factors: the least decay of all factorisations is the nuclear norm."""

import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory.nuclear import balance_residual, balanced_factors, balancing_decay, nuclear_norm, spectral_norm
from tolerances import IDENTITY, REFERENCE

HEAD, FEATURES = 4e-3, 5e-4


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def penalty(h: torch.Tensor, weight: torch.Tensor) -> float:
    return float(HEAD * weight.square().sum() + FEATURES * h.square().sum()) / 2


def reference_factors(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples as columns: W = (lambda_H/lambda_W)^(1/4) U S^(1/2) and H = (lambda_W/lambda_H)^(1/4) S^(1/2) V^T."""
    u, s, v = np.linalg.svd(z.T, full_matrices=False)
    return (FEATURES / HEAD) ** 0.25 * u * np.sqrt(s), (HEAD / FEATURES) ** 0.25 * np.sqrt(s)[:, None] * v


def test_factors_give_the_logits_at_the_price_of_the_nuclear_norm() -> None:
    z = drawn(20, 4)
    for generator in (None, torch.Generator().manual_seed(1)):
        state = balanced_factors(z, 6, decay_head=HEAD, decay_features=FEATURES, generator=generator)
        IDENTITY.floor(1.0).check(state["h"] @ state["weight"].T, z)
        assert penalty(state["h"], state["weight"]) == pytest.approx(
            math.sqrt(HEAD * FEATURES) * nuclear_norm(z), rel=1e-12
        )
        assert balance_residual(state["h"], state["weight"], decay_head=HEAD, decay_features=FEATURES) < 1e-12
    weight, h = reference_factors(z.numpy())
    REFERENCE.floor(1.0).check(state["weight"] @ state["weight"].T, weight @ weight.T)
    REFERENCE.floor(1.0).check(state["h"] @ state["h"].T, h.T @ h)


def test_no_other_factors_cost_less() -> None:
    z = drawn(12, 3)
    least = math.sqrt(HEAD * FEATURES) * nuclear_norm(z)
    for seed in range(30):
        mixing = drawn(3, 5, seed=seed)
        assert penalty(z @ mixing, torch.linalg.pinv(mixing).T) >= least


def test_rank_deficient_logits_need_as_many_features_as_their_rank() -> None:
    z = drawn(10, 2) @ drawn(2, 5, seed=1)
    state = balanced_factors(z, 2, decay_head=1.0, decay_features=1.0)
    IDENTITY.floor(1.0).check(state["h"] @ state["weight"].T, z)
    with pytest.raises(InputError, match="num_features must be at least the rank of the logits, 2, got 1"):
        balanced_factors(z, 1, decay_head=1.0, decay_features=1.0)
    zero = balanced_factors(0 * z, 3, decay_head=1.0, decay_features=1.0)
    assert {name: tuple(x.shape) for name, x in zero.items()} == {"h": (10, 3), "weight": (5, 3)}


def test_norms_are_those_of_numpy() -> None:
    z = drawn(30, 5)
    assert nuclear_norm(z) == pytest.approx(np.linalg.norm(z.numpy(), "nuc"), rel=1e-13)
    assert spectral_norm(z.T) == pytest.approx(np.linalg.norm(z.numpy(), 2), rel=1e-13)


def test_balancing_decay_balances_the_norms() -> None:
    h, weight = drawn(20, 4), drawn(3, 4, seed=1)
    decay = balancing_decay(h, weight, decay_head=HEAD)
    assert decay * float(h.square().sum()) == pytest.approx(HEAD * float(weight.square().sum()), rel=1e-13)
    with pytest.raises(InputError, match="features and head must not be zero"):
        balancing_decay(h, 0 * weight, decay_head=HEAD)
    assert balance_residual(0 * h, 0 * weight, decay_head=1.0, decay_features=1.0) == 0


def test_refuses() -> None:
    with pytest.raises(InputError, match="decay_features must be a finite number above 0"):
        balanced_factors(drawn(3, 3), 3, decay_head=1.0, decay_features=0.0)
    with pytest.raises(InputError, match="logits must be finite"):
        balanced_factors(torch.full((2, 2), math.nan), 2, decay_head=1.0, decay_features=1.0)
