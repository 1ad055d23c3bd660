"""Linear layers before the head: spec's numbers, thresholds against a grid, and local minimisers."""

from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import Problem, minimise, stationarity
from collapselab.theory._deep.deep import existence_threshold, fitted_part, globality_threshold
from collapselab.theory.extended import ExtendedLinear
from collapselab.theory.squared_error import SquaredErrorFeatures
from tolerances import IDENTITY, OPTIMUM, REFERENCE


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_strength(strength: float, *, k: int = 4, n: int = 6, d: int = 9, inner: int = 1) -> ExtendedLinear:
    """Balanced, all decays equal, K^L n lambda^L as given."""
    factors = inner + 2
    decay = (strength / (k**factors * n)) ** (1 / factors)
    return ExtendedLinear(Problem.balanced(k, n, d, decay_head=decay, decay_features=decay), (decay,) * inner)


def moved(state: dict[str, torch.Tensor], size: float, seed: int) -> dict[str, torch.Tensor]:
    draw = generator(seed)
    return {name: x + size * torch.randn(x.shape, generator=draw, dtype=x.dtype) for name, x in state.items()}


@pytest.mark.parametrize(
    ("head", "inner", "features", "z", "value", "size"),
    [
        (5e-3, 5e-3, 5e-3, 2.35935, 0.0538449972, 1.3313),
        (1e-2, 4e-3, 2e-3, 2.37195, 0.0464827247, 0.8754),
    ],
)
def test_values_of_section_6(head: float, inner: float, features: float, z: float, value: float, size: float) -> None:
    problem = Problem.balanced(4, 6, 9, decay_head=head, decay_features=features)
    landscape = ExtendedLinear(problem, (inner,))
    assert landscape.minimum == pytest.approx(value, abs=6e-11)
    found = minimise(landscape, generator()).require()
    OPTIMUM.check(found.stats["loss"], value, gradient_norm=found.stats["gradient"])
    for state in (landscape.minimiser(generator(1)), found.end):
        logits = landscape.hidden(state) @ state["weight"].T
        assert torch.linalg.svdvals(logits).numpy() == pytest.approx(np.full(4, z), abs=6e-6)
        assert torch.linalg.svdvals(state["weight"]).numpy() == pytest.approx(np.full(4, size), abs=6e-5)
        hidden, h = (x.reshape(4, 6, 9).mean(1) for x in (landscape.hidden(state), state["h"]))
        for means in (hidden, h, state["weight"]):
            products = means @ means.T
            torch.testing.assert_close(products, products[0, 0] * torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
        norms = [landscape.norms()[name] for name in ("weight", "inner1", "h")]
        found_norms = [float(state[name].norm()) for name in ("weight", "inner1", "h")]
        assert found_norms == pytest.approx(norms, rel=1e-6)
    squares = [decay * norm**2 for decay, norm in zip((head, inner, features), norms, strict=True)]
    IDENTITY.check(squares, np.full(3, squares[0]))


@pytest.mark.parametrize(
    ("strength", "three_fitted", "all_fitted"),
    [(0.062, 0.499247, 0.498996), (0.063, 0.500747, 0.500996), (0.07, 0.510612, None)],
)
def test_values_near_the_global_threshold(strength: float, three_fitted: float, all_fitted: float | None) -> None:
    landscape = with_strength(strength)
    assert landscape.directions.value(3) == pytest.approx(three_fitted, abs=6e-7)
    if all_fitted is not None:
        assert landscape.directions.value(4) == pytest.approx(all_fitted, abs=6e-7)
    assert landscape.minimum == pytest.approx(all_fitted if strength < 1 / 16 and all_fitted else 0.5, abs=6e-7)


def reference_part(strength: float, factors: int) -> tuple[float, float]:
    """Least value over u, and the u, of (1 - u)^2 / 2 + (L/2) (q u^2)^(1/L), in units of n/N: a grid, no calculus."""
    u = np.linspace(0, 1, 400_001)
    value = 0.5 * (1 - u) ** 2 + 0.5 * factors * (strength * u**2) ** (1 / factors)
    at = int(value.argmin())
    return float(value[at]), float(u[at])


@pytest.mark.parametrize("factors", [2, 3, 4, 6])
@pytest.mark.parametrize("part_of_threshold", [0.02, 0.5, 0.98, 1.02, 1.5])
def test_thresholds_and_fitted_part_against_a_grid(factors: int, part_of_threshold: float) -> None:
    strength = part_of_threshold * globality_threshold(factors)
    value, at = reference_part(strength, factors)
    fit = fitted_part(strength, factors) if part_of_threshold < 1 else 0.0
    assert fit == pytest.approx(at, abs=1e-4)
    assert 0.5 * (1 - fit) * (1 + (factors - 1) * fit) == pytest.approx(value, abs=1e-9)
    u = np.linspace(0, 1, 400_001)
    assert existence_threshold(factors) == pytest.approx(float((u ** (factors - 2) * (1 - u) ** factors).max()))
    assert fitted_part(existence_threshold(factors) * (1 - 1e-9), factors) is not None
    assert fitted_part(existence_threshold(factors) * (1 + 1e-9), factors) is None


def test_thresholds_of_two_and_three_factors() -> None:
    assert existence_threshold(2) == globality_threshold(2) == 1
    assert existence_threshold(3) == 27 / 256
    assert globality_threshold(3) == 1 / 16
    REFERENCE.check(fitted_part(0.3**2, 2), 0.7)


@pytest.mark.parametrize("strength", [0.001, 0.05, 0.07, 0.1])
def test_states_that_fit_some_directions_are_minima(strength: float) -> None:
    """6 (vi) has them near the threshold; they are there under any decay, and a descent from beside one returns."""
    landscape = with_strength(strength, k=3, n=2, d=5)
    for fitted in range(4):
        state = landscape.directions.state(fitted)
        value = float(landscape.loss(state))
        REFERENCE.check(value, landscape.directions.value(fitted))
        assert stationarity(landscape, state) < 1e-12
        found = minimise(landscape, moved(state, 3e-3, fitted))
        assert found.stats["loss"] == pytest.approx(value, abs=1e-10)


def test_a_small_class_is_no_minimum_where_a_larger_one_could_take_its_place() -> None:
    landscape = ExtendedLinear(Problem((6, 3), 4, 2e-2, 2e-2), (2e-2,))
    state = landscape.directions.state(2)
    only_small = {"h": state["h"].clone(), "inner1": state["inner1"], "weight": state["weight"].clone()}
    only_small["h"][:6] = 0
    only_small["weight"][0] = 0
    row = state["inner1"] @ state["h"][0]  # the layer loses the direction of the larger class
    only_small["inner1"] = state["inner1"] - torch.outer(row, state["h"][0]) / state["h"][0].square().sum()
    assert stationarity(landscape, only_small) < 1e-12
    value = float(landscape.loss(only_small))
    assert minimise(landscape, moved(only_small, 3e-3, 0)).stats["loss"] < value - 1e-3


@pytest.mark.parametrize(("inner", "bias"), [(1, "free"), (2, "none"), (3, "free")])
def test_more_layers(inner: int, bias: Any) -> None:
    decays = (4e-3, 6e-3, 5e-3)[:inner]
    problem = Problem.balanced(3, 1, 3, decay_head=1e-2, decay_features=2e-3, bias=bias)
    landscape = ExtendedLinear(problem, decays)
    runs = [minimise(landscape, {n: 2 * x for n, x in landscape.draw(generator(s)).items()}) for s in range(2)]
    best = min(runs, key=lambda run: run.stats["loss"])
    OPTIMUM.check(best.stats["loss"], landscape.minimum, gradient_norm=best.stats["gradient"])


def test_unequal_classes_vanish_one_by_one() -> None:
    landscape = ExtendedLinear(Problem((8, 4, 2, 1), 5, 5e-2, 1e-1), (2e-2,))
    strengths = [15**3 * 1e-4 / n**2 for n in (8, 4, 2, 1)]
    kept = [q <= 1 / 16 for q in strengths]
    assert 0 < sum(kept) < 4
    assert landscape.directions.best == sum(kept)
    own = (landscape.hidden(state := landscape.minimiser()) * state["weight"][landscape.labels]).sum(1)
    for k, (q, there) in enumerate(zip(strengths, kept, strict=True)):
        fit = float(own[landscape.labels == k][0])
        assert (fit > 0) == there
        if there:
            REFERENCE.check(fit * (1 - fit) ** 3, q)
    runs = [minimise(landscape, {n: 3 * x for n, x in landscape.draw(generator(s)).items()}) for s in range(3)]
    best = min(run.stats["loss"] for run in runs)
    OPTIMUM.check(best, landscape.minimum, gradient_norm=0.0)


def test_free_bias_and_squared_error_have_the_same_simplex() -> None:
    problem = Problem.balanced(4, 3, 3, decay_head=1e-2, decay_features=2e-3, bias="free")
    deep, plain = ExtendedLinear(problem, (1e-2,)).predicts(), SquaredErrorFeatures(problem).predicts()
    assert deep["etf_error"] == pytest.approx(plain["etf_error"], abs=1e-7)
    assert deep["etf_error_weights"] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: ExtendedLinear(p, ()), "decay_inner must be one number a layer in a tuple"),
        (lambda p: ExtendedLinear(p, (1e-3, 0.0)), "every entry of decay_inner must be a finite number above 0, got 0"),
        (lambda _: ExtendedLinear(Problem((3, 2), 1, 1e-3, 1e-3)), "num_features must be at least 2, also between"),
        (lambda _: ExtendedLinear(Problem((3, 2), 2, 1e-3, 1e-3, bias="free")), "for classes of different sizes"),
        (
            lambda _: ExtendedLinear(Problem((3, 3), 2, 1e-3, 1e-3, bias="decay", decay_bias=1.0)),
            "bias must be 'none' or 'free', got 'decay'",
        ),
        (lambda _: ExtendedLinear(Problem((3, 3), 2, 1e-3, 1e-3, nonnegative=True)), "nonnegative must be false"),
        (lambda _: ExtendedLinear(Problem((3, 3), 2, 0.0, 1e-3)), "above 0 for a minimum that is attained"),
    ],
)
def test_what_is_not_known_is_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(Problem.balanced(3, 2, 3, decay_head=1e-3, decay_features=1e-3))
