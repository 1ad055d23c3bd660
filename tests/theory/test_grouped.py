"""The program in groups against the matrices over all classes that it stands for."""

import numpy as np
import pytest

from collapselab.core.errors import NotConverged
from collapselab.theory._imbalance.grouped import Grouped, Logits
from collapselab.theory._imbalance.grouped_coarse import coarser, lifted
from collapselab.theory._imbalance.grouped_dual import dual_bound, gap
from collapselab.theory._imbalance.grouped_factors import Factored
from collapselab.theory._imbalance.grouped_products import descend_by_products
from collapselab.theory._imbalance.grouped_solve import solve, without_logits

SIZES = np.array([3.0, 1.0, 2.0])
SHARES = np.array([0.5, 0.2, 0.3])
SCALES = np.array([1.0, 0.7, 0.4])


def program(**settings: object) -> Grouped:
    return Grouped(SIZES, SHARES, SCALES, **settings)  # pyright: ignore[reportArgumentType]


def logits(seed: int, sizes: np.ndarray = SIZES) -> Logits:
    draw = np.random.default_rng(seed)
    differences = np.where(sizes > 1, draw.random(len(sizes)), 0.0)
    return Logits(differences, draw.normal(size=(len(sizes),) * 2), draw.normal(size=len(sizes)))


def dense(at: Logits, sizes: np.ndarray) -> np.ndarray:
    """Z over all classes: loops over blocks, row classes of samples."""
    group = [g for g, many in enumerate(sizes.astype(int)) for _ in range(many)]
    z = np.empty((len(group),) * 2)
    for i, g in enumerate(group):
        for j, h in enumerate(group):
            z[i, j] = at.shared[g, h] / np.sqrt(sizes[g] * sizes[h])
            if g == h:
                z[i, j] += at.differences[g] * ((i == j) - 1 / sizes[g])
    return z


def slow(p: Grouped, at: Logits) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, gradient by Z over all classes, gradient by the bias of each class: a loop over samples of each class."""
    group = [g for g, many in enumerate(p.sizes.astype(int)) for _ in range(many)]
    z, value = dense(at, p.sizes), 0.0
    slope, by_bias = np.zeros_like(z), np.zeros(len(group))
    for k, g in enumerate(group):
        row = p.scales[g] * z[k] + (at.bias[group] if p.bias else 0.0)
        weight = p.masses[g] / p.sizes[g]
        value += weight * (np.log(np.exp(row - row.max()).sum()) + row.max() - row[k])
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        probabilities[k] -= 1
        slope[k] = weight * p.scales[g] * probabilities
        by_bias += weight * probabilities
    return value, slope, by_bias


@pytest.mark.parametrize("bias", [False, True])
def test_loss_and_slopes_are_those_over_all_classes(bias: bool) -> None:
    p, at = program(price=0.1, bias=bias), logits(0)
    value, slope, by_bias = slow(p, at)
    found = p.slopes(at)
    assert found.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(dense(Logits(-p.steepness(found), found.shared, at.bias), p.sizes), slope, atol=1e-14)
    if bias:
        np.testing.assert_allclose(found.bias, [by_bias[:3].sum(), by_bias[3], by_bias[4:].sum()], atol=1e-14)
    assert p.steepest(found) == pytest.approx(np.linalg.norm(slope, 2), rel=1e-12)
    assert p.norm(at) == pytest.approx(np.linalg.norm(dense(at, p.sizes), "nuc"), rel=1e-12)
    assert p.inner(at, found) == pytest.approx((dense(at, p.sizes) * slope).sum(), rel=1e-11)


@pytest.mark.parametrize(
    "settings", [{"budget": 7.0}, {"price": 0.02}, {"price": 0.02, "bias": True, "decay_bias": 0.1}]
)
def test_derivatives_by_factors_are_finite_differences(settings: dict[str, float]) -> None:
    f = Factored(program(**settings), 2)
    draw = np.random.default_rng(1)
    v = f.retracted(draw.normal(size=3 + 12 + 3 * ("bias" in settings)))
    point = f.at(v)
    slopes = f.slopes(point)
    slope, price = f.gradient(point, slopes)
    curved = f.hessian(point, slopes, price)
    for _ in range(3):
        move, e = f.across(v, draw.normal(size=len(v))), 1e-4
        ahead, back = (f.at(f.retracted(v + s * move)).value for s in (e, -e))
        assert slope @ move == pytest.approx((ahead - back) / (2 * e), abs=1e-6)
        assert move @ curved @ move == pytest.approx((ahead - 2 * point.value + back) / e**2, abs=1e-5)
        product = f.curvature_along(point, p_slopes := f.program.slopes(f.logits(v)), price, move)
        np.testing.assert_allclose(product, f.across(v, curved @ move), atol=1e-12)
        np.testing.assert_allclose(p_slopes.shared, slopes.shared, atol=1e-14)


@pytest.mark.parametrize(
    "settings",
    [{"budget": 6.0}, {"price": 0.05}, {"price": 0.05, "bias": True}, {"price": 0.05, "bias": True, "decay_bias": 0.1}],
)
def test_the_gap_is_nowhere_less_than_the_distance_from_the_minimum(settings: dict[str, float]) -> None:
    p = program(**settings)
    best = solve(p)
    assert best.status == "optimal"
    assert best.gap < 1e-12
    for seed in range(20):
        at = logits(seed)
        if p.budget is not None:
            part = p.budget / p.norm(at)
            at = Logits(at.differences * part, at.shared * part, at.bias)
        if not p.bias:
            at = at._replace(bias=np.zeros(3))
        assert p.objective(at) - best.value <= gap(p, at) + 1e-14
        assert p.objective(at) >= best.value - 1e-13
    if p.budget is None:
        assert dual_bound(p, p.slopes(best.logits)) == pytest.approx(best.value, abs=1e-12)


def test_an_early_stop_is_no_optimum() -> None:
    found = solve(program(budget=6.0), max_steps=1)
    assert found.status == "stopped"
    assert found.gap > 1e-4
    with pytest.raises(NotConverged, match=r"stopped after 1 steps, at most .* above the minimum: not an optimum"):
        found.require()
    assert solve(program(budget=6.0)).require().status == "optimal"


def many_groups(g: int, budget: float = 2.0) -> Grouped:
    shares = 0.01 ** (np.arange(g) / (g - 1))
    return Grouped(np.ones(g), shares / shares.sum(), np.ones(g), budget=budget * g)


def test_both_methods_agree() -> None:
    p = many_groups(8)
    f = Factored(p, 7)
    walk = descend_by_products(f, f.start(1.0), max_steps=200)
    assert p.slopes(walk.logits).value == pytest.approx(solve(p).value, rel=1e-13)
    found = solve(many_groups(14))
    assert (found.status, found.gap < 1e-7 * found.value) == ("optimal", True)


def test_a_coarser_program_is_the_same_for_equal_classes() -> None:
    p = Grouped(np.array([1.0, 2.0, 1.0]), np.array([0.4, 0.4, 0.2]), np.ones(3), budget=4.0)
    coarse = coarser(p, 2)
    assert coarse.program.sizes.tolist() == [1, 3]
    at = solve(coarse.program)
    fine = lifted(p, coarse, at.logits)
    assert p.norm(fine) == pytest.approx(4.0, rel=1e-13)
    assert p.slopes(fine).value == pytest.approx(solve(p).value, rel=1e-12)


@pytest.mark.slow
def test_a_hundred_unequal_classes_have_a_small_gap() -> None:
    found = solve(many_groups(100))
    assert found.status == "optimal"
    assert found.gap <= 1e-6


@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.1, 2.0])
def test_a_bias_alone_is_the_best_one(decay: float) -> None:
    """The slope by every entry of the bias is zero: shares of the softmax are those of samples, or more equal."""
    sizes, masses = np.array([3.0, 2.0, 1.0, 5.0]), np.array([0.1, 0.8, 0.07, 0.03])
    program = Grouped(sizes, masses, np.ones(4), price=1.0, bias=True, decay_bias=decay)
    bias = without_logits(program).bias
    odds = sizes * np.exp(bias)
    np.testing.assert_allclose(odds / odds.sum() - masses + decay * sizes * bias, 0.0, atol=1e-13)
    assert abs(float(sizes @ bias)) < 1e-12  # free ones by convention, decayed ones because nothing else is best


def test_hundreds_of_sizes_have_a_bias_too() -> None:
    sizes = np.ones(400)
    masses = np.linspace(1.0, 3.0, 400)
    program = Grouped(sizes, masses / masses.sum(), np.ones(400), price=1.0, bias=True)
    odds = np.exp(without_logits(program).bias)
    np.testing.assert_allclose(odds / odds.sum(), masses / masses.sum(), rtol=1e-12)
