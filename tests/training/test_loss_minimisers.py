"""Losses on free features: an optimiser reaches the closed form, and the geometry there is the one that is promised.

Features H and head W are free, n samples of each of K classes, decay on both (Zhu et al. 2021); or they lie on spheres.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize
from torch import Tensor

from collapselab.geometry.configurations import simplex_etf
from collapselab.training import LOSSES
from collapselab.training.losses import Loss
from collapselab.training.penalties import PENALTIES, Penalty
from tolerances import OPTIMUM
from training.loss_problems import outputs, without_probe

TABLE = 6e-10  # tables are printed with ten digits


def minimised(value: Callable[[], Tensor], parts: list[Tensor]) -> tuple[float, float]:
    """Smallest value that L-BFGS finds, and the norm of the gradient there."""
    settings = {"max_iter": 1000, "history_size": 30, "tolerance_grad": 1e-13, "tolerance_change": 1e-18}

    def closure() -> Tensor:
        for part in parts:
            part.grad = None
        found = value()
        found.backward()
        return found

    for _ in range(6):  # a new start forgets curvatures that have become rounding
        torch.optim.LBFGS(parts, line_search_fn="strong_wolfe", **settings).step(closure)
        found = float(closure().detach())
        gradient = math.sqrt(sum(float(part.grad.square().sum()) for part in parts))
        if gradient < 5e-9:
            break
    return found, gradient


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=g, dtype=torch.float64)).requires_grad_()


@dataclass(frozen=True)
class Free:
    """Unconstrained features with decay on features and head, and a bias that is free or absent."""

    k: int
    n: int
    d: int
    decay_head: float
    decay_features: float

    @property
    def c(self) -> float:
        """The one combination of the settings that matters."""
        return math.sqrt(self.n * self.decay_head * self.decay_features)

    @property
    def y(self) -> Tensor:
        return torch.arange(self.k).repeat_interleave(self.n)

    def minimum(self, loss: Loss, *, bias: bool, penalty: Penalty | None = None) -> tuple[float, float, Tensor, Tensor]:
        """Value, norm of the gradient, features and head where an optimiser ends."""
        h, w = drawn(self.k * self.n, self.d, seed=1), drawn(self.k, self.d, seed=2)
        b = drawn(self.k, seed=3, scale=0.1) if bias else None

        def value() -> Tensor:
            seen = outputs(h, w, b)
            mean = loss(seen, self.y).mean()
            if penalty is not None:
                mean = mean + penalty(seen, self.y).mean()
            return mean + 0.5 * (self.decay_head * w.square().sum() + self.decay_features * h.square().sum())

        found, gradient = minimised(value, [h, w] if b is None else [h, w, b])
        return found, gradient, h.detach(), w.detach()


def check_simplex(h: Tensor, w: Tensor, y: Tensor, *, tolerance: float = 1e-6) -> None:
    """Collapsed samples, means and class vectors a simplex ETF around 0, each in the direction of the other."""
    k = w.shape[0]
    means = torch.stack([h[y == label].mean(0) for label in range(k)])
    etf = torch.eye(k).double() - 1 / k
    assert float((h - means[y]).norm() / h.norm()) < tolerance
    for rows in (means, w):
        gram = rows @ rows.T
        assert float((gram / gram.norm() - etf / etf.norm()).norm()) < tolerance
    assert float((w / w.norm() - means / means.norm()).norm()) < tolerance


def two_level_minimum(loss: Loss, free: Free, *, bias: bool, penalty: Penalty | None = None) -> float:
    """Smallest value over logits a Pi + m J / K (+ beta): by convexity and symmetry that of the whole problem."""
    k = free.k
    y = torch.tensor([0])

    def value(parts: np.ndarray) -> float:
        a, m, beta = parts[0], 0.0 if bias else parts[1], parts[1] if bias else 0.0
        z = torch.full((1, k), -a / k + m / k + beta, dtype=torch.float64)
        z[0, 0] += a
        seen = outputs(z, torch.eye(k).double())
        data = float(loss(seen, y)) + (0.0 if penalty is None else float(penalty(seen, y)))
        return data + free.c * ((k - 1) * abs(a) + abs(m))

    options = {"xatol": 1e-11, "fatol": 1e-15, "maxiter": 4000}
    starts = [np.array([3.0, s]) for s in (-1.0, 0.5)]
    return min(minimize(value, start, method="Nelder-Mead", options=options).fun for start in starts)


# ------------------------------------------------------------------------------------------------ cross-entropy
CROSS_ENTROPY = [
    (Free(4, 10, 8, 5e-3, 5e-3), 0.2430016020, 38.881109),
    (Free(10, 5, 16, 5e-3, 1e-3), 0.2823962428, 47.270461),
    (Free(3, 20, 2, 5e-3, 5e-3), 0.2136674558, 33.583049),
]


def cross_entropy_minimum(free: Free) -> tuple[float, float]:
    """Value and squared norm of the head; c < 1 / K."""
    c, k = free.c, free.k
    a = math.log(1 / c - (k - 1))
    norm = (k - 1) * math.sqrt(free.decay_features * free.n / free.decay_head) * a
    return -math.log1p(-(k - 1) * c) + (k - 1) * c * a, norm


@pytest.mark.parametrize(("free", "value", "norm"), CROSS_ENTROPY)
def test_cross_entropy(free: Free, value: float, norm: float) -> None:
    closed, closed_norm = cross_entropy_minimum(free)
    assert closed == pytest.approx(value, abs=TABLE)
    assert closed_norm == pytest.approx(norm, rel=1e-7)
    found, gradient, h, w = free.minimum(LOSSES["cross_entropy"].make(), bias=True)
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    check_simplex(h, w, free.y)
    assert float(w.square().sum()) == pytest.approx(closed_norm, rel=1e-5)
    probability = (h @ w.T).softmax(1)[0, 0]
    assert float(probability) == pytest.approx(1 - (free.k - 1) * free.c, abs=1e-7)


@pytest.mark.parametrize(("share", "value", "norm"), [(0.99, 1.60923987, 0.5214), (1.01, math.log(5), 0.0)])
def test_cross_entropy_vanishes_where_decay_wins(share: float, value: float, norm: float) -> None:
    """At c K = 1 the minimiser becomes zero."""
    decay = share / (5 * math.sqrt(7))
    found, _, _, w = Free(5, 7, 8, decay, decay).minimum(LOSSES["cross_entropy"].make(), bias=False)
    assert float(w.square().sum()) == pytest.approx(norm, abs=1e-3)
    assert found == pytest.approx(value, abs=6e-9)


def test_feature_decay_is_the_decay_of_free_features() -> None:
    """The penalty with N times the coefficient, and nothing else on the features."""
    free, value, _ = CROSS_ENTROPY[0]
    penalty = PENALTIES["feature_decay"].make(decay_features=free.decay_features * free.k * free.n)
    bare = Free(free.k, free.n, free.d, free.decay_head, 0.0)
    found, gradient, h, w = bare.minimum(LOSSES["cross_entropy"].make(), bias=False, penalty=penalty)
    OPTIMUM.check(found, cross_entropy_minimum(free)[0], gradient_norm=gradient)
    assert found == pytest.approx(value, abs=TABLE)
    check_simplex(h, w, free.y)


def test_cross_entropy_under_a_fixed_head() -> None:
    """Samples decouple: h = beta w_y in every class, however many samples it has."""
    k, decay = 5, 1e-3
    for sizes in ((7,) * 5, (15, 12, 5, 2, 1)):
        total = sum(sizes)
        y = torch.arange(k).repeat_interleave(torch.tensor(sizes))
        w, h = simplex_etf(k, 6), drawn(total, 6)
        found, gradient = minimised(lambda w=w, h=h, y=y: decayed_cross_entropy(h, w, y, decay), [h])

        def slope(beta: float) -> float:
            q = math.exp(-beta * k / (k - 1))
            return decay * beta - k * q / (1 + (k - 1) * q) / 35

        beta = brentq(slope, 0.0, 50.0, xtol=1e-14)
        assert beta == pytest.approx(3.0158050, abs=1e-7)
        closed = math.log1p((k - 1) * math.exp(-beta * k / (k - 1))) + 0.5 * decay * 35 * beta**2
        OPTIMUM.check(found, closed, gradient_norm=gradient)
        assert float((h.detach() - beta * w[y]).abs().max()) < 1e-4


def decayed_cross_entropy(h: Tensor, w: Tensor, y: Tensor, decay: float) -> Tensor:
    return LOSSES["cross_entropy"].make()(outputs(h, w), y).mean() + 0.5 * decay * h.square().sum()


def test_cross_entropy_under_a_fixed_head_on_the_sphere() -> None:
    """Yang et al. (2022): features of squared norm E_H reach their class vectors, however few samples a class has."""
    k, y = 6, torch.arange(6).repeat_interleave(torch.tensor([50, 20, 10, 5, 2, 1]))
    w, raw, loss = simplex_etf(k, 6), drawn(88, 6), LOSSES["cross_entropy"].make()

    def features() -> Tensor:
        return 5 * torch.nn.functional.normalize(raw)

    found, gradient = minimised(lambda: loss(outputs(features(), w), y).mean(), [raw])
    OPTIMUM.check(found, math.log1p((k - 1) * math.exp(-5 * k / (k - 1))), gradient_norm=gradient)
    assert found == pytest.approx(0.012318, abs=6e-7)
    assert float((features().detach() / 5 - w[y]).abs().max()) < 1e-5


# ------------------------------------------------------------------------------- label smoothing and focal loss
SMOOTHED = Free(5, 6, 8, 4e-3, 2e-3)


@pytest.mark.parametrize(
    ("smoothing", "value", "margin"),
    [
        (0.0, 0.1651176107, 4.944051),
        (0.05, 0.3415520054, 4.008660),
        (0.1, 0.4910282049, 3.500614),
        (0.3, 0.9520994210, 2.392552),
        (0.9, 1.6013840110, 0.299843),
    ],
)
def test_label_smoothing(smoothing: float, value: float, margin: float) -> None:
    k, c = SMOOTHED.k, SMOOTHED.c
    t = 1 - smoothing + smoothing / k
    p = t - (k - 1) * c
    a = math.log((k - 1) * p / (1 - p))
    closed = -t * math.log(p) - smoothing * (k - 1) / k * math.log((1 - p) / (k - 1)) + (k - 1) * c * a
    assert closed == pytest.approx(value, abs=TABLE)
    assert a == pytest.approx(margin, abs=1e-6)
    found, gradient, h, w = SMOOTHED.minimum(LOSSES["label_smoothing"].make(smoothing=smoothing), bias=False)
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    check_simplex(h, w, SMOOTHED.y)


@pytest.mark.parametrize(
    ("gamma", "p", "value"),
    [
        (1.0, 0.880408, 0.1089736047),
        (2.0, 0.784446, 0.0854968944),
        (3.0, 0.701699, 0.0715268810),
        (5.0, 0.575646, 0.0544679765),
    ],
)
def test_focal(gamma: float, p: float, value: float) -> None:
    k, c = SMOOTHED.k, SMOOTHED.c

    def slope(p: float) -> float:
        return (1 - p) ** gamma * ((1 - p) - gamma * p * math.log(p)) - (k - 1) * c

    root = brentq(slope, 0.5, 1 - 1e-9, xtol=1e-15)
    assert root == pytest.approx(p, abs=1e-6)
    a = math.log((k - 1) * root / (1 - root))
    closed = -((1 - root) ** gamma) * math.log(root) + (k - 1) * c * a
    assert closed == pytest.approx(value, abs=TABLE)
    found, gradient, h, w = SMOOTHED.minimum(LOSSES["focal"].make(gamma=gamma), bias=False)
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    check_simplex(h, w, SMOOTHED.y)


# ---------------------------------------------------------------------------------------------- squared errors
SQUARED = Free(4, 6, 9, 5e-3, 5e-3)


def test_mse_without_bias_is_an_orthogonal_frame() -> None:
    c = SQUARED.k * SQUARED.c
    found, gradient, h, w = SQUARED.minimum(LOSSES["mse"].make(), bias=False)
    OPTIMUM.check(found, c - c**2 / 2, gradient_norm=gradient)
    expected = (1 - c) * torch.nn.functional.one_hot(SQUARED.y, SQUARED.k)
    assert float((h @ w.T - expected).abs().max()) < 1e-6


def test_mse_with_a_free_bias_is_a_simplex() -> None:
    k, c = SQUARED.k, SQUARED.k * SQUARED.c
    found, gradient, h, w = SQUARED.minimum(LOSSES["mse"].make(), bias=True)
    OPTIMUM.check(found, (k - 1) / k * (c - c**2 / 2), gradient_norm=gradient)
    check_simplex(h, w, SQUARED.y)


@pytest.mark.parametrize("bias", [False, True])
def test_decay_beside_the_mean_over_classes_counts_k_halves_as_much(bias: bool) -> None:
    """The minimisers of `mse` with decay lambda and of `mean_squared_error` with decay 2 lambda / K are the same."""
    k = SQUARED.k
    weaker = Free(k, SQUARED.n, SQUARED.d, 2 / k * SQUARED.decay_head, 2 / k * SQUARED.decay_features)
    half, _, h, w = SQUARED.minimum(LOSSES["mse"].make(), bias=bias)
    mean, gradient, h_mean, w_mean = weaker.minimum(LOSSES["mean_squared_error"].make(), bias=bias)
    OPTIMUM.check(mean, 2 / k * half, gradient_norm=gradient)
    assert float((h @ w.T - h_mean @ w_mean.T).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("kappa", "target", "without", "with_bias"),
    [
        (1.0, 1.0, 0.04778979, 0.03584235),
        (5.0, 1.0, 0.04874979, 0.03638235),
        pytest.param(15.0, 2.0, 0.09789959, 0.07321469, marks=pytest.mark.slow),  # flat: a thousand steps and more
    ],
)
def test_rescaled_mse(kappa: float, target: float, without: float, with_bias: float) -> None:
    """The table is for the half sum over classes, so decay is 2 / K of the table's, and so is the value."""
    k = SQUARED.k
    weaker = Free(k, SQUARED.n, SQUARED.d, 2 / k * SQUARED.decay_head, 2 / k * SQUARED.decay_features)
    c = k**2 / 2 * weaker.c
    loss = LOSSES["rescaled_mse"].make(kappa=kappa, target=target)
    for bias, value in ((False, without), (True, with_bias)):
        found, gradient, h, w = weaker.minimum(loss, bias=bias)
        assert gradient < OPTIMUM.gradient
        assert k / 2 * found == pytest.approx(value, abs=6e-9)
        if not bias:
            expected = (target - c / kappa) * torch.nn.functional.one_hot(weaker.y, k)
            assert float((h @ w.T - expected).abs().max()) < 1e-6
            OPTIMUM.check(k / 2 * found, c * target - c**2 / (2 * kappa), gradient_norm=gradient)
        else:
            check_simplex(h, w, weaker.y)
            margin = (h @ w.T)[0, 0] - (h @ w.T)[0, 1]  # the bias is the same for every class
            assert float(margin) == pytest.approx(target - (k - 1) * c / (k * kappa) - c / k, abs=1e-6)


# ------------------------------------------------------------------- losses without closed form: two-level logits
@pytest.mark.parametrize("bias", [False, True])
def test_bce(bias: bool) -> None:
    free, loss = Free(4, 5, 7, 6e-3, 3e-3), LOSSES["bce"].make()
    found, gradient, h, w = free.minimum(loss, bias=bias)
    OPTIMUM.check(found, two_level_minimum(loss, free, bias=bias), gradient_norm=gradient)
    if bias:
        check_simplex(h, w, free.y)
    else:
        assert float(h.mean(0).norm()) > 0.1


def test_logit_penalty_makes_the_minimum_of_cross_entropy_finite() -> None:
    """Free logits, no decay: K - 1 to -1, of a size that solves one equation."""
    k, strength = 4, 0.05
    a = brentq(lambda a: strength * a - 1 / (math.exp(k * a) + k - 1), 0.0, 10.0, xtol=1e-15)
    closed = math.log1p((k - 1) * math.exp(-k * a)) + strength / 2 * ((k - 1) ** 2 + k - 1) * a**2
    loss, penalty = LOSSES["cross_entropy"].make(), PENALTIES["logit_penalty"].make(strength=strength)
    z, y = drawn(6, k), torch.tensor([0, 1, 2, 3, 0, 0])
    seen = lambda: outputs(z, torch.eye(k).double())  # noqa: E731
    found, gradient = minimised(lambda: (loss(seen(), y) + penalty(seen(), y)).mean(), [z])
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    expected = a * (k * torch.nn.functional.one_hot(y, k) - 1)
    assert float((z.detach() - expected).abs().max()) < 1e-5


@pytest.mark.parametrize(("key", "strength"), [("logit_penalty", 0.02), ("confidence_penalty", 0.2)])
def test_penalties_of_logits_leave_a_simplex(key: str, strength: float) -> None:
    free, loss, penalty = (
        Free(4, 5, 7, 3e-3, 3e-3),
        LOSSES["cross_entropy"].make(),
        PENALTIES[key].make(strength=strength),
    )
    found, gradient, h, w = free.minimum(loss, bias=False, penalty=penalty)
    OPTIMUM.check(found, two_level_minimum(loss, free, bias=False, penalty=penalty), gradient_norm=gradient)
    check_simplex(h, w, free.y)


# ------------------------------------------------------------------------------------------------- on the sphere
CONTRASTIVE = [
    ("supervised_contrastive_with_self", 0.5, 2.07568951),
    ("supervised_contrastive", 0.5, 1.94162096),
    ("supervised_contrastive_with_self", 1 / 3, 1.88166506),
    ("supervised_contrastive", 1 / 3, 1.71639382),
]


@pytest.mark.parametrize(("name", "temperature", "value"), CONTRASTIVE)
def test_supervised_contrastive(name: str, temperature: float, value: float) -> None:
    """Fang et al. (2021), with self-pairs and without; E = 3 with temperature 1 is a third of it on the unit sphere."""
    k, n = 5, 6
    y = torch.arange(k).repeat_interleave(n)
    own = n if name.endswith("self") else n - 1
    closed = math.log(own + n * (k - 1) * math.exp(-k / (k - 1) / temperature))
    assert closed == pytest.approx(value, abs=6e-9)
    h, loss = drawn(k * n, 7), without_probe(name, temperature=temperature)
    found, gradient = minimised(lambda: loss(outputs(h, torch.eye(7).double()), y).mean(), [h])
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    z = torch.nn.functional.normalize(h.detach())
    check_simplex(z, torch.stack([z[y == label].mean(0) for label in range(k)]), y)


def test_info_nce_with_partners_that_never_change_keeps_samples_apart() -> None:
    """One fixed order at a small temperature ends below the value at collapse; a new order each time could not."""
    k, n, temperature = 3, 6, 0.1
    y = torch.arange(k).repeat_interleave(n)
    loss = without_probe("info_nce", temperature=temperature)
    collapsed = float(loss(outputs(simplex_etf(k, 4)[y], torch.eye(4).double()), y).mean())
    at_collapse = math.log(n - 1 + n * (k - 1) * math.exp(-k / (k - 1) / temperature))
    assert collapsed == pytest.approx(at_collapse, rel=1e-12)
    h = drawn(k * n, 4)
    found, _ = minimised(lambda: loss(outputs(h, torch.eye(4).double()), y).mean(), [h])
    assert found < at_collapse - 0.1


def test_cosine_softmax() -> None:
    k, temperature, y = 5, 0.4, torch.arange(5).repeat_interleave(3)
    closed = math.log1p((k - 1) * math.exp(-k / (k - 1) / temperature))
    h, w, loss = drawn(15, 7), drawn(k, 7, seed=5), LOSSES["cosine_softmax"].make(temperature=temperature)
    found, gradient = minimised(lambda: loss(outputs(h, w), y).mean(), [h, w])
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    unit = torch.nn.functional.normalize
    check_simplex(unit(h.detach()), unit(w.detach()), y)


def test_dot_regression_under_imbalance() -> None:
    """On the sphere of squared norm E_H every feature reaches its class vector, whatever the class sizes."""
    k, energy_head, energy_features = 4, 4.0, 2.5
    y = torch.arange(k).repeat_interleave(torch.tensor([9, 4, 2, 1]))
    w = math.sqrt(energy_head) * simplex_etf(k, 5)
    raw = drawn(16, 5, seed=3)
    loss = LOSSES["dot_regression"].make(energy_head=energy_head, energy_features=energy_features)

    def features() -> Tensor:
        return math.sqrt(energy_features) * torch.nn.functional.normalize(raw)

    found, gradient = minimised(lambda: loss(outputs(features(), w), y).mean(), [raw])
    OPTIMUM.check(found, 0.0, gradient_norm=gradient)
    target = math.sqrt(energy_features / energy_head) * w[y]
    # The loss is of fourth order in the angle: a value of 1e-16 is an angle of 1e-4.
    assert float((features().detach() - target).abs().max()) < 1e-3


def test_mcr2() -> None:
    """Classes of equal size: tight frames of orthogonal subspaces that share the dimensions equally."""
    k, rank, n, epsilon_squared = 3, 2, 6, 0.5
    d, y = k * rank, torch.arange(k).repeat_interleave(n)
    closed = rank / 2 * math.log1p(k / epsilon_squared) - d / 2 * math.log1p(1 / epsilon_squared)
    h, loss = drawn(k * n, d, seed=1), without_probe("mcr2", epsilon_squared=epsilon_squared)
    found, gradient = minimised(lambda: loss(outputs(h, torch.eye(d).double()), y).mean(), [h])
    OPTIMUM.check(found, closed, gradient_norm=gradient)
    z = torch.nn.functional.normalize(h.detach())
    between = z[y == 0] @ z[y == 1].T
    assert float(between.abs().max()) < 1e-5
    spectrum = torch.linalg.svdvals(z[y == 2])
    assert spectrum.tolist() == pytest.approx([math.sqrt(n / rank)] * rank + [0.0] * (d - rank), abs=1e-5)
