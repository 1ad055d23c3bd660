"""SVAG, noisy gradient descent and Langevin dynamics: means, covariances and what they come to rest at."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.dynamics import svag_loss
from collapselab.training import LOSSES, NETWORKS
from collapselab.training.heads import Neck
from collapselab.training.optimisers import SGD
from collapselab.training.optimisers.noisy_gradient_descent import NoisyGradientDescent
from collapselab.training.optimisers.parameter_noise import ParameterNoise
from collapselab.training.optimisers.svag import SVAG
from lent_work import Lent, built, least_squares, matrices, squared
from tolerances import EXACT, IDENTITY, MONTE_CARLO, REFERENCE, Relative

START = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)


def put(work: Lent, point: torch.Tensor) -> None:
    at = 0
    for parameter in work.parameters:
        with torch.no_grad():
            parameter.copy_(point[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()


def after_every_pair(optimiser: SVAG, work: Lent, start: torch.Tensor) -> np.ndarray:
    """Where a step ends for each of the n^2 pairs of minibatches of one sample, which are equally likely."""
    stepper, ends = built(optimiser, work), []
    for first, second in itertools.product(range(len(work.y)), repeat=2):
        put(work, start)
        work.rows = (torch.tensor([first]), torch.tensor([second]))
        optimiser.step(work, stepper)
        ends.append(work.point.numpy())
    return np.array(ends)


@pytest.mark.parametrize("factor", [1, 2, 4, 16])
def test_svag_mean_and_covariance(factor: int) -> None:
    """Over all pairs: mean -(eta/l)(grad L + lambda w) and covariance (eta/l)^2 l Sigma, exactly."""
    a, b = matrices(samples=9)
    work = least_squares(a, b)
    optimiser = SVAG(learning_rate=0.3, factor=factor, weight_decay=0.1)
    ends = after_every_pair(optimiser, work, START)
    gradients = ((a @ START - b)[:, None] * a).numpy()
    mean = gradients.mean(0)
    sigma = sum(np.outer(g - mean, g - mean) for g in gradients) / len(gradients)
    step = 0.3 / factor
    REFERENCE.check(ends.mean(0), START.numpy() - step * (mean + 0.1 * START.numpy()))
    covariance = sum(np.outer(e - ends.mean(0), e - ends.mean(0)) for e in ends) / len(ends)
    REFERENCE.floor(1.0).check(covariance, step**2 * factor * sigma)


@pytest.mark.parametrize("factor", [1, 2, 7])
def test_coefficients(factor: int) -> None:
    """They add up to 1, their squares to l."""
    one, two = SVAG(factor=factor).coefficients
    IDENTITY.check([one + two, one**2 + two**2], [1.0, float(factor)])


def test_factor_one_is_sgd() -> None:
    """Bit for bit, from the same single minibatch."""
    assert (SVAG(factor=1).draws, SVAG(factor=2).draws) == (1, 2)
    points = []
    for optimiser in (SVAG(0.1, 1, 0.01), SGD(0.1, momentum=0.0, weight_decay=0.01)):
        work = least_squares(*matrices(), start=START)
        work.rows = (torch.tensor([1, 5, 6]),)
        stepper = built(optimiser, work)
        for _ in range(3):
            optimiser.step(work, stepper)
        points.append(work.point)
    EXACT.check(*points)


def test_svag_in_a_loop_of_ones_own() -> None:
    """A step is one of SGD at rate eta / l on what `svag_loss` makes of the two losses, decay included."""
    work, other = least_squares(*matrices(), start=START), least_squares(*matrices(), start=START)
    work.rows = pair = (torch.tensor([0, 1]), torch.tensor([5, 6]))
    optimiser = SVAG(learning_rate=0.1, factor=8, weight_decay=0.3)
    optimiser.step(work, built(optimiser, work))
    descent = torch.optim.SGD(other.parameters, lr=0.1 / 8, weight_decay=0.3)
    svag_loss(*(other.losses(rows).mean() for rows in pair), factor=8).backward()
    descent.step()
    REFERENCE.check(work.point, other.point)


def test_svag_reports_both_minibatches_and_leaves_the_rate() -> None:
    work, optimiser = least_squares(*matrices(), start=START), SVAG(learning_rate=0.1, factor=8)
    work.rows = (torch.tensor([0, 1]), torch.tensor([5, 6]))
    stepper = built(optimiser, work)
    expected = float(work.evaluate()[[0, 1, 5, 6]].sum())
    assert float(optimiser.step(work, stepper)) == pytest.approx(expected, rel=1e-12)
    assert [group["lr"] for group in stepper.param_groups] == [0.1]


def chains(count: int, samples: int) -> tuple[Lent, torch.Tensor]:
    """`count` parameters, each at the mean of its own column of data; columns of variance 1, uncorrelated, mean 0."""
    x = torch.randn(samples, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, _ = torch.linalg.qr(x - x.mean(0))
    x = q * math.sqrt(samples)
    w = nn.Parameter(torch.zeros(count, dtype=torch.float64))
    targets = torch.zeros(samples, dtype=torch.float64)
    work = Lent(
        [w], lambda rows: (w - x[rows]).square().sum(1, keepdim=True) / 2, targets, lambda o, _y: o.logits[:, 0]
    )
    return work, x


@pytest.mark.parametrize("factor", [1, 4])
def test_ornstein_uhlenbeck_variance(factor: int) -> None:
    """Curvature h = 1, noise sigma^2 = 1, eta = 1/2: variance eta sigma^2 / (h (2 - eta h / l)) at rest."""
    work, _ = chains(60, 400)
    optimiser = SVAG(learning_rate=0.5, factor=factor, weight_decay=0.0)
    stepper, rows = built(optimiser, work), torch.Generator().manual_seed(1)
    seen = []
    for step in range(1500):
        work.rows = tuple(torch.randint(0, 400, (1,), generator=rows) for _ in range(2))
        optimiser.step(work, stepper)
        if step >= 100 and step % (8 * factor) == 0:  # a correlation of (1 - eta/l)^(8 l) < 2 % is left
            seen.append(float(work.point.square().mean()))
    MONTE_CARLO.check(seen, 0.5 / (2 - 0.5 / factor))


def scale_invariant(noise: float = 0.3) -> tuple[Lent, torch.Tensor]:
    """Losses u'(H + S_i)u/2 of the direction u = x/|x| in 10 dimensions, H = diag(.1 .. 2), sum S_i = 0."""
    generator = torch.Generator().manual_seed(0)
    s = noise * torch.randn(8, 10, 10, generator=generator, dtype=torch.float64)
    s = (s + s.mT) / 2
    forms = torch.diag(torch.linspace(0.1, 2, 10, dtype=torch.float64)) + s - s.mean(0)
    x = nn.Parameter(torch.randn(10, generator=generator, dtype=torch.float64))

    def look(rows: torch.Tensor) -> torch.Tensor:
        u = x / x.norm()
        return (forms[rows] @ u @ u / 2)[:, None]

    return Lent([x], look, torch.zeros(8, dtype=torch.float64), lambda o, _y: o.logits[:, 0]), forms


def signal_and_noise(forms: torch.Tensor, x: torch.Tensor) -> tuple[float, float]:
    """|grad L|^2 and the trace of the covariance over samples, from the gradient (B u - u (u'B u)) / |x|."""
    u = x / x.norm()
    push = forms @ u
    gradients = (push - (push @ u)[:, None] * u) / x.norm()
    mean = gradients.mean(0)
    return float(mean @ mean), float((gradients - mean).square().sum(1).mean())


@pytest.mark.parametrize("factor", [1, 4, 16])
def test_norm_of_scale_invariant_weights_after_a_step(factor: int) -> None:
    """Over all pairs (1 - eta lambda/l)^2 |x|^2 + (eta/l)^2 (|grad L|^2 + l tr Sigma), for gradients are tangent."""
    work, forms = scale_invariant()
    start = work.point
    ends = after_every_pair(SVAG(learning_rate=0.4, factor=factor, weight_decay=0.1), work, start)
    signal, noise = signal_and_noise(forms, start)
    step = 0.4 / factor
    expected = (1 - step * 0.1) ** 2 * float(start @ start) + step**2 * (signal + factor * noise)
    REFERENCE.check((ends**2).sum(1).mean(), expected)


@pytest.mark.parametrize("factor", [1, 4])
def test_equilibrium_of_scale_invariant_weights(factor: int) -> None:
    """(2 - eta lambda / l) lambda R = eta (G/l + N) with the averages along the way."""
    work, forms = scale_invariant()
    optimiser = SVAG(learning_rate=0.4, factor=factor, weight_decay=0.1)
    stepper, rows = built(optimiser, work), torch.Generator().manual_seed(1)
    sums = np.zeros(3)
    for step in range(1700):
        work.rows = tuple(torch.randint(0, 8, (1,), generator=rows) for _ in range(2))
        optimiser.step(work, stepper)
        if step >= 200:
            sums += [float(work.point @ work.point), *signal_and_noise(forms, work.point)]
    size, signal, noise = sums / 1500
    # 5 %: what the pairs that happened to be drawn differ from their expectation over 1500 steps.
    Relative("time average", 0.05).check((2 - 0.04 / factor) * 0.1 * size, 0.4 * (signal / factor + noise))


def test_noisy_gradient_descent_mean_and_covariance() -> None:
    """Mean -eta grad L and covariance eta^2 Sigma / B, from 2000 draws."""
    a, b = matrices(samples=9)
    work, optimiser = least_squares(a, b), NoisyGradientDescent(0.3, noise_batch_size=2, weight_decay=0.1)
    stepper, ends = built(optimiser, work), []
    for _ in range(2000):
        put(work, START)
        optimiser.step(work, stepper)
        ends.append(work.point.numpy())
    gradients = ((a @ START - b)[:, None] * a).numpy()
    mean = gradients.mean(0)
    moves = (np.array(ends) - START.numpy()) / -0.3 - 0.1 * START.numpy()
    sigma = sum(np.outer(g - mean, g - mean) for g in gradients) / len(gradients)
    for i in range(4):
        MONTE_CARLO.check(moves[:, i], mean[i])
        for j in range(i + 1):
            MONTE_CARLO.check((moves[:, i] - mean[i]) * (moves[:, j] - mean[j]), sigma[i, j] / 2)


def test_noisy_gradient_descent_twin() -> None:
    """(1/N) sum (1 + sqrt(N/B) (xi_i - mean xi)) grad l_i, sample by sample, with the generator's own draws."""
    a, b = matrices()
    work, optimiser = least_squares(a, b, start=START, seed=7), NoisyGradientDescent(0.3, 3, 0.0)
    total = float(optimiser.step(work, built(optimiser, work)))
    xi = torch.randn(12, generator=torch.Generator().manual_seed(7), dtype=torch.float64).tolist()
    w, move = START.tolist(), [0.0] * 4
    for i in range(12):
        weight = 1 + math.sqrt(12 / 3) * (xi[i] - sum(xi) / 12)
        residual = sum(float(a[i, j]) * w[j] for j in range(4)) - float(b[i])
        for j in range(4):
            move[j] += weight * residual * float(a[i, j]) / 12
    REFERENCE.check(work.point, [wj - 0.3 * mj for wj, mj in zip(w, move, strict=True)])
    assert total == pytest.approx(float(least_squares(a, b, start=START).evaluate().sum()), rel=1e-12)


def test_noise_of_many_samples_is_small() -> None:
    """With B so large that the noise is nothing it is gradient descent."""
    work, optimiser = least_squares(*matrices(), start=START), NoisyGradientDescent(0.3, 10**30, 0.0)
    plain, descent = least_squares(*matrices(), start=START), SGD(0.3, momentum=0.0, weight_decay=0.0)
    optimiser.step(work, built(optimiser, work))
    descent.step(plain, built(descent, plain))
    IDENTITY.check(work.point, plain.point)


def test_noisy_gradient_descent_refuses_batches_that_matter() -> None:
    given = {"penalty": None, "class_weights": False, "clipping": False, "augmentation": False}
    loss, optimiser = LOSSES["cross_entropy"].make(), NoisyGradientDescent()
    mlp = NETWORKS["mlp"].make(widths=(4,)).build((3,), 2)
    with pytest.raises(InputError, match=r"without batch normalisation, .* single samples; got BatchNorm1d at body"):
        optimiser.check(network=mlp, loss=loss, **given)
    centred = NETWORKS["mlp"].make(widths=(4,), batch_norm=False).build((3,), 2, neck=Neck(centre="mean"))
    with pytest.raises(InputError, match=r"single samples; got Centring at neck\.centre"):
        optimiser.check(network=centred, loss=loss, **given)
    optimiser.check(network=NETWORKS["mlp"].make(widths=(4,), batch_norm=False).build((3,), 2), loss=loss, **given)

    class Compares(type(loss)):
        separable = False

    with pytest.raises(InputError, match="needs a loss that is a sum over single samples, got Compares"):
        optimiser.check(network=nn.Linear(1, 1), loss=Compares(), **given)


def test_langevin_variance_at_rest() -> None:
    """T / (h (1 - eta h / 2)) in every one of 400 independent parameters, h = 2."""
    w = nn.Parameter(torch.zeros(400, dtype=torch.float64))
    work = Lent(
        [w],
        lambda rows: w.square().sum().expand(len(rows), 1),
        torch.zeros(1, dtype=torch.float64),
        lambda o, _y: o.logits[:, 0],
    )
    optimiser = ParameterNoise(learning_rate=0.3, temperature=0.05, weight_decay=0.0)
    stepper, seen = built(optimiser, work), []
    for step in range(200):
        optimiser.step(work, stepper)
        if step >= 20 and step % 10 == 0:  # a correlation of .4^20 is left
            seen.append(work.point.square().numpy())
    MONTE_CARLO.check(np.array(seen), 0.05 / (2 * (1 - 0.3)))


def test_langevin_twin() -> None:
    """Two parameters in turn draw from the generator that is lent; decay is in the gradient."""
    a, b = matrices()
    work, optimiser = least_squares(a, b, start=START, seed=7), ParameterNoise(0.1, 0.02, weight_decay=0.5)
    optimiser.step(work, built(optimiser, work))
    draws = torch.Generator().manual_seed(7)
    xi = [torch.randn(3, generator=draws, dtype=torch.float64), torch.randn(1, generator=draws, dtype=torch.float64)]
    gradient = a.T @ (a @ START - b) / 12 + 0.5 * START
    REFERENCE.check(work.point, START - 0.1 * gradient + math.sqrt(2 * 0.1 * 0.02) * torch.cat(xi))


def test_langevin_without_temperature_is_descent() -> None:
    work, optimiser = least_squares(*matrices(), start=START), ParameterNoise(0.3, 0.0, weight_decay=0.1)
    plain, descent = least_squares(*matrices(), start=START), SGD(0.3, momentum=0.0, weight_decay=0.1)
    optimiser.step(work, built(optimiser, work))
    descent.step(plain, built(descent, plain))
    EXACT.check(work.point, plain.point)


def test_square_is_what_it_says() -> None:
    """The problems above lean on it."""
    work = least_squares(*matrices(), start=START)
    a, b = matrices()
    REFERENCE.check(work.evaluate(), (a @ START - b) ** 2 / 2)
    assert work._loss is squared
