"""Gaussian clusters: moments, and the error of the best classifier where it is known."""

import math

import pytest
import torch
from scipy import integrate, stats

from collapselab.core.errors import InputError
from collapselab.training.data.gaussian import Gaussian
from tolerances import EXACT, MONTE_CARLO, REFERENCE


def bayes_error(settings: Gaussian) -> float:
    """One minus the integral of phi(z) Phi(z + a / sigma)^(K-1), by quadrature."""
    k = settings.num_classes
    a = math.sqrt(k / (k - 1)) if settings.means == "simplex" else 1.0
    right, _ = integrate.quad(
        lambda z: stats.norm.pdf(z) * stats.norm.cdf(z + a / settings.spread) ** (k - 1), -12, 12, epsabs=1e-12
    )
    return 1 - right


def original(settings: Gaussian, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Test points with the standardisation undone, by the known means."""
    splits = settings.load(generator)
    x, y = splits.train.x.double(), splits.train.y
    design = settings.centres()[y].flatten()
    slope = float((x.flatten() * (design - design.mean())).sum() / (design - design.mean()).square().sum())
    x = x / slope
    return x - (x.mean() - design.mean()), y


@pytest.mark.parametrize("means", ["simplex", "orthogonal"])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_nearest_mean_makes_as_many_errors_as_it_must(means: str, num_classes: int, generator: torch.Generator) -> None:
    settings = Gaussian(means, num_classes, 6, samples_per_class=20000, test_per_class=1, spread=0.6)  # pyright: ignore[reportArgumentType]
    x, y = original(settings, generator)
    wrong = torch.cdist(x, settings.centres()).argmin(1) != y
    assert 0.04 < bayes_error(settings) < 0.4
    MONTE_CARLO.check(wrong.double(), bayes_error(settings))


def test_two_anisotropic_clusters(generator: torch.Generator) -> None:
    """Error Phi(-distance / 2) with the distance in units of the noise, which nearest mean does not reach."""
    settings = Gaussian("random", 2, 4, samples_per_class=50000, test_per_class=1, spread=1.0, anisotropy=8.0)
    x, y = original(settings, generator)
    sd, centres = settings.deviations(), settings.centres()
    expected = float(stats.norm.cdf(-float(((centres[0] - centres[1]) / sd).norm()) / 2))
    wrong = torch.cdist(x / sd, centres / sd).argmin(1) != y
    MONTE_CARLO.check(wrong.double(), expected)
    assert float((torch.cdist(x, centres).argmin(1) != y).double().mean()) > expected + 0.01


def test_means_and_deviations() -> None:
    for means, cosine in (("simplex", -1 / 3), ("orthogonal", 0.0)):
        gram = (lambda c: c @ c.T)(Gaussian(means, 4, 7).centres())  # pyright: ignore[reportArgumentType]
        REFERENCE.floor(1).check(gram, torch.eye(4).double() * (1 - cosine) + cosine)
    REFERENCE.check(Gaussian("random", 9, 3).centres().norm(dim=1), torch.ones(9).double())
    sd = Gaussian(num_features=12, spread=0.7, anisotropy=5.0).deviations()
    REFERENCE.check(sd.square().mean().sqrt(), 0.7)
    REFERENCE.check(sd[0] / sd[-1], 5.0)
    REFERENCE.check(sd[1:] / sd[:-1], (sd[1] / sd[0]).expand(11))
    REFERENCE.check(Gaussian(spread=0.7).deviations(), 0.7)


def test_spread_zero_is_collapse(generator: torch.Generator) -> None:
    splits = Gaussian(num_classes=3, spread=0.0, samples_per_class=4, test_per_class=2).load(generator)
    assert len(torch.cat([splits.train.x, splits.test.x]).unique(dim=0)) == 3


def test_the_means_are_those_of_their_seed() -> None:
    EXACT.check(Gaussian(means_seed=4).centres(), Gaussian(means_seed=4, spread=0.9).centres())
    assert not torch.equal(Gaussian(means_seed=4).centres(), Gaussian().centres())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"means": "cube"}, "means must be one of simplex, orthogonal, random, got 'cube'"),
        ({"num_features": 8}, "num_features of simplex means must be an integer of at least 9, got 8"),
        ({"means": "orthogonal", "num_features": 9}, "num_features of orthogonal means must be .* at least 10, got 9"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2"),
        ({"test_per_class": 0}, "test_per_class must be an integer of at least 1"),
        ({"spread": -0.1}, "spread must be a finite number of at least 0"),
        ({"anisotropy": 0.5}, "anisotropy must be a finite number of at least 1"),
        ({"means_seed": -1}, "means_seed must be an integer of at least 0"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Gaussian(**settings)  # pyright: ignore[reportArgumentType]
