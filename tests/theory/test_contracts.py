"""What every model states about itself is held against it."""

import math
from typing import Any

import pytest
import torch

from collapselab.core.errors import NotKnown
from collapselab.evidence import ClassStats
from collapselab.metrics import Evidence, measure_evidence
from collapselab.theory import (
    REGISTRY,
    AbstractDynamics,
    AbstractLandscape,
    AbstractStochasticDynamics,
    euler_maruyama_step,
    integrate,
    minimise,
    simulate,
    stationarity,
)
from tolerances import ORDER

LANDSCAPES = [
    pytest.param(landscape, id=f"{name}-{i}")
    for name, model in REGISTRY.items()
    if model.kind == "landscape"
    for i, landscape in enumerate(model.cls.examples())
]
DYNAMICS = [
    pytest.param(dynamics, id=f"{name}-{i}")
    for name, model in REGISTRY.items()
    if model.kind == "dynamics"
    for i, dynamics in enumerate(model.cls.examples())
]

STOCHASTIC = [given for given in DYNAMICS if isinstance(given.values[0], AbstractStochasticDynamics)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def value(landscape: AbstractLandscape, state: dict[str, torch.Tensor]) -> float:
    return float(landscape.loss(state))


def near(landscape: AbstractLandscape, state: dict[str, torch.Tensor], size: float, seed: int) -> Any:
    """A feasible state not far from another."""
    draw = generator(seed)
    moved = {name: x + size * torch.randn(x.shape, generator=draw, dtype=x.dtype) for name, x in state.items()}
    for name in landscape.nonnegative_entries:
        moved[name] = moved[name].clamp_min(0)
    return landscape.chart(moved)


def test_registry_holds_models_that_have_examples_and_words() -> None:
    assert len(REGISTRY) > 0
    for name, model in REGISTRY.items():
        assert model.summary, name
        examples = model.cls.examples()
        assert examples, name
        assert all(type(example) is model.cls for example in examples), name
        assert all(example.assumptions for example in examples), name


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_minimum_is_at_the_minimiser(landscape: AbstractLandscape) -> None:
    if not landscape.attained:
        with pytest.raises(NotKnown):
            landscape.minimiser()
        return
    for turned in (None, generator(1)):
        state = landscape.minimiser(turned)
        assert value(landscape, landscape.chart(state)) == pytest.approx(landscape.minimum, rel=1e-12, abs=1e-12)
        assert value(landscape, state) == pytest.approx(landscape.minimum, rel=1e-12, abs=1e-12)
        assert all(float(state[name].min()) >= 0 for name in landscape.nonnegative_entries)


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_gradient_is_zero_at_the_minimiser(landscape: AbstractLandscape) -> None:
    if landscape.attained:
        assert stationarity(landscape, landscape.minimiser(generator(2))) < 1e-9


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_nothing_lies_below_the_minimum(landscape: AbstractLandscape) -> None:
    floor = landscape.minimum - 1e-12 * max(1.0, abs(landscape.minimum))
    for seed in range(50):
        start = landscape.draw(generator(seed))
        assert value(landscape, start) >= floor
        if landscape.attained:
            for size in (1e-3, 1e-2, 0.1):
                assert value(landscape, near(landscape, landscape.minimiser(), size, seed)) >= floor


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_predicted_metrics_are_measured_at_the_minimiser(landscape: AbstractLandscape) -> None:
    predicted = landscape.predicts()
    if not landscape.attained or not predicted:
        return
    state = landscape.minimiser(generator(3))
    features = landscape.features(state)
    evidence = Evidence(ClassStats.of(features), landscape.head(state), features)
    measured, _, _ = measure_evidence(evidence, predicted)
    for name, expected in predicted.items():
        assert measured[name].undefined is None, f"{name}: {measured[name].undefined}"
        assert measured[name].value == pytest.approx(expected, rel=1e-8, abs=1e-8), name


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_an_optimiser_finds_a_benign_minimum(landscape: AbstractLandscape) -> None:
    if not (landscape.attained and landscape.benign):
        return
    for seed in range(3):
        found = minimise(landscape, generator(seed))
        assert found.status in ("converged", "stalled"), found.message
        assert value(landscape, found.end) == pytest.approx(landscape.minimum, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_an_infimum_that_is_not_attained_is_approached_at_the_stated_rate(landscape: AbstractLandscape) -> None:
    if landscape.attained:
        with pytest.raises(NotKnown):
            landscape.approach(1.0)
        return
    gaps = []
    for size in (4.0, 8.0, 16.0):
        state, gap = landscape.approach(size)
        assert value(landscape, state) - landscape.minimum == pytest.approx(gap, rel=1e-6)
        gaps.append(gap)
    assert gaps[0] > gaps[1] > gaps[2] > 0


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_known_local_minimisers_are_shown(landscape: AbstractLandscape) -> None:
    states = landscape.local_minimisers()
    assert landscape.benign <= (not states)
    for state in states:
        here = value(landscape, state)
        assert here > landscape.minimum + 1e-9
        assert stationarity(landscape, state) < 1e-8
        assert all(value(landscape, near(landscape, state, 1e-4, seed)) > here - 1e-13 for seed in range(50))


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_thresholds_are_numbers(landscape: AbstractLandscape) -> None:
    assert all(math.isfinite(number) for number in landscape.thresholds().values())
    assert math.isfinite(landscape.minimum)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_conserved_quantities_and_solutions(dynamics: AbstractDynamics) -> None:
    start = dynamics.draw(generator(4))
    found = integrate(dynamics, start, (0.1, 0.5, 1.0)).require("finished")
    before = dynamics.conserved(start)
    for time, state in zip(found.times, found.states, strict=True):
        after = dynamics.conserved(state)
        assert after.keys() == before.keys()
        for name in before:
            torch.testing.assert_close(after[name], before[name], rtol=1e-7, atol=1e-9, msg=name)
        try:
            exact = dynamics.solution(time, start)
        except NotKnown:
            assert before, "a dynamics without solution and without conserved quantity states nothing"
            continue
        for name in exact:
            torch.testing.assert_close(state[name], exact[name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("dynamics", STOCHASTIC)
def test_moments_are_those_of_simulated_paths(dynamics: AbstractStochasticDynamics) -> None:
    start, paths = dynamics.draw(generator(5)), 2000
    try:
        stated = dynamics.moments(1.0, start)
    except NotKnown:
        return
    found = simulate(dynamics, start, (1.0,), step=0.005, paths=paths, generator=generator(6)).end
    for name in dynamics.disturbed:
        sample, covariance = found[name].flatten(1), stated.covariance[name]
        variance = covariance.diagonal()
        of_mean = (variance / paths).sqrt()
        off_mean = (sample.mean(0) - stated.mean[name].flatten()).abs() / of_mean
        of_covariance = ((variance[:, None] * variance + covariance**2) / paths).sqrt()
        off_covariance = (torch.cov(sample.T) - covariance).abs() / of_covariance
        assert float(off_mean.max()) < 4, name
        assert float(off_covariance.max()) < 4, name


@pytest.mark.parametrize("dynamics", STOCHASTIC)
def test_paths_converge_with_the_stated_order(dynamics: AbstractStochasticDynamics) -> None:
    """Along the same Wiener paths, against steps that are 16 times as short as the shortest."""
    start, finest, paths = dynamics.draw(generator(7)), 256, 40
    draw = generator(8)
    increments = {
        name: torch.randn(finest, paths, *start[name].shape, generator=draw, dtype=torch.float64) / math.sqrt(finest)
        for name in dynamics.disturbed
    }

    def end(merged: int) -> dict[str, torch.Tensor]:
        x, count = {name: value.unsqueeze(0) for name, value in start.items()}, finest // merged
        steps = {name: drawn.unflatten(0, (count, merged)).sum(1) for name, drawn in increments.items()}
        for place in range(count):
            moved = {name: drawn[place] for name, drawn in steps.items()}
            x = euler_maruyama_step(dynamics, place / count, x, step=1 / count, increment=moved)
        return x

    best, merged = end(1), (16, 32, 64)
    for name in dynamics.disturbed:
        errors = [float((end(size)[name] - best[name]).abs().mean()) for size in merged]
        ORDER.check([size / finest for size in merged], errors, order=dynamics.strong_order)
