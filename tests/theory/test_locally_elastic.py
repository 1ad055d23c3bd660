"""Local elasticity as a stochastic equation: matrices, spectra, exact means and covariances, separability."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

from collapselab.core.errors import InputError, NotKnown
from collapselab.theory import (
    AbstractLocallyElastic,
    LocallyElastic,
    LocallyElasticGeneral,
    LocallyElasticLogits,
    LocallyElasticReference,
    PowerLaw,
    Sampled,
    Sum,
    binomial_interval,
    constant,
    residual_directions,
    residual_projections,
    separable,
    separable_pairs,
    separation,
    simulate,
)
from collapselab.theory._elastic.base import flat, unflat
from collapselab.theory._elastic.phases import Tail, outgrows, tail
from tolerances import REFERENCE, Relative

ALPHA, BETA, NOISE = PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.25)
CLOSED = Relative("LE-ODE", 1e-9)
"""Closed forms against matrix exponentials and integration: acceptance row 1."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def means(k: int, p: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(k, p, generator=generator(seed), dtype=torch.float64)


# ---------------------------------------------------------------- slow twins: (42) and (46), block by block


def reference_transform(kind: type, k: int, p: int) -> np.ndarray:
    """H of (42): the identity, d_k d_l^T of (46), and the published code's d_l d_l^T / kappa."""
    h = np.zeros((k, k, p, p))
    d = np.eye(k) - 1 / k
    for a, b in itertools.product(range(k), repeat=2):
        if kind is LocallyElastic:
            h[a, b] = np.eye(p)
        elif kind is LocallyElasticLogits:
            h[a, b] = np.outer(d[a], d[b])
        else:
            h[a, b] = np.outer(d[b], d[b]) / (d[b] @ d[b])
    return h


def reference_matrix(kind: type, k: int, p: int, alpha: float, beta: float) -> np.ndarray:
    """M of (42)."""
    h, m = reference_transform(kind, k, p), np.zeros((k * p, k * p))
    for a, b in itertools.product(range(k), repeat=2):
        m[a * p : (a + 1) * p, b * p : (b + 1) * p] = (alpha if a == b else beta) * h[a, b] / k
    return m


KINDS = [LocallyElastic, LocallyElasticLogits, LocallyElasticReference]


def instance(kind: type, k: int, **settings: Any) -> Any:
    rates = {"intra": ALPHA, "inter": BETA, "noise": NOISE} | settings
    more = {"num_features": k + 1} if kind is LocallyElastic else {}
    return kind(k, **rates, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [2, 3, 5])
def test_matrix(kind: type, k: int) -> None:
    model = instance(kind, k)
    for t in (0.0, 2.5):
        expected = reference_matrix(kind, k, model.shape[1], float(ALPHA.rate(t)), float(BETA.rate(t)))
        REFERENCE.floor(1.0).check(model.matrix(t), expected)
        x = means(k, model.shape[1])
        REFERENCE.floor(1.0).check(flat(model.pulled(t, x.expand(4, 3, *x.shape))[1, 2]), expected @ flat(x).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_moves_all_classes_as_blocks_say(kind: type) -> None:
    model = instance(kind, 3)
    k, p = model.shape
    source, classes = torch.randn(7, p, generator=generator(), dtype=torch.float64), torch.arange(7) % k
    found = model.pulled_by(1.5, source, classes)
    blocks = (k * model.matrix(1.5)).reshape(k, p, k, p)
    for place, one in enumerate(classes.tolist()):
        expected = torch.stack([blocks[other, :, one] @ source[place] for other in range(k)])
        torch.testing.assert_close(found[place], expected)
    general = LocallyElasticGeneral(
        model.elasticity(1.5), torch.from_numpy(reference_transform(kind, k, p)), torch.eye(k * p)
    )
    torch.testing.assert_close(general.pulled_by(0.0, source, classes), found)
    torch.testing.assert_close(general.matrix(0.0), model.matrix(1.5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("alpha", "beta", "k"), [(1.0, 0.3, 3), (1.0, -0.2, 5)])
def test_spectra(kind: type, alpha: float, beta: float, k: int) -> None:
    model = instance(kind, k, intra=constant(alpha), inter=constant(beta))
    stated = sorted(itertools.chain.from_iterable([one.value] * one.multiplicity for one in model.spectrum(0.0)))
    found = np.sort(np.linalg.eigvals(reference_matrix(kind, k, model.shape[1], alpha, beta)).real)
    np.testing.assert_allclose(found, stated, atol=1e-7)  # eigenvalues of a defective kernel are roots of rounding


@pytest.mark.parametrize("kind", [LocallyElastic, LocallyElasticLogits])
@pytest.mark.parametrize("t", [1.0, 10.0, 100.0])
def test_class_means_against_the_matrix_exponential(kind: type, t: float) -> None:
    model, x = instance(kind, 3), means(3, 4 if kind is LocallyElastic else 3)
    summed = reference_matrix(kind, *model.shape, float(ALPHA.integral(t)), float(BETA.integral(t)))
    CLOSED.check(flat(model.carried(t, x)), expm(summed) @ flat(x).numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inter", [BETA, PowerLaw(-0.3, 0.2), Sampled((0.0, 1.0, 30.0), (-0.2, 0.4, 0.1))])
def test_class_means_against_integration(kind: type, inter: Any) -> None:
    model, t = instance(kind, 4, inter=inter), 30.0
    x = means(*model.shape)
    edges = [0.0, 1.0, t]  # the integrator is started anew where a rate has a kink
    state = flat(x).numpy()

    def slope(s: float, v: np.ndarray) -> np.ndarray:
        return reference_matrix(kind, *model.shape, float(ALPHA.rate(s)), float(inter.rate(s))) @ v

    for a, b in itertools.pairwise(edges):
        found = solve_ivp(slope, (a, b), state, method="DOP853", rtol=1e-12, atol=1e-14)
        state = found.y[:, -1]
    CLOSED.floor(float(np.abs(state).max())).check(flat(model.carried(t, x)), state)


def test_projections_of_the_reference_model_have_a_closed_form() -> None:
    k, t = 4, 12.0
    model, x = instance(LocallyElasticReference, k), means(k, k)
    s, a, b = residual_projections(x), float(ALPHA.integral(t)), float(BETA.integral(t))
    expected = s.mean() * math.exp((a - b) / k) + (s - s.mean()) * math.exp((a + b / (k - 1)) / k)
    CLOSED.check(residual_projections(model.carried(t, x)), expected)


def test_matrices_of_the_reference_model_do_not_commute_and_those_of_the_others_do() -> None:
    for kind in KINDS:
        model = instance(kind, 3)
        early, late = model.matrix(0.0), model.matrix(20.0)
        off = float((early @ late - late @ early).abs().max())
        assert (off > 1e-4) is (kind is LocallyElasticReference)


# ---------------------------------------------------------------- collapse


def cosine(x: torch.Tensor, k: int) -> float:
    return float(torch.nn.functional.cosine_similarity(flat(x), flat(residual_directions(k)), dim=0))


def test_residual_aligned_class_means_turn_to_the_simplex() -> None:
    model = LocallyElasticLogits(5, constant(1.0), constant(0.3))
    x = means(5, 5, seed=1)
    x = x * residual_projections(x).mean().sign()
    at = [cosine(model.carried(t, x), 5) for t in (0.0, 10.0, 20.0, 60.0)]
    assert at[0] < 0.5 < at[1] < at[2]
    assert at[2] > 0.998
    assert at[3] == pytest.approx(1, abs=1e-9)
    assert cosine(model.carried(20.0, -x), 5) < -0.998


@pytest.mark.parametrize(("kind", "beta"), [(LocallyElasticLogits, -0.2), (LocallyElasticReference, 0.3)])
def test_the_other_sign_of_beta_does_not(kind: type, beta: float) -> None:
    x = means(5, 5, seed=1)
    x = x * residual_projections(x).mean().sign()
    other = {LocallyElasticLogits: LocallyElasticReference, LocallyElasticReference: LocallyElasticLogits}[kind]
    assert cosine(instance(kind, 5, intra=constant(1.0), inter=constant(beta)).carried(60.0, x), 5) < 0.5
    assert cosine(instance(other, 5, intra=constant(1.0), inter=constant(beta)).carried(60.0, x), 5) > 0.9


# ---------------------------------------------------------------- covariance


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_of_both_movers(kind: type) -> None:
    t = 5.0
    start = 0.1 * torch.eye(9, dtype=torch.float64)
    settings: Any = {"num_features": 3} if kind is LocallyElastic else {}
    mean, self_moved = (kind(3, ALPHA, BETA, NOISE, moved_by=who, **settings) for who in ("mean", "self"))
    one = mean.moments(t, mean.draw(generator()), covariance=start)
    torch.testing.assert_close(one.covariance["h"], start + 1.25 * torch.eye(9, dtype=torch.float64))
    found = self_moved.moments(t, self_moved.draw(generator()), covariance=start)

    def lyapunov(s: float, v: np.ndarray) -> np.ndarray:
        m = reference_matrix(kind, 3, 3, float(ALPHA.rate(s)), float(BETA.rate(s)))
        p = v.reshape(9, 9)
        return (m @ p + p @ m.T + 0.25 * np.eye(9)).ravel()

    twin = solve_ivp(lyapunov, (0, t), start.numpy().ravel(), rtol=1e-12, atol=1e-14, method="DOP853").y[:, -1]
    Relative("LYAPUNOV", 1e-9).floor(1.0).check(found.covariance["h"].flatten(), twin)


@pytest.mark.parametrize("who", ["mean", "self"])
def test_simulated_mean_and_variance(who: Any) -> None:
    """Acceptance row 2."""
    model = LocallyElastic(3, ALPHA, BETA, NOISE, moved_by=who)
    start = model.draw(generator(1))
    h = simulate(model, start, (5.0,), step=0.02, paths=4000, generator=generator(2)).end["h"]
    exact = model.moments(5.0, start)
    errors = (h.mean(0) - exact.mean["h"]) / h.std(0) * math.sqrt(4000)
    assert float(errors.abs().max()) < 4
    theory = float(exact.covariance["h"].trace()) / 9
    assert theory == pytest.approx({"mean": 1.25, "self": 2.780}[who], abs=5e-4)
    assert float(h.var(0).mean()) == pytest.approx(theory, rel=0.03)


def test_signal_outgrows_noise_only_where_means_move_samples() -> None:
    """Why the theorem needs the mean drift: amplified noise keeps the ratio bounded."""
    times = (1e1, 1e2, 1e3, 1e4)
    ratios = {}
    for who in ("mean", "self"):
        model = LocallyElastic(3, PowerLaw(1.5, 0.8), constant(0.0), moved_by=who)
        start, found = model.begin(means(3, 3)), []
        for t in times:
            moments = model.moments(t, start)
            gap = moments.mean["h"][0] - moments.mean["h"][1]
            spread = moments.covariance["h"][:3, :3] + moments.covariance["h"][3:6, 3:6]
            found.append(float(gap.norm() / (gap @ spread @ gap / gap.square().sum()).sqrt()))
        ratios[who] = found
    assert ratios["mean"] == sorted(ratios["mean"])
    assert ratios["mean"][-1] > 30 * ratios["mean"][0]
    assert max(ratios["self"]) < float((means(3, 3)[0] - means(3, 3)[1]).norm())
    assert ratios["self"] == sorted(ratios["self"], reverse=True)


# ---------------------------------------------------------------- exact samples


@pytest.mark.parametrize("who", ["mean", "self"])
@pytest.mark.parametrize("kind", [LocallyElastic, LocallyElasticLogits])
def test_samples_have_the_exact_moments(kind: type, who: Any) -> None:
    model = instance(kind, 3, moved_by=who)
    x = means(*model.shape)
    found = model.sampled(4.0, x, samples=6000, generator=generator(3))
    h = found.h * math.exp(found.log_scale)
    exact = model.moments(4.0, model.begin(x))
    covariance = exact.covariance["h"]
    off = (flat(h.mean(0) - exact.mean["h"]) / covariance.diagonal().sqrt() * math.sqrt(6000)).abs().max()
    assert float(off) < 4
    diagonal = covariance.diagonal()
    error = ((diagonal[:, None] * diagonal + covariance**2) / 6000).sqrt()
    assert float(((torch.cov(flat(h).T) - covariance) / error).abs().max()) < 4


def test_samples_beyond_the_range_of_floats() -> None:
    model = LocallyElastic(3, PowerLaw(1.5, 0.5), PowerLaw(0.2, 0.5))
    found = model.sampled(1e7, means(3, 3), samples=4, generator=generator(), centred=True)
    assert found.log_scale > 1000
    assert float(found.h.abs().max()) == pytest.approx(float((means(3, 3) - means(3, 3).mean(0)).abs().max()))
    with pytest.raises(InputError, match=r"grown by e\^"):
        model.carried(1e7, means(3, 3))


# ---------------------------------------------------------------- separability


def test_separability_is_exact() -> None:
    draw = generator()
    a = torch.randn(40, 3, generator=draw, dtype=torch.float64)
    b = a * torch.tensor([1e-3, 1.0, 1.0]) + torch.tensor([4.0, 0.0, 0.0])
    assert separable(a, b)
    assert not separable(a, a + 1e-3)
    assert not separable(a[:1], a[:1])
    assert separable(a[:2], a[2:4])  # four points in three dimensions
    # The direction of the means fails here, and a sheared one does not.
    line = torch.linspace(-100, 100, 50, dtype=torch.float64)
    lower, upper = torch.stack([line, line], 1), torch.stack([line, line + 1], 1)
    upper = upper[10:]
    pairs = separable_pairs(torch.stack([lower[10:], upper], 1))
    assert pairs.tolist() == [True]
    assert separable(lower, upper)


def test_pairs_of_many_clouds_at_once() -> None:
    h = torch.randn(5, 12, 4, 2, generator=generator(5), dtype=torch.float64)
    h += 3 * means(4, 2, seed=6)
    found = separable_pairs(h)
    assert found.shape == (5, 6)
    assert 0 < int(found.sum()) < found.numel()
    for cloud in range(5):
        for place, (a, b) in enumerate(itertools.combinations(range(4), 2)):
            assert bool(found[cloud, place]) is separable(h[cloud, :, a], h[cloud, :, b])


PHASES = [
    (PowerLaw(1.5, 0.5), True, "separates"),
    (PowerLaw(1.5, 0.8), True, "separates"),
    (PowerLaw(3.0, 1.0), True, "undecided"),
    (PowerLaw(1.5, 1.0), False, "undecided"),
    (PowerLaw(1.5, 1.2), False, "does not separate"),
    (PowerLaw(1.5, 1.5), False, "does not separate"),
]


@pytest.mark.parametrize(("gamma", "comes_apart", "theorem"), PHASES)
def test_phases(gamma: PowerLaw, comes_apart: bool, theorem: str) -> None:
    """Acceptance row 4."""
    model = LocallyElastic(3, gamma, constant(0.0))
    assert model.separates() is comes_apart
    assert model.theorem() == theorem
    assert model.critical_scale() == 1.5
    assert model.smallest_elasticity(1.0) == gamma.rate(1.0)
    found = separation(model, 1e6, samples=100, trials=8, generator=generator(7))
    assert found.share == 1 if comes_apart else found.share <= 0.1
    assert found.complete == (8 if comes_apart else 0)
    low, high = found.interval()
    assert (low > 0.6 and high == 1) if comes_apart else (low == 0 and high < 0.4)


@pytest.mark.parametrize(
    "model",
    [
        LocallyElastic(3, PowerLaw(1.0, 0.5), PowerLaw(-0.5, 0.5)),
        LocallyElasticLogits(3, PowerLaw(1.0, 0.5), PowerLaw(1.0, 0.5)),
    ],
)
def test_smallest_eigenvalue_of_zero_need_not_prevent_separation(model: Any) -> None:
    """The theorem's second part asks for more than gamma = o(1/t): here the direction of gamma is none that matters."""
    assert model.smallest_elasticity(3.0) == pytest.approx(0)
    assert model.theorem() == "does not separate"
    assert model.separates()
    assert separation(model, 1e4, samples=100, trials=6, generator=generator(8)).share == 1


def test_samples_that_move_themselves_do_not_separate() -> None:
    model = LocallyElastic(3, PowerLaw(1.5, 0.5), constant(0.0), moved_by="self")
    assert not model.separates()
    assert model.theorem() == "separates"
    assert separation(model, 1e6, samples=100, trials=6, generator=generator(9)).share < 0.3


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LocallyElasticLogits(3, constant(0.5), constant(-0.1)), True),
        (LocallyElasticLogits(3, constant(-0.5), constant(-0.1)), False),
        (LocallyElasticLogits(3, PowerLaw(2.3, 1.0), constant(0.0)), True),  # K / (2 kappa) = 2.25
        (LocallyElasticLogits(3, PowerLaw(2.2, 1.0), constant(0.0)), False),
        (LocallyElasticReference(3, PowerLaw(1.6, 1.0), constant(0.0)), True),
        (LocallyElasticReference(3, PowerLaw(1.4, 1.0), constant(0.0)), False),
        (LocallyElasticReference(3, PowerLaw(2.0, 1.0), PowerLaw(2.0, 1.0)), False),
        (LocallyElasticReference(3, PowerLaw(2.0, 1.0), PowerLaw(2.0, 1.0), PowerLaw(1.0, 2.0)), False),
        (LocallyElasticReference(3, PowerLaw(-0.5, 0.7), PowerLaw(1.0, 0.7)), False),
        (LocallyElasticReference(3, PowerLaw(-0.5, 0.3), PowerLaw(1.0, 0.3)), True),
        (LocallyElasticReference(3, constant(-1.0), constant(1.0)), False),
        (LocallyElasticReference(3, constant(1.0), constant(2.0)), True),
        (LocallyElasticReference(3, constant(1.0), constant(2.0), moved_by="self"), False),
        (LocallyElastic(3, PowerLaw(1.4, 1.0), constant(0.0), PowerLaw(1.0, 0.5)), True),
        (LocallyElastic(3, PowerLaw(0.7, 1.0), constant(0.0), PowerLaw(1.0, 0.5)), False),
        (LocallyElastic(3, Sum((PowerLaw(1.0, 0.5), PowerLaw(0.1, 2.0))), PowerLaw(1.0, 0.5)), False),
    ],
)
def test_who_wins(model: Any, expected: bool) -> None:
    assert model.separates() is expected


def separable_share(model: LocallyElasticReference, t: float) -> float:
    """Share of pairs of classes that can be separated, over 8 starts and 100 samples of each class."""
    k = model.num_classes
    starts = torch.randn(8, 1, k, k, generator=generator(11), dtype=torch.float64)
    noise = math.sqrt(float(model.noise.integral(t))) * torch.randn(8, 100, k, k, generator=generator(12)).double()
    return float(separable_pairs(model.carried(t, starts) + noise).double().mean())


@pytest.mark.parametrize(
    ("k", "alpha", "beta", "t"),
    [(3, 1.0, 1.0, 60.0), (3, 1.0, 0.9, 60.0), (3, -0.5, 1.0, 1e6), (2, 1.0, 1.0, 60.0), (2, 1.0, 0.5, 60.0)],
)
def test_what_the_reference_model_parts(k: int, alpha: float, beta: float, t: float) -> None:
    """Its matrices are not normal: where alpha = beta all classes are pushed alike, and at -beta / (K - 1) distances
    grow like time though no eigenvalue is positive."""
    model = LocallyElasticReference(k, constant(alpha), constant(beta))
    share = separable_share(model, t)
    assert share > 0.9 if model.separates() else share < 0.1
    assert model.separates() is (alpha != beta)


def test_two_classes_are_moved_alike_by_what_is_unlike_along_their_residuals() -> None:
    for beta, apart in ((0.5, True), (-0.5, True), (-2.0, False)):
        model = LocallyElasticLogits(2, constant(1.0), constant(beta))
        assert model.separates() is apart
        share = separation(model, 2000.0, samples=100, trials=8, generator=generator(13)).share
        assert share == 1 if apart else share < 0.3
    assert not LocallyElasticReference(2, constant(-0.5), constant(1.0)).separates()


def test_without_noise_or_without_a_known_tail_nothing_is_said() -> None:
    with pytest.raises(NotKnown, match="without noise"):
        LocallyElastic(3, ALPHA, BETA, constant(0.0)).separates()
    with pytest.raises(NotKnown, match="Sampled becomes"):
        LocallyElastic(3, Sampled((0.0, 1.0), (1.0, 2.0)), BETA).separates()
    with pytest.raises(NotKnown, match="LocallyElasticGeneral separates"):
        LocallyElasticGeneral.examples()[0].separates()
    assert LocallyElastic(2, constant(-1.0), constant(0.0)).theorem() == "undecided"
    assert tail(()) == Tail(0.0, math.inf)
    assert not outgrows(Tail(0.0, math.inf), Tail(1.0, 0.0))


@pytest.mark.parametrize(("won", "trials"), [(0, 20), (3, 20), (20, 20)])
def test_binomial_interval_is_exact(won: int, trials: int) -> None:
    low, high = binomial_interval(won, trials, confidence=0.9)

    def chance(p: float, ks: range) -> float:
        return sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in ks)

    assert low == 0 if won == 0 else chance(low, range(won, trials + 1)) == pytest.approx(0.05)
    assert high == 1 if won == trials else chance(high, range(won + 1)) == pytest.approx(0.05)


# ---------------------------------------------------------------- any matrices


@pytest.mark.parametrize("t", [1.0, 10.0, 100.0])
def test_matrices_that_commute_are_exponentiated(t: float) -> None:
    """Acceptance row 1, the general model: E and H of the closed forms, varying over time."""
    closed, x = instance(LocallyElasticLogits, 3), means(3, 3)
    transform = torch.from_numpy(reference_transform(LocallyElasticLogits, 3, 3))
    general = LocallyElasticGeneral(closed.elasticity, transform, 0.25 * torch.eye(9), commutes=True)
    CLOSED.check(general.carried(t, x), closed.carried(t, x))
    slow = LocallyElasticGeneral(closed.elasticity, transform, 0.25 * torch.eye(9))
    CLOSED.check(slow.carried(t, x), closed.carried(t, x))
    torch.testing.assert_close(general.carried(0.0, x), x)


def test_noise_of_any_covariance() -> None:
    factor = means(4, 4)
    model = LocallyElasticGeneral(torch.eye(2), torch.zeros(2, 2, 2, 2), lambda t: factor @ factor.T * (1 + t))
    torch.testing.assert_close(model.noise_root(1.0) @ model.noise_root(1.0), 2 * factor @ factor.T)
    torch.testing.assert_close(model.noise_integral(2.0), 4 * factor @ factor.T)


# ---------------------------------------------------------------- profiles


@pytest.mark.parametrize(
    "profile",
    [
        PowerLaw(0.9, 0.6),
        PowerLaw(-2.0, 1.0),
        PowerLaw(1.0, 1.0 + 1e-9),
        constant(0.3),
        Sampled((0.0, 0.5, 2.0, 4.0), (1.0, -1.0, 0.5, 0.5)),
        Sum((PowerLaw(1.0, 2.0), Sampled((0.0, 4.0), (0.0, 1.0)))),
    ],
)
def test_integrals_of_rates(profile: Any) -> None:
    for t in (0.0, 0.3, 0.5, 3.7, 4.0):
        inside = [x for x in profile.breaks if 0 < x < t]
        expected, _ = quad(profile.rate, 0, t, points=inside or None, epsabs=1e-13)
        assert float(profile.integral(t)) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    times = np.array([0.1, 1.0, 3.0])
    np.testing.assert_allclose(profile.integral(times), [float(profile.integral(t)) for t in times])
    np.testing.assert_allclose(profile.rate(times), [float(profile.rate(t)) for t in times])


# ---------------------------------------------------------------- doors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocallyElastic(1, ALPHA, BETA), "num_classes must be an integer of at least 2, got 1"),
        (lambda: LocallyElastic(3, 1.0, BETA), "intra must be a profile such as PowerLaw, got 1.0"),  # pyright: ignore
        (lambda: LocallyElastic(3, ALPHA, BETA, moved_by="both"), "moved_by must be one of mean, self"),  # pyright: ignore
        (lambda: LocallyElastic(3, ALPHA, BETA, constant(-1.0)), "noise must not be negative, got -1 at time 0"),
        (lambda: LocallyElastic(3, ALPHA, BETA, num_features=0), "num_features must be an integer of at least 1"),
        (lambda: LocallyElastic(3, ALPHA, BETA).begin(means(3, 2)), r"axes of sizes \(3, 3\), got shape \(3, 2\)"),
        (lambda: PowerLaw(math.nan, 1.0), "scale must be a finite number"),
        (lambda: Sampled((0.0, 1.0), (1.0,)), "two tuples of one length"),
        (lambda: Sampled((0.5, 1.0), (1.0, 1.0)), "ascend from 0"),
        (lambda: Sampled((0.0, 1.0), (1.0, 1.0)).rate(1.5), "known up to time 1, got time 1.5"),
        (lambda: Sum((1.0,)), "parts must be a tuple of profiles"),  # pyright: ignore
        (lambda: LocallyElasticGeneral(torch.ones(2, 3), torch.ones(2, 2, 1, 1), torch.eye(2)), "square matrix"),
        (lambda: LocallyElasticGeneral(torch.eye(2), torch.ones(2, 2, 2, 1), torch.eye(2)), r"\(2, 2, p, p\)"),
        (lambda: LocallyElasticGeneral(torch.eye(2), torch.ones(2, 2, 1, 1), torch.eye(3)), r"shape \(2, 2\)"),
        (lambda: LocallyElasticGeneral(torch.eye(2), torch.ones(2, 2, 1, 1), -torch.eye(2)), "must be a covariance"),
        (lambda: residual_projections(torch.ones(3, 2)), "as many logits as classes"),
        (lambda: separable(torch.ones(3, 2), torch.ones(3, 1)), "as many features, got 2 and 1"),
        (lambda: separable_pairs(torch.ones(3, 1, 2)), "two classes or more"),
        (
            lambda: separation(
                LocallyElasticReference(3, ALPHA, BETA), 1.0, samples=2, trials=1, generator=generator()
            ),
            "dynamics must be LocallyElastic or LocallyElasticLogits, got LocallyElasticReference",
        ),
        (
            lambda: LocallyElastic(3, ALPHA, BETA).sampled(1.0, means(3, 2), samples=2, generator=generator()),
            r"means must end in axes of sizes \(3, 3\), got shape \(3, 2\)",
        ),
        (lambda: binomial_interval(4, 3), "successes must be 3 at most, got 4"),
        (lambda: LocallyElasticGeneral(torch.tensor(1.0), torch.ones(2, 2, 1, 1), torch.eye(2)), "square matrix"),
        (lambda: LocallyElasticGeneral(torch.eye(2), torch.tensor(1.0), torch.eye(2)), r"\(2, 2, p, p\)"),
        (
            lambda: LocallyElasticGeneral(torch.eye(2), torch.ones(2, 2, 1, 1), math.nan * torch.eye(2)),
            "noise must be finite, got nan",
        ),
        (
            lambda: LocallyElasticGeneral(torch.eye(2), torch.ones(2, 2, 1, 1), torch.eye(2)).propagator(5000.0),
            "beyond float64",
        ),
        (lambda: separable_pairs(torch.full((4, 3, 2), math.nan)), "h must be finite, got nan"),
        (lambda: separable_pairs(torch.ones(0, 3, 2)), r"axes of samples, .*, got \(0, 3, 2\)"),
        (lambda: LocallyElastic(3, ALPHA, BETA).begin(math.nan * means(3, 3)), "means must be finite, got nan"),
    ],
)
def test_bad_settings(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("kind", [*KINDS, LocallyElasticGeneral])
def test_bad_states(kind: type) -> None:
    model = LocallyElasticGeneral.examples()[0] if kind is LocallyElasticGeneral else instance(kind, 3)
    start = model.draw(generator())
    size = start["h"].numel()
    with pytest.raises(InputError, match="t must be a finite number of at least 0, got -1"):
        model.solution(-1.0, start)
    with pytest.raises(InputError, match="t must be a finite number of at least 0, got nan"):
        model.moments(math.nan, start)
    with pytest.raises(InputError, match="start must have an entry 'mean', got 'h'"):
        model.solution(1.0, {"h": start["h"]})
    with pytest.raises(InputError, match="mean must end in axes of sizes"):
        model.solution(1.0, {"h": start["h"], "mean": torch.ones(3, 7)})
    with pytest.raises(InputError, match=rf"covariance must have shape \({size}, {size}\)"):
        model.moments(1.0, start, covariance=torch.eye(2))
    single = {name: entry.float() for name, entry in start.items()}
    assert model.solution(1.0, single)["h"].dtype == torch.float64


def test_noise_that_becomes_negative_is_not_taken_for_none() -> None:
    model = LocallyElastic(3, ALPHA, BETA, Sampled((0.0, 1.0, 2.0), (1.0, -3.0, 0.0)))
    for t, who in itertools.product((1.0, 2.0), ("mean", "self")):
        one = LocallyElastic(3, ALPHA, BETA, model.noise, moved_by=who)  # pyright: ignore[reportArgumentType]
        with pytest.raises(InputError, match="noise must not be negative, got -3 at time 1"):
            one.sampled(t, means(3, 3), samples=2, generator=generator())
    with pytest.raises(InputError, match="noise must not be negative, got -3 at time 1"):
        model.moments(2.0, model.draw(generator()))


def test_matrices_that_do_not_commute_are_not_exponentiated() -> None:
    model = LocallyElasticGeneral.examples()[2]
    wrong = LocallyElasticGeneral(model.impact, model.transform, model.noise, commutes=True)
    with pytest.raises(InputError, match="commutes must be false: matrices up to time 2 do not"):
        wrong.propagator(2.0)


def test_layout() -> None:
    x = means(3, 2)
    torch.testing.assert_close(unflat(flat(x), (3, 2)), x)
    assert issubclass(LocallyElastic, AbstractLocallyElastic)
