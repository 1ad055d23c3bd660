"""Losses beside their slow twins."""

import math

import numpy as np
import pytest
import torch

from collapselab.core.cite import references
from collapselab.core.errors import UnknownName
from collapselab.training import LOSSES
from collapselab.training.losses import Outputs
from tolerances import IDENTITY, REFERENCE


def reference_cross_entropy(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log of the softmax of the true class, sample by sample."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = 0.0
        for logit in row:
            total += math.exp(logit)
        values.append(-math.log(math.exp(row[label]) / total))
    return np.array(values)


def reference_mse(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1/2 ||z - e_y||^2: the term of one sample in Han et al. (2022), eq. 1, without its average over samples."""
    values = []
    for row, label in zip(z, y, strict=True):
        total = 0.0
        for j, logit in enumerate(row):
            total += 0.5 * (logit - (1.0 if j == label else 0.0)) ** 2
        values.append(total)
    return np.array(values)


def outputs(z: torch.Tensor) -> Outputs:
    """Logits alone: features and head stay empty."""
    return Outputs(z, z[:, :0], z[:0, :0])


TWINS = {"cross_entropy": reference_cross_entropy, "mse": reference_mse}


@pytest.mark.parametrize("name", LOSSES)
def test_contract(name: str, generator: torch.Generator) -> None:
    """One number a sample, not negative, equal to the twin's."""
    choice = LOSSES[name]
    assert choice.source in references()
    assert choice.make.unit
    z = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (20,), generator=generator)
    losses = choice.make()(outputs(z), y)
    assert losses.shape == (20,)
    assert bool((losses >= 0).all())
    REFERENCE.check(losses, TWINS[name](z.numpy(), y.numpy()))


def test_mse_is_k_halves_of_what_torch_calls_so(generator: torch.Generator) -> None:
    z = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (20,), generator=generator)
    theirs = torch.nn.functional.mse_loss(z, torch.nn.functional.one_hot(y, 4).double())
    IDENTITY.check(LOSSES["mse"].make()(outputs(z), y).mean(), 4 / 2 * theirs)


def test_unknown_loss() -> None:
    with pytest.raises(UnknownName, match="no loss is called 'cross-entropy'; did you mean 'cross_entropy'"):
        LOSSES["cross-entropy"]
