"""Gradient noise: estimates against enumeration, measurements against autograd, identities against simulation."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import (
    GradientNoise,
    MinibatchGradients,
    SampleGradients,
    Sight,
    critical_batch_size,
    largest_scaling,
    least_noise_to_signal,
    minibatch_gradient_moments,
    noise_to_signal,
    noise_to_signal_interval,
    noise_with_replacement,
    noise_without_replacement,
    noisy_weights,
    ornstein_uhlenbeck_variance,
    sample_gradient_moments,
    squared_norm_at_rest,
    svag_coefficients,
    svag_loss,
    unbiased_noise,
    unbiased_signal,
)
from collapselab.dynamics._noise.gradients import loss_gradients
from tolerances import IDENTITY, REFERENCE, Relative

FACTORS = [1, 2, 4, 16]

# Rows 11 and 12 of the acceptance table.
TWO_PER_CENT = Relative("acceptance row 11", 0.02)


def some_gradients(count: int = 6, size: int = 4, *, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draws, dtype=torch.float64) + torch.linspace(-1, 2, size).double()


def moments_in_loops(gradients: np.ndarray) -> tuple[float, float]:
    """Squared norm of the mean, and trace of the covariance divided by n, number by number."""
    n, p = gradients.shape
    mean = [sum(gradients[i, j] for i in range(n)) / n for j in range(p)]
    variance = sum((gradients[i, j] - mean[j]) ** 2 for i in range(n) for j in range(p)) / n
    return sum(m * m for m in mean), variance


def a_sight(*, batch_norm: bool = False, samples: int = 12, **given: Any) -> Sight:
    torch.manual_seed(0)
    norm = [nn.BatchNorm1d(5)] if batch_norm else []
    network = nn.Sequential(nn.Linear(3, 5), *norm, nn.ReLU(), nn.Linear(5, 4)).double()
    if batch_norm:
        network(torch.randn(30, 3, dtype=torch.float64))  # running statistics that are not those of a fresh layer
    x = torch.randn(samples, 3, dtype=torch.float64)
    return Sight.of(network.eval(), x, torch.arange(samples) % 4, **given)


def gradients_by_autograd(sight: Sight) -> Tensor:
    """One backward pass a sample."""
    leaves, rows = [p for p in sight.network.parameters() if p.requires_grad], []
    for i in range(len(sight.y)):
        found = torch.autograd.grad(sight.loss_of(*sight.take(torch.tensor([i]))).sum(), leaves)
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows)


def test_moments_are_those_of_loops() -> None:
    gradients = some_gradients()
    found = SampleGradients.of(gradients)
    REFERENCE.check([found.squared_mean, found.variance], moments_in_loops(gradients.numpy()))
    assert found.num_samples == 6


@pytest.mark.parametrize("sizes", [(1, 5), (2, 2, 2), (4, 1, 1)])
def test_moments_do_not_depend_on_blocks(sizes: tuple[int, ...]) -> None:
    """Not even where all gradients are nearly alike."""
    gradients = 1e6 + some_gradients()
    whole, parts = SampleGradients.of(gradients), SampleGradients.merged(gradients.split(list(sizes)))
    IDENTITY.check([parts.squared_mean, parts.variance], [whole.squared_mean, whole.variance])
    assert parts.num_samples == whole.num_samples


@pytest.mark.parametrize("count", [2, 3])
def test_estimates_are_unbiased(count: int) -> None:
    """Averaged over all tuples of minibatches, which are equally likely, they are G and N: exactly."""
    gradients = some_gradients(5)
    signal, noise = moments_in_loops(gradients.numpy())
    tuples = [MinibatchGradients.of(gradients[list(rows)]) for rows in itertools.product(range(5), repeat=count)]
    REFERENCE.check(np.mean([unbiased_signal(one) for one in tuples]), signal)
    REFERENCE.check(np.mean([unbiased_noise(one) for one in tuples]), noise)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_noise_of_minibatches_of_different_samples(size: int) -> None:
    """The variance over all subsets, counted."""
    gradients = some_gradients()
    means = [gradients[list(rows)].mean(0).numpy() for rows in itertools.combinations(range(6), size)]
    variance = SampleGradients.of(gradients).variance
    REFERENCE.check(noise_without_replacement(variance, size, num_samples=6), moments_in_loops(np.array(means))[1])


def test_noise_of_minibatches_with_replacement() -> None:
    gradients = some_gradients(4)
    means = [gradients[list(rows)].mean(0).numpy() for rows in itertools.product(range(4), repeat=3)]
    variance = SampleGradients.of(gradients).variance
    REFERENCE.check(noise_with_replacement(variance, 3), moments_in_loops(np.array(means))[1])


def test_interval_in_loops() -> None:
    """The jackknife of the share G/T, leaving out one minibatch after the other."""
    gradients = some_gradients(8, seed=3)
    shares = []
    for i in range(8):
        rest = MinibatchGradients.of(gradients[[j for j in range(8) if j != i]])
        shares.append(unbiased_signal(rest) / float(rest.squares.mean()))
    whole = MinibatchGradients.of(gradients)
    share = unbiased_signal(whole) / float(whole.squares.mean())
    error = math.sqrt(7 / 8 * sum((s - sum(shares) / 8) ** 2 for s in shares))
    low, high = noise_to_signal_interval(whole)
    REFERENCE.check(
        [1 / (1 + low), 1 / (1 + high)], [share + 1.959963984540054 * error, share - 1.959963984540054 * error]
    )


def test_interval_holds_the_ratio_as_often_as_it_says() -> None:
    """N/G = 5 in 40 dimensions, from 100 minibatches, 400 times: 95 % give or take 4 standard errors."""
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 100, 40, generator=draws, dtype=torch.float64) * math.sqrt(5 / 40)
    noise[..., 0] += 1
    inside = [low <= 5 <= high for low, high in (noise_to_signal_interval(MinibatchGradients.of(g)) for g in noise)]
    assert abs(np.mean(inside) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_interval_without_an_upper_end() -> None:
    gradients = some_gradients(20) - torch.linspace(-1, 2, 4).double()
    low, high = noise_to_signal_interval(MinibatchGradients.of(gradients))
    assert low > 1
    assert high == math.inf


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_of_samples_are_those_of_autograd(batch_norm: bool) -> None:
    sight = a_sight(batch_norm=batch_norm)
    before = {name: value.clone() for name, value in sight.network.state_dict().items()}
    found = sample_gradient_moments(sight, budget=1)  # a block each
    signal, variance = moments_in_loops(gradients_by_autograd(sight).numpy())
    REFERENCE.check([found.squared_mean, found.variance], [signal, variance])
    assert all(torch.equal(before[name], value) for name, value in sight.network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in sight.network.parameters())
    assert not sight.network.training


def test_a_network_that_looks_at_the_batch_is_refused() -> None:
    sight = a_sight(batch_norm=True)
    sight.network.train()
    with pytest.raises(
        InputError, match="network must treat samples one by one, got batch normalisation in train mode"
    ):
        sample_gradient_moments(sight)


def test_gradients_are_those_of_the_loss_of_the_training() -> None:
    """Of whatever is minimised, by the parameters that are trained."""
    plain = a_sight()
    plain.network[0].bias.requires_grad_(False)
    squared = Sight(plain.network, plain.take, plain.y, 4, losses=lambda x, y: (plain.network(x)[:, 0] - y) ** 2)
    found = torch.cat(list(loss_gradients(squared, torch.arange(12)[:, None])))
    REFERENCE.check(found, gradients_by_autograd(squared))
    assert found.shape == (12, 15 + 24)


def test_gradients_of_groups_are_means() -> None:
    sight = a_sight()
    groups = torch.tensor([[0, 3, 5], [7, 8, 9]])
    single = gradients_by_autograd(sight)
    REFERENCE.floor(1.0).check(torch.cat(list(loss_gradients(sight, groups))), single[groups].mean(1))


def test_minibatches_are_held_or_computed_twice() -> None:
    sight = a_sight()
    held = minibatch_gradient_moments(sight, batch_size=3, minibatches=7)
    again = minibatch_gradient_moments(sight, batch_size=3, minibatches=7, budget=1)
    IDENTITY.check(again.squares, held.squares)
    IDENTITY.floor(1.0).check(again.along, held.along)


@pytest.mark.parametrize("factor", FACTORS)
def test_svag_mean_and_covariance(factor: int) -> None:
    """Over all pairs of minibatches grad L, and l Sigma: exactly; the coefficients of 3.1."""
    gradients = some_gradients().numpy()
    pairs = [svag_loss(a, b, factor=factor) for a, b in itertools.product(gradients, repeat=2)]
    REFERENCE.check(np.mean(pairs, 0), gradients.mean(0))
    REFERENCE.floor(1.0).check(np.cov(np.array(pairs).T, bias=True), factor * np.cov(gradients.T, bias=True))
    one, two = svag_coefficients(factor)
    IDENTITY.check([one + two, one**2 + two**2], [1.0, float(factor)])


@pytest.mark.parametrize("factor", FACTORS)
def test_svag_in_a_loop_of_ones_own(factor: int) -> None:
    """300,000 draws of pairs, and the gradient that autograd makes of the combined loss."""
    gradients = some_gradients(40)
    draws = torch.Generator().manual_seed(0)
    pairs = torch.randint(40, (2, 300_000), generator=draws)
    moved = svag_loss(gradients[pairs[0]], gradients[pairs[1]], factor=factor)
    sigma = torch.cov(gradients.T, correction=0)
    assert torch.linalg.norm(torch.cov(moved.T) - factor * sigma) < 0.02 * torch.linalg.norm(factor * sigma)
    assert torch.linalg.norm(moved.mean(0) - gradients.mean(0)) < 0.02 * torch.linalg.norm(gradients.mean(0))
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    svag_loss(gradients[0] @ x, gradients[1] @ x, factor=factor).backward()
    REFERENCE.check(x.grad, svag_loss(gradients[0], gradients[1], factor=factor))


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_ornstein_uhlenbeck_at_rest(factor: int) -> None:
    """200,000 chains of SVAG on h x^2 / 2 with coin flips for noise; h = 1.5, sigma^2 = .8, eta = .5."""
    draws = torch.Generator().manual_seed(factor)
    x = torch.zeros(200_000)
    for _ in range(5 * factor):  # what is left of the start is (1 - .75/l)^(10 l) < 1e-5 of the variance
        one, two = (torch.randint(2, (2, len(x)), generator=draws) * 2.0 - 1) * math.sqrt(0.8)
        x -= 0.5 / factor * (1.5 * x + svag_loss(one, two, factor=factor))
    settings: dict[str, float] = {"curvature": 1.5, "noise": 0.8, "learning_rate": 0.5}
    TWO_PER_CENT.check(x.square().mean(), ornstein_uhlenbeck_variance(**settings, factor=factor))


def test_ornstein_uhlenbeck_in_closed_form() -> None:
    """The fixed point of v -> (1 - eta h / l)^2 v + (eta / l)^2 l sigma^2; the numbers of 3.1; the limit."""
    settings: dict[str, float] = {"curvature": 1.0, "noise": 1.0, "learning_rate": 0.5}
    found = [ornstein_uhlenbeck_variance(**settings, factor=factor) for factor in (1, 2, 4, 8, 32)]
    assert [round(v, 4) for v in found] == [0.3333, 0.2857, 0.2667, 0.2581, 0.2520]
    for v, factor in zip(found, (1, 2, 4, 8, 32), strict=True):
        IDENTITY.check((1 - 0.5 / factor) ** 2 * v + 0.25 / factor, v)
    assert ornstein_uhlenbeck_variance(**settings, factor=None) == 0.25
    with pytest.raises(UndefinedMetric, match=r"no stationary state: learning_rate \* curvature / factor is 2 >= 2"):
        ornstein_uhlenbeck_variance(curvature=4.0, noise=1.0, learning_rate=0.5)


def scale_invariant_chains(factor: int, *, chains: int = 400, steps: int = 60) -> tuple[float, float, float]:
    """R, G and N at rest of u'(H + S_i)u/2, u = x/|x|, H = diag(.1 .. 2) in 10 dimensions; eta = .4, lambda = .1."""
    draws = torch.Generator().manual_seed(0)
    s = 0.3 * torch.randn(8, 10, 10, generator=draws, dtype=torch.float64)
    s = (s + s.mT) / 2
    forms = torch.diag(torch.linspace(0.1, 2, 10, dtype=torch.float64)) + s - s.mean(0)
    x = torch.randn(chains, 10, generator=draws, dtype=torch.float64)
    x *= 1.3**0.5 / x.norm(dim=1, keepdim=True)  # not far from rest
    sums = np.zeros(3)
    for step in range(2 * steps * factor):
        size = x.norm(dim=1, keepdim=True)
        push = torch.einsum("aij,cj->aci", forms, x / size)
        gradients = (push - (push * x / size).sum(2, keepdim=True) * x / size) / size
        mean = gradients.mean(0)
        if step >= steps * factor:
            noise = (gradients - mean).square().sum(2).mean()
            sums += [float(v) for v in (size.square().mean(), mean.square().sum(1).mean(), noise)]
        picks = torch.randint(8, (2, chains), generator=draws)
        one, two = (gradients[pick, torch.arange(chains)] for pick in picks)
        x = x - 0.4 / factor * (svag_loss(one, two, factor=factor) + 0.1 * x)
    return tuple(sums / (steps * factor))


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_scale_invariant_weights_at_rest(factor: int) -> None:
    """(2 - eta lambda / l) lambda R = eta (G/l + N), whose limit in l is the equation."""
    size, signal, noise = scale_invariant_chains(factor)
    settings: dict[str, float] = {"learning_rate": 0.4, "weight_decay": 0.1}
    TWO_PER_CENT.check(size, squared_norm_at_rest(signal, noise, **settings, factor=factor))
    REFERENCE.check(2 * 0.1 * squared_norm_at_rest(signal, noise, **settings, factor=None), 0.4 * noise)


def test_weights_of_noisy_gradient_descent() -> None:
    """They are affine in the noise, so that the covariance is A A' with A the linear part: Sigma_1 / B, exactly."""
    gradients = some_gradients()
    start = noisy_weights(torch.zeros(6, dtype=torch.float64), batch_size=3)
    linear = torch.stack([noisy_weights(e, batch_size=3) - start for e in torch.eye(6, dtype=torch.float64)], 1)
    REFERENCE.check(start, torch.ones(6))
    moved = gradients.T @ linear / 6
    REFERENCE.floor(1.0).check(moved @ moved.T, torch.cov(gradients.T, correction=0) / 3)


def test_noisy_gradient_descent_by_draws() -> None:
    """1 % of the covariance, from 200,000 draws."""
    gradients = some_gradients()
    noise = torch.randn(200_000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.vmap(lambda xi: noisy_weights(xi, batch_size=3))(noise)
    sigma = torch.cov(gradients.T, correction=0) / 3
    assert torch.linalg.norm(torch.cov((weights @ gradients / 6).T) - sigma) < 0.01 * torch.linalg.norm(sigma)


def test_necessary_conditions() -> None:
    """At the bounds the identities of 3.1 put R and N of SGD, its equation and the scaled SGD a factor C apart each."""
    c, decay, eta, signal = 1.3, 1e-9, 0.1, 2.0  # decay so small that eta lambda is nothing beside 2
    noise = signal * least_noise_to_signal(c)
    sgd = squared_norm_at_rest(signal, noise, learning_rate=eta, weight_decay=decay)
    equation = squared_norm_at_rest(signal, c * noise, learning_rate=eta, weight_decay=decay, factor=None)
    IDENTITY.check(sgd / equation, c)
    kappa = largest_scaling(noise / signal, closeness=c)
    scaled = squared_norm_at_rest(signal / c, 0.0, learning_rate=kappa * eta, weight_decay=decay)
    IDENTITY.times(10).check(scaled / sgd, c)
    assert critical_batch_size(16, noise / signal) == 16 * noise / signal


def numbers(sight: Sight, **settings: Any) -> dict[str, float | str]:
    return {entry.name: value for entry, value in GradientNoise(**settings).look(sight).numbers}


def test_quantity() -> None:
    sight = a_sight(batch_size=3)
    found, moments = numbers(sight), sample_gradient_moments(sight)
    noise = moments.variance / 3 * 9 / 11
    ratio = noise / moments.squared_mean
    wanted = {
        "squared_gradient_norm": moments.squared_mean,
        "gradient_noise_trace": noise,
        "noise_to_signal": ratio,
        "largest_scaling_factor": 2 * (1 + ratio),
        "critical_batch_size": moments.variance * 12 / (moments.squared_mean * 11 + moments.variance),
        "squared_parameter_norm": float(sum(p.detach().square().sum() for p in sight.network.parameters())),
    }
    assert list(found) == list(wanted)
    IDENTITY.check(list(found.values()), list(wanted.values()))
    wider = numbers(sight, batch_size=6, closeness=2.0)
    IDENTITY.check(wider["largest_scaling_factor"], 4 * (1 + moments.variance / 6 * 6 / 11 / moments.squared_mean))


def test_critical_batch_size_is_where_noise_and_signal_are_alike() -> None:
    """Of different samples, too; and the whole set, which has no noise, tells nothing of it."""
    variance, signal, n = 7.0, 2.0, 50
    for batch_size in (1, 10, 49):
        ratio = noise_without_replacement(variance, batch_size, num_samples=n) / signal
        found = critical_batch_size(batch_size, ratio, num_samples=n)
        IDENTITY.check(variance / found * (n - found) / (n - 1), signal)
    assert critical_batch_size(5, 0.0, num_samples=n) == 0.0
    with pytest.raises(UndefinedMetric, match="a minibatch of all samples has no noise"):
        critical_batch_size(n, 0.0, num_samples=n)
    whole = numbers(a_sight(batch_size=12))
    assert whole["noise_to_signal"] == 0.0
    assert (
        whole["critical_batch_size"]
        == "a minibatch of all samples has no noise, and does not tell that of smaller ones"
    )


def test_quantity_estimated() -> None:
    """The exact ratio lies in the interval, and the numbers are the same at the next moment."""
    sight = a_sight(batch_size=3, samples=40)
    exact, found = numbers(sight), numbers(sight, minibatches=300)
    low, high = found["noise_to_signal_low"], found["noise_to_signal_high"]
    assert low < exact["noise_to_signal"] < high
    assert low < found["noise_to_signal"] < high
    assert found == numbers(sight, minibatches=300)


def test_quantity_without_a_value() -> None:
    with torch.no_grad():
        (still := a_sight(batch_size=3)).network[2].weight.zero_()
        still.network[2].bias.zero_()
        still.network[0].weight.zero_()
        still.network[0].bias.zero_()
    found = numbers(still)
    assert found["noise_to_signal"] == "the mean gradient is zero: there is no signal to compare the noise with"
    assert found["squared_gradient_norm"] == 0.0
    assert isinstance(found["gradient_noise_trace"], float)
    few = numbers(still, minibatches=3)
    assert (
        few["squared_gradient_norm"] == "the estimate of the squared gradient norm is negative: take more minibatches"
    )
    assert few["noise_to_signal_high"] == "the minibatches do not show that there is a signal"
    for minibatches, many in ((None, 6), (5, 8)):
        none = numbers(a_sight(), minibatches=minibatches)
        assert len(none) == many
        assert none["noise_to_signal"] == "the training has no minibatches, and no batch_size was given"
        large = numbers(a_sight(batch_size=13), minibatches=minibatches)
        assert large["gradient_noise_trace"] == "a minibatch of 13 is larger than the 12 samples"
        assert large["squared_parameter_norm"] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MinibatchGradients.of(torch.ones(1, 2)), "gradients must be those of at least 2 minibatches, got 1"),
        (lambda: MinibatchGradients.of(torch.ones(2)), r"gradients must be a matrix \(minibatches, parameters\)"),
        (lambda: SampleGradients.merged([]), "gradients must be those of at least one sample, got none"),
        (lambda: noise_to_signal_interval(MinibatchGradients.of(torch.ones(2, 2))), "at least 3 minibatches, got 2"),
        (lambda: noise_without_replacement(1.0, 5, num_samples=4), "batch_size must be at most 4"),
        (lambda: minibatch_gradient_moments(a_sight(), batch_size=13, minibatches=3), "batch_size must be at most 12"),
        (lambda: svag_coefficients(0), "factor must be an integer of at least 1, got 0"),
        (lambda: least_noise_to_signal(1.0), "closeness must be a finite number above 1, got 1.0"),
        (lambda: GradientNoise(minibatches=2), "minibatches must be an integer of at least 3, got 2"),
        (lambda: SampleGradients.merged([torch.zeros(0, 2)]), "gradients must have at least one row"),
        (lambda: SampleGradients.merged([torch.tensor([[math.nan]])]), "gradients must be finite, got nan"),
        (lambda: noise_to_signal(1.0, math.nan), "signal must be a finite number, got nan"),
        (lambda: noise_to_signal(-1.0, 1.0), "noise must be a finite number of at least 0, got -1.0"),
        (lambda: noise_with_replacement(math.nan, 2), "variance must be a finite number of at least 0, got nan"),
        (lambda: noise_without_replacement(-1.0, 2, num_samples=4), "variance must be a finite number of at least 0"),
        (lambda: noisy_weights(torch.tensor([1, 2]), batch_size=2), "noise must be a vector of floating-point numbers"),
        (lambda: noisy_weights(torch.ones(2, 2), batch_size=2), r"vector .*, got Tensor of shape \(2, 2\)"),
        (lambda: critical_batch_size(5, 1.0, num_samples=4), "batch_size must be at most 4, the number of samples"),
        (lambda: GradientNoise(batch_size=0), "batch_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_without_a_value() -> None:
    with pytest.raises(UndefinedMetric, match="mean gradient is zero"):
        noise_to_signal(1.0, 0.0)
    with pytest.raises(UndefinedMetric, match="the signal, 1e-320, is too small"):
        noise_to_signal(1.0, 1e-320)
    with pytest.raises(UndefinedMetric, match="is negative: take more minibatches"):
        noise_to_signal(1.0, -0.1)
    with pytest.raises(UndefinedMetric, match="neither signal nor noise"):
        noise_to_signal_interval(MinibatchGradients.of(torch.zeros(4, 2)))
    with pytest.raises(UndefinedMetric, match="no stationary state"):
        squared_norm_at_rest(1.0, 1.0, learning_rate=4.0, weight_decay=0.5)
