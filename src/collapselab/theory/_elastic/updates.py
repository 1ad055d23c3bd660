"""The process that the equation of local elasticity stands for: one sample is drawn, and moves all others."""

import math

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._elastic.base import AbstractLocallyElastic
from collapselab.theory._stochastic import normal, within_floats


def sample_updates(
    dynamics: AbstractLocallyElastic,
    start: Tensor,
    t: float,
    *,
    step: float,
    paths: int,
    generator: torch.Generator,
) -> Tensor:
    r"""Features after updates by one sample each, of a class and a place in it drawn at random.

    $X_i^k\leftarrow X_i^k+h\,E_{kL}H_{kL}X_J^L+\sqrt h\,\zeta_i^k$ for every sample i of every class k, with L uniform
    over classes and J over the samples of L. The mean over paths is that of the equation's Euler scheme exactly; both
    tend to its solution as h tends to 0.

    Args:
        dynamics: Elasticity, transform and noise; what moves a sample is the sample drawn, whatever `moved_by` says.
        start: (n, K, p) features at time 0.
        t: Time at which to stop, after t / step updates.
        step: h; shortened where t is no multiple of it.
        paths: How many independent processes are followed at once.
        generator: What classes, samples and noise are drawn from.

    Returns:
        (paths, n, K, p).

    Raises:
        InputError: If the start has no such axes, or is not finite.
        NotConverged: If features leave float64.
    """
    start = checks.as_tensor(start, "start")
    if start.ndim != 3 or tuple(start.shape[1:]) != dynamics.shape or not len(start):
        wanted = ", ".join(map(str, dynamics.shape))
        raise InputError(f"start must have shape (n, {wanted}), at least one sample, got {tuple(start.shape)}")
    checks.finite(start, "start")
    checks.real(step, "step", above=0)
    checks.whole(paths, "paths", at_least=1)
    count = math.ceil(checks.real(t, "t", at_least=0) / step * (1 - 1e-12))
    length, samples, every = t / max(count, 1), start.shape[0], torch.arange(paths)
    x = start.double().expand(paths, *start.shape).clone()
    for place in range(count):
        now = place * length
        classes = torch.randint(dynamics.shape[0], (paths,), generator=generator)
        source = x[every, torch.randint(samples, (paths,), generator=generator), classes]
        drawn = math.sqrt(length) * normal(x.shape, generator)
        x += length * dynamics.pulled_by(now, source, classes).unsqueeze(1)
        x += dynamics.diffusion(now, {}, {"h": drawn})["h"]
    return within_floats({"h": x}, t)["h"]
