"""Elasticity estimated from class means: slow twins, known paths, and what trials drawn again give."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter
from torch import Tensor

from collapselab.core.errors import InputError, NotConverged, UndefinedMetric
from collapselab.theory import residual_directions, residual_projections
from collapselab.theory.elastic_fit import (
    ClassSums,
    Elasticity,
    Exponents,
    elasticity,
    extrapolated_path,
    fitted_identity_path,
    fitted_residual_path,
    frozen_path,
    goodness,
    identity_exponents,
    identity_exponents_reference,
    identity_path,
    residual_exponents,
    residual_exponents_reference,
    residual_path,
    smoothed_derivative,
    tail_index_local,
    tail_index_reference,
)
from tolerances import IDENTITY, REFERENCE

T, R, B, K = 12, 4, 2, 3
TIMES = torch.arange(60, dtype=torch.float64)

# Parabolas, so that the derivative of the best parabola is that of the path.
KNOWN = Exponents(0.09 * TIMES - 4e-4 * TIMES**2, 0.02 * TIMES - 3e-4 * TIMES**2)
RATES = Elasticity(0.09 - 8e-4 * TIMES, 0.02 - 6e-4 * TIMES)
SUMS = ClassSums.of(torch.ones(2, 2, 1, 3), torch.tensor([[[0], [0]], [[1], [1]]]), num_classes=2)


def drawn(generator: torch.Generator, *, p: int = K) -> tuple[Tensor, Tensor]:
    """Logits and labels; the last class is drawn by few, so that there are cells to fill."""
    logits = torch.randn(T, R, B, p, generator=generator, dtype=torch.float64)
    labels = torch.randint(2, (T, R, B), generator=generator)
    labels[4, 1, 0] = labels[7, 3, 1] = labels[7, 2, 1] = 2
    return logits, labels


def reference_means(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the samples of a class at an iteration; unsampled cells as the last, or the first, that was."""
    found: list[list[np.ndarray | None]] = [[None] * K for _ in range(T)]
    for t in range(T):
        for k in range(K):
            cell = [(logits[t, r, b], weights[r]) for r in range(R) for b in range(B) if labels[t, r, b] == k]
            total = sum(w for _, w in cell)
            if total:
                found[t][k] = sum(x * w for x, w in cell) / total
    for k in range(K):
        known = next(row[k] for row in found if row[k] is not None)
        for row in found:
            known = row[k] = known if row[k] is None else row[k]
    return np.array(found)


def test_class_means(generator: torch.Generator) -> None:
    logits, labels = drawn(generator)
    sums = ClassSums.of(logits, labels, num_classes=K)
    given = logits.numpy(), labels.numpy()
    REFERENCE.floor(1).check(sums.means(), reference_means(*given, np.ones(R)))
    weights = torch.tensor([[0.0, 1, 2, 1], [1, 0, 3, 0]])
    found = sums.means(weights)
    for at, row in enumerate(weights.numpy()):
        REFERENCE.floor(1).check(found[at], reference_means(*given, row))
    again = sums.again(50, generator)
    assert again.shape == (50, R)
    assert again.sum(1).tolist() == [R] * 50
    assert again.unique().numel() > 2


def reference_identity(means: np.ndarray, baseline: int) -> tuple[list[float], list[float]]:
    """Spec: a1 = K log(|l(t)| / |l(0)|), a2 = K log(|X - l|(t) / (0)); B = (a1 - a2)/K, A = a2 + B."""
    shared = [np.mean(row, axis=0) for row in means]
    one = [math.sqrt(sum(x * x for x in row)) for row in shared]
    two = [
        math.sqrt(sum((x - m) ** 2 for k in range(len(row)) for x, m in zip(row[k], mean, strict=True)))
        for row, mean in zip(means, shared, strict=True)
    ]
    return _both(one, two, baseline, factor=means.shape[1], num_classes=means.shape[1])


def reference_residual(means: np.ndarray, baseline: int) -> tuple[list[float], list[float]]:
    """Spec: s_k = <d_k, X_k>/kappa; a1 = (K/kappa) log(|mean s|(t)/(0)), a2 likewise of |s - mean s|."""
    k = means.shape[1]
    kappa = (k - 1) / k
    d = np.eye(k) - 1 / k
    parts = [[float(np.dot(d[c], row[c])) / kappa for c in range(k)] for row in means]
    one = [abs(sum(s) / k) for s in parts]
    two = [math.sqrt(sum((x - sum(s) / k) ** 2 for x in s)) for s in parts]
    return _both(one, two, baseline, factor=k / kappa, num_classes=k)


def _both(one: list[float], two: list[float], baseline: int, *, factor: float, num_classes: int):
    a1, a2 = ([factor * math.log(x / np.mean(norms[:baseline])) for x in norms] for norms in (one, two))
    inter = [(x - y) / num_classes for x, y in zip(a1, a2, strict=True)]
    return [x + y for x, y in zip(a2, inter, strict=True)], inter


@pytest.mark.parametrize(
    ("fast", "slow"), [(identity_exponents, reference_identity), (residual_exponents, reference_residual)]
)
@pytest.mark.parametrize("baseline", [1, 5])
def test_exponents(
    fast: Callable[..., Exponents], slow: Callable[..., tuple[list[float], list[float]]], baseline: int,
    generator: torch.Generator,
) -> None:  # fmt: skip
    means = torch.randn(2, T, 4, 4, generator=generator, dtype=torch.float64)
    found = fast(means, baseline=baseline)
    for at in range(2):
        for one, expected in zip(found, slow(means[at].numpy(), baseline), strict=True):
            REFERENCE.floor(10).check(one[at], expected)


def test_exponents_of_the_published_code(generator: torch.Generator) -> None:
    means = torch.randn(T, K, K, generator=generator, dtype=torch.float64)
    x = means.numpy()
    shared = x.mean(1)
    c0, ck = shared[0], x[0] - shared[0]
    found = identity_exponents_reference(means)
    for t in range(T):
        inter = [
            -np.mean([math.log(abs(c0[j] / ck[k, j] * (x[t, k, j] - shared[t, j]) / shared[t, j])) for k in range(K)])
            for j in range(K)
        ]
        intra = [
            math.log(abs(shared[t, j] * (x[t, k, j] - shared[t, j]) ** 2 / (c0[j] * ck[k, j] ** 2)))
            for j in range(K)
            for k in range(K)
        ]
        REFERENCE.floor(10).check(found.inter[t], np.mean(inter))
        REFERENCE.floor(10).check(found.intra[t], np.mean(intra))


def test_l_model_of_the_published_code(generator: torch.Generator) -> None:
    """Projections on d and, of the rest, on (d_1; d_2; 0)."""
    means = torch.randn(T, K, K, generator=generator, dtype=torch.float64)
    d = np.eye(K) - 1 / K
    whole, second = d.flatten(), np.concatenate([d[0], d[1], np.zeros(K)])
    projections = []
    for row in means.numpy().reshape(T, -1):
        one = row @ whole
        projections.append((one, (row - one / (whole @ whole) * whole) @ second))
    a1, a2 = (np.array([3 * math.log(abs(p[i] / projections[0][i])) for p in projections]) for i in (0, 1))
    found = residual_exponents_reference(means)
    REFERENCE.floor(10).check(found.intra, (a1 + 2 * a2) / 3)
    REFERENCE.floor(10).check(found.inter, (a2 - a1) * 2 / 3)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_known_elasticity_is_recovered(k: int, generator: torch.Generator) -> None:
    """Without noise both models give back the exponents that made the path, and their derivative."""
    start = torch.randn(k, k, generator=generator, dtype=torch.float64)
    for path, estimate in ((identity_path, identity_exponents), (residual_path, residual_exponents)):
        if k == 2 and path is residual_path:
            start = torch.tensor([[1.0, -0.5], [0.25, 2.0]], dtype=torch.float64)
        found = estimate(path(start, KNOWN), baseline=1)
        rates = elasticity(found, window=15)
        for one, expected in zip((*found, *rates), (*KNOWN, *RATES), strict=True):
            IDENTITY.floor(1).check(one, expected)


def test_published_l_model_recovers_its_own_variant(generator: torch.Generator) -> None:
    """Spec 1.3: s_k(t) = mean s e^((A-B)/K) + (s_k - mean s) e^((A + B/(K-1))/K); the paper's model it does not."""
    start = torch.randn(K, generator=generator, dtype=torch.float64)
    mean = start.mean()
    shared, apart = (KNOWN.intra - KNOWN.inter) / K, (KNOWN.intra + KNOWN.inter / (K - 1)) / K
    parts = mean * shared.exp()[:, None] + (start - mean) * apart.exp()[:, None]
    found = residual_exponents_reference(parts[..., None] * residual_directions(K))
    for one, expected in zip(found, KNOWN, strict=True):
        IDENTITY.floor(1).check(one, expected)
    other = residual_exponents_reference(residual_path(start[:, None] * residual_directions(K), KNOWN))
    assert float((other.inter - KNOWN.inter).abs().max()) > 0.05


def test_closed_forms_solve_the_equation(generator: torch.Generator) -> None:
    r"""$\bar X' = M\bar X$ with the blocks (1/K) E_kl I, and (1/K) E_kl d_k d_l^T."""
    start = torch.randn(K, K, generator=generator, dtype=torch.float64)
    alpha, beta = 0.7, 0.2
    impact = (alpha - beta) * torch.eye(K, dtype=torch.float64) + beta
    d = residual_directions(K)
    identity = torch.einsum("kl,pq->kplq", impact, torch.eye(K, dtype=torch.float64))
    residual = torch.einsum("kl,kp,lq->kplq", impact, d, d)
    for path, blocks in ((identity_path, identity), (residual_path, residual)):
        times = torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
        found = path(start, Exponents(alpha * times, beta * times))
        for at, t in enumerate(times):
            propagator = torch.linalg.matrix_exp(t * blocks.reshape(K * K, K * K) / K)
            IDENTITY.floor(1).check(found[at].flatten(), propagator @ start.flatten())


def test_noise_alone_does_not_grow(generator: torch.Generator) -> None:
    """Why norms are averaged at the start: twenty averaged means would have less noise, and A would begin at 4.5."""
    noise = torch.randn(2000, K, K, generator=generator, dtype=torch.float64)
    for estimate in (identity_exponents, residual_exponents):
        found = estimate(noise, baseline=20).intra[100:]
        assert abs(float(found.median())) < 1
    quiet = noise.clone()
    quiet[0] = noise[:20].mean(0)
    assert float(identity_exponents(quiet, baseline=1).intra[100:].median()) > 3


@pytest.mark.parametrize("window", [3, 7, 19])
def test_derivative(window: int, generator: torch.Generator) -> None:
    values = torch.randn(2, 3, 19, generator=generator, dtype=torch.float64)
    expected = savgol_filter(values.numpy(), window, 2, deriv=1)
    REFERENCE.floor(10).check(smoothed_derivative(values, window=window), expected)


def test_tail_indices() -> None:
    """A power law has its own index; one times a factor keeps the slope, and the published index moves."""
    times = torch.arange(1000, dtype=torch.float64)
    power = times**0.4
    both = torch.stack([power, 5 * power, -power])
    REFERENCE.check(tail_index_local(both, last=500), [0.6] * 3)
    found = tail_index_reference(both, last=500)
    logs = [math.log(5) / math.log(t) for t in range(500, 1000)]
    REFERENCE.check(found, [0.6, 0.6 - np.mean(logs), 0.6])


def test_what_has_no_logarithm_is_left_out() -> None:
    values = torch.arange(100, dtype=torch.float64).sqrt()
    pierced = values.clone()
    pierced[80:90] *= -1
    kept = [t for t in range(50, 100) if not 80 <= t < 90]
    slope = np.polyfit([math.log(t) for t in kept], [0.5 * math.log(t) for t in kept], 1)[0]
    REFERENCE.check(tail_index_local(pierced, last=50), 1 - slope)
    REFERENCE.check(tail_index_reference(pierced, last=50), 0.5)


def test_saturated_growth_has_a_small_published_index_and_no_tail() -> None:
    """Why both are there: A that has stopped growing at 20."""
    stopped = 20 * (1 - torch.exp(-torch.arange(3000, dtype=torch.float64) / 300))
    assert float(tail_index_reference(stopped, last=300)) == pytest.approx(1 - math.log(20) / math.log(3000), abs=0.01)
    assert float(tail_index_local(stopped, last=300)) == pytest.approx(1, abs=0.01)


def test_fits_hold_paths_of_their_own_model(generator: torch.Generator) -> None:
    start = torch.randn(K, K, generator=generator, dtype=torch.float64)
    for path, fit in ((residual_path, fitted_residual_path), (identity_path, fitted_identity_path)):
        course = path(start, KNOWN)
        IDENTITY.floor(10).check(fit(course, baseline=1, window=1), course)
        found = goodness(fit(course, baseline=1, window=1), course)
        assert float(found.error) < 1e-9
        assert float(found.cosine) == pytest.approx(1)
    other = goodness(
        fitted_identity_path(residual_path(start, KNOWN), baseline=1, window=1), residual_path(start, KNOWN)
    )
    assert float(other.error) > 0.05


def test_fits_average_growth_over_windows_cut_at_the_ends(generator: torch.Generator) -> None:
    means = torch.randn(9, K, K, generator=generator, dtype=torch.float64)
    found = fitted_residual_path(means, baseline=2, window=3)
    start = means[:2].mean(0)
    d, began = residual_directions(K), residual_projections(start)
    mean = float(began.mean())
    parts = residual_projections(means)
    for t in range(9):
        around = range(max(t - 1, 0), min(t + 2, 9))
        common = np.mean([float(parts[u].mean()) / mean for u in around])
        apart = np.mean(
            [
                float((parts[u] - parts[u].mean()) @ (began - mean)) / float((began - mean) @ (began - mean))
                for u in around
            ]
        )
        for k in range(K):
            s = mean * common + float(began[k] - mean) * apart
            REFERENCE.floor(10).check(found[t, k], start[k] + (s - began[k]) * d[k])


def test_what_predictions_are_compared_with(generator: torch.Generator) -> None:
    means = torch.randn(2, 20, K, 4, generator=generator, dtype=torch.float64)
    frozen, straight = frozen_path(means, baseline=3), extrapolated_path(means, seen=8)
    assert frozen.shape == straight.shape == means.shape
    for b in range(2):
        REFERENCE.floor(1).check(frozen[b, 11], means[b, :3].mean(0))
        slope, level = np.polyfit(np.arange(8), means[b, :8].reshape(8, -1).numpy(), 1)
        REFERENCE.floor(10).check(straight[b, 19].flatten(), level + 19 * slope)
    found = goodness(frozen, means)
    one, two = frozen[1].numpy().ravel(), means[1].numpy().ravel()
    REFERENCE.check(found.error[1], np.linalg.norm(one - two) / np.linalg.norm(two))
    REFERENCE.check(found.cosine[1], one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def test_undefined() -> None:
    still = torch.ones(5, K, K, dtype=torch.float64)
    for estimate in (identity_exponents, residual_exponents):
        with pytest.raises(UndefinedMetric, match="a mode of the class means vanishes at an iteration"):
            estimate(still, baseline=1)
    with pytest.raises(UndefinedMetric, match="a mode of the class means vanishes at the start"):
        fitted_identity_path(still, baseline=1, window=1)
    with pytest.raises(UndefinedMetric, match="the exponent is zero at the end"):
        tail_index_reference(torch.zeros(9), last=3)
    with pytest.raises(UndefinedMetric, match="fewer than two iterations have a logarithm"):
        tail_index_local(torch.tensor([0.0, 0, 0, 0, 0, 1, -1, 0]), last=3)
    with pytest.raises(UndefinedMetric, match="class means are zero"):
        goodness(torch.zeros(2, 2, 2), torch.ones(2, 2, 2))


@pytest.mark.parametrize("value", [0.1, 0.7, -1e8 / 3])
def test_what_rounding_leaves_is_no_mode(value: float) -> None:
    """Class means that all are the same, but for the rounding of their mean."""
    still = torch.full((30, K, K), value, dtype=torch.float64)
    for estimate in (identity_exponents, residual_exponents):
        with pytest.raises(UndefinedMetric, match="a mode of the class means vanishes at an iteration"):
            estimate(still)
    for fit in (fitted_identity_path, fitted_residual_path):
        with pytest.raises(UndefinedMetric, match="a mode of the class means vanishes at the start"):
            fit(still)


def test_weights_may_be_parts(generator: torch.Generator) -> None:
    """Halves of all weights change no mean."""
    sums = ClassSums.of(*drawn(generator), num_classes=K)
    REFERENCE.floor(1).check(sums.means(torch.full((1, R), 0.25))[0], sums.means())


def test_growth_that_saturates_has_a_local_index_of_one_however_fast() -> None:
    times = torch.arange(1, 3001, dtype=torch.float64)
    for fall in (2, 3):
        stopped = 1 - times ** (1 - fall)
        assert float(tail_index_local(stopped, last=300)) == pytest.approx(1, abs=0.001)


def test_closed_forms_take_single_precision(generator: torch.Generator) -> None:
    start = torch.randn(K, K, generator=generator)
    for path in (identity_path, residual_path):
        single = path(start, Exponents(*(one.float() for one in KNOWN)))
        assert single.dtype == torch.float64
        REFERENCE.check(single, path(start.double(), Exponents(*(one.float().double() for one in KNOWN))))


def test_growth_beyond_numbers_is_told() -> None:
    """The mean of all classes is zero and would grow without bound: no number times nothing."""
    huge = Exponents(torch.tensor([0.0, 1e5]), torch.tensor([0.0, 1e4]))
    for path in (identity_path, residual_path):
        with pytest.raises(NotConverged, match="class means grow beyond what numbers can hold"):
            path(residual_directions(K), huge)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ClassSums.of(torch.ones(2, 1, 1, 3), torch.zeros(2, 1, 1), num_classes=2), "labels must be integers"),
        (lambda: ClassSums.of(torch.ones(2, 1, 1, 3), torch.full((2, 1, 1), 2), num_classes=2), "must lie in 0..1"),
        (lambda: ClassSums.of(torch.ones(0, 1, 1, 3), torch.zeros(0, 1, 1).long(), num_classes=2), "got shapes"),
        (lambda: SUMS.means(torch.ones(1, 3)), r"weights must be \(draws, 2 trials\) and none below 0"),
        (lambda: SUMS.means(torch.tensor([[2.0, -1.0]])), "and none below 0"),
        (lambda: goodness(torch.ones(2, 3, 4), torch.ones(4, 3, 2)), "predicted must have the iterations, classes and"),
        (lambda: identity_path(torch.ones(3), KNOWN), r"start must be \(..., classes, features\)"),
        (lambda: residual_path(torch.ones(3, 4), KNOWN), "means must be as many logits as classes"),
        (lambda: identity_path(torch.ones(3, 3), Exponents(TIMES * torch.nan, TIMES)), "intra must be finite"),
        (lambda: identity_path(torch.ones(3, 3), Exponents(TIMES, TIMES[1:])), "inter must be of the shape of intra"),
        (lambda: identity_exponents(torch.rand(0, 3, 3)), r"means must be \(..., iterations, classes, features\)"),
        (lambda: smoothed_derivative(torch.tensor([0.0, torch.nan, 1.0]), window=3), "values must be finite"),
        (lambda: smoothed_derivative(torch.tensor(1.0), window=3), r"values must be \(..., iterations\)"),
        (lambda: tail_index_local(torch.tensor([0, 1, 2, torch.nan, 3.0]), last=3), "exponent must be finite"),
        (lambda: tail_index_reference(torch.rand(5), last=0), "last must be an integer of at least 2, got 0"),
        (lambda: ClassSums.of(torch.ones(2, 1, 1, 3), torch.zeros(2, 1, 2).long(), num_classes=3), "with a label each"),
        (lambda: ClassSums.of(torch.ones(2, 1, 1, 3), torch.zeros(2, 1, 1).long(), num_classes=2), "none of class 1"),
        (lambda: residual_exponents(torch.ones(5, 3, 4)), "means must be of logits, as many as classes"),
        (lambda: residual_exponents_reference(torch.ones(5, 4, 4)), "for the published estimator, got 4"),
        (lambda: identity_exponents(torch.ones(5, 3)), r"means must be \(..., iterations, classes, features\)"),
        (lambda: identity_exponents(torch.rand(5, 3, 3)), "baseline must be at most the 5 iterations there"),
        (lambda: frozen_path(torch.rand(5, 3, 3)), "baseline must be at most the 5 iterations there are, got 20"),
        (lambda: extrapolated_path(torch.rand(5, 3, 3), seen=1), "seen must be an integer of at least 2, got 1"),
        (lambda: smoothed_derivative(torch.rand(5), window=4), "window must be odd and at most 5"),
        (lambda: smoothed_derivative(torch.rand(5), window=7), "window must be odd and at most 5"),
        (lambda: tail_index_reference(torch.rand(5), last=4), "last must be at most 3"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_a_trial_that_never_drew_a_class_does_not_count_alone(generator: torch.Generator) -> None:
    sums = ClassSums.of(*drawn(generator), num_classes=K)
    with pytest.raises(InputError, match="every class must be drawn by a trial that counts"):
        sums.means(torch.tensor([[1.0, 0, 0, 0]]))
