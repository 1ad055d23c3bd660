"""The first-order change of logits against real steps, and the drift of class means against loops and training."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import Sight
from collapselab.dynamics._elasticity.kernel import tangent_blocks
from collapselab.dynamics.linearisation import (
    CONTRACTION,
    DRIFT,
    LARGEST,
    RESIDUE,
    SHARE,
    DriftOfMeans,
    linearised_drift,
    one_step_change,
    stable_rate,
)
from collapselab.training.data.digits import Digits
from tolerances import IDENTITY, REFERENCE, Relative

FIRST_ORDER = Relative("first order in a rate of 1e-4", 1e-4)  # acceptance row 6


def digits(classes: int = 3, per_class: int = 40) -> tuple[Tensor, Tensor]:
    data = Digits(samples_per_class=per_class).load(torch.Generator().manual_seed(0)).train
    x, y = data.take(torch.arange(len(data)))
    few = y < classes
    return x[few].double().flatten(1), y[few]


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, classes)).double()


def trained(steps: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Full-batch descent with momentum on the digits 0, 1 and 2."""
    (x, y), model = digits(), network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model, x, y


def drift_by_loops(kernel: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(49): (1/K) sum over l and c of Theta[k, j, l, c] (1[c = l] - softmax(z_l)_c)."""
    k = len(means)
    found = np.zeros((k, k))
    for a in range(k):
        for j in range(k):
            for l in range(k):  # noqa: E741 - the paper's index
                p = [math.exp(z) for z in means[l]]
                for c in range(k):
                    found[a, j] += kernel[a, j, l, c] * ((c == l) - p[c] / sum(p)) / k
    return found


def random_kernel(k: int, generator: torch.Generator) -> Tensor:
    rows = torch.randn(k * k, 40, generator=generator, dtype=torch.float64)
    return (rows @ rows.T).view(k, k, k, k)


@pytest.mark.parametrize("steps", [0, 20])
def test_one_step_moves_logits_as_the_tangent_kernel_says(steps: int) -> None:
    model, x, y = trained(steps)
    rate, at = 1e-4, 7
    few = torch.cat([x[at : at + 1], x[-20:]])
    before = model(few).detach()
    wanted = one_step_change(tangent_blocks(model, few)[:, :, 0], before[0], int(y[at]), rate=rate)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    optimiser.zero_grad()
    nn.functional.cross_entropy(model(few[:1]), y[at : at + 1]).backward()
    optimiser.step()
    change = model(few).detach() - before
    assert float((change - wanted).norm() / wanted.norm()) <= FIRST_ORDER.rtol


def test_drift_and_jacobian_against_loops_and_differences(generator: torch.Generator) -> None:
    kernel, means = random_kernel(3, generator), torch.randn(3, 3, generator=generator, dtype=torch.float64)
    found = linearised_drift(kernel, means)
    REFERENCE.check(found.drift, drift_by_loops(kernel.numpy(), means.numpy()))
    step, columns = 1e-5, []
    for unit in torch.eye(9, dtype=torch.float64).view(9, 3, 3):
        ahead, behind = (drift_by_loops(kernel.numpy(), (means + s * unit).numpy()) for s in (step, -step))
        columns.append((ahead - behind).flatten() / (2 * step))
    Relative("central differences with a step of 1e-5", 1e-8).floor(50).check(found.jacobian, np.stack(columns, 1))
    REFERENCE.floor(1).check(found.residue.flatten(), found.drift.flatten() - found.jacobian @ means.flatten())


def test_eigenvalues_are_those_of_the_jacobian_and_never_positive(generator: torch.Generator) -> None:
    for scale in (1.0, 10.0, 60.0):
        kernel, means = random_kernel(4, generator), scale * torch.randn(4, 4, generator=generator).double()
        found = linearised_drift(kernel, means)
        theirs = torch.linalg.eigvals(found.jacobian)
        size = float(found.eigenvalues.abs().max())
        assert float(found.eigenvalues[-1]) <= 1e-10  # acceptance row 6
        assert float(theirs.imag.abs().max()) <= 1e-7 * size
        Relative("eigenvalues of an unsymmetric matrix, of which 0 is one several times", 1e-7).floor(size).check(
            found.eigenvalues, theirs.real.sort().values
        )


def test_residue_vanishes_as_training_converges_and_the_drift_faster() -> None:
    """Acceptance row 6; relative to the drift the residue grows (spec 1.7)."""
    found = {}
    for steps in (0, 1000):
        model, x, y = trained(steps)
        numbers = dict((one.name, value) for one, value in DriftOfMeans(1).look(Sight.of(model, x, y)).numbers)
        found[steps] = numbers
        assert float(numbers[LARGEST.name]) <= 1e-10
    start, end = found[0], found[1000]
    assert float(start[RESIDUE.name]) > 1
    assert float(end[RESIDUE.name]) < 0.05
    assert float(end[DRIFT.name]) < float(end[RESIDUE.name])
    assert float(end[SHARE.name]) > 3 * float(start[SHARE.name])
    assert 0 < float(end[CONTRACTION.name]) < float(start[CONTRACTION.name])


def test_quantity_takes_means_over_the_samples_of_a_class() -> None:
    (x, y), model = digits(per_class=4), network()
    numbers = DriftOfMeans(9).look(Sight.of(model, x, y)).numbers
    order = y.argsort(stable=True)
    z = model(x[order]).detach()
    rows = []
    for k in range(3):
        for j in range(3):
            mean = model(x[y == k])[:, j].mean()
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(mean, list(model.parameters()))]))
    jacobians = torch.stack(rows)
    wanted = linearised_drift((jacobians @ jacobians.T).view(3, 3, 3, 3), z.view(3, 4, 3).mean(1))
    IDENTITY.check(
        [float(value) for _, value in numbers[:2]], [float(wanted.drift.norm()), float(wanted.residue.norm())]
    )


def test_what_a_quantity_cannot_measure_has_a_reason() -> None:
    x, model = torch.randn(4, 64).double(), network()
    for looked, reason in (
        (DriftOfMeans().look(Sight.of(model, x, torch.tensor([0, 0, 1, 1]), num_classes=3)), "class 2 has no samples"),
        (DriftOfMeans().look(Sight.of(model, x, torch.zeros(4, dtype=torch.int64))), "one class has no drift"),
        (
            DriftOfMeans().look(Sight.of(model, x, torch.tensor([0, 0, 1, 1]))),
            "the network has 3 logits, and there are 2",
        ),
        (DriftOfMeans(budget=10).look(Sight.of(model, x, torch.tensor([0, 1, 2, 2]))), "a kernel of 9 logits takes"),
    ):
        assert len(looked.numbers) == 5
        assert all(str(value).startswith(reason) for _, value in looked.numbers)


def test_without_drift_there_is_no_share() -> None:
    found = linearised_drift(torch.zeros(2, 2, 2, 2), torch.eye(2))
    with pytest.raises(UndefinedMetric, match="the class means do not move: the drift is 0"):
        _ = found.residue_share


def test_residuals_do_not_round_to_zero() -> None:
    """At a margin of 60 the probability of the label is 1 in float64, and its distance from 1 is exp(-60)."""
    change = one_step_change(torch.eye(2)[None], torch.tensor([60.0, 0.0]), 0, rate=1.0)
    REFERENCE.check(change[0], [math.exp(-60), -math.exp(-60)])


@pytest.mark.parametrize(("share", "converges"), [(0.3, True), (1.9, True), (2.0 - 1e-9, True), (2.1, False)])
def test_descent_converges_just_below_twice_the_rate(share: float, converges: bool, generator: torch.Generator) -> None:
    """Of a linear model the kernel does not change, so that the limit is sharp."""
    x = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    kernel = x @ x.T
    rate = stable_rate(kernel, share=1.0) * share
    w = torch.ones(3, dtype=torch.float64)
    start = float((x @ w).norm())
    for _ in range(400):
        w = w - rate / 12 * x.T @ (x @ w)
    assert (float((x @ w).norm()) < start) == converges
    REFERENCE.check(stable_rate(kernel, share=0.3), 0.3 * 12 / np.linalg.eigvalsh(kernel.numpy())[-1])


def test_rate_of_several_logits_counts_samples_not_logits(generator: torch.Generator) -> None:
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    blocks = torch.einsum("ij,ab->iajb", x @ x.T, torch.eye(2).double())
    REFERENCE.check(stable_rate(blocks), stable_rate(x @ x.T))


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"kernel must be \(n, n\) or \(n, k, n, k\), got Tensor of shape \(2, 3\)"):
        stable_rate(torch.ones(2, 3))
    with pytest.raises(InputError, match="share must be a finite number above 0 and below 2, got 2"):
        stable_rate(torch.eye(2), share=2)
    with pytest.raises(InputError, match="kernel must have an eigenvalue above 0, got 0 as the largest"):
        stable_rate(torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"kernel and means must be \(k, k, k, k\) and \(k, k\)"):
        linearised_drift(torch.ones(2, 2, 2, 2), torch.ones(3, 3))
    with pytest.raises(InputError, match=r"blocks and logits must be \(m, k, k\) and \(k,\)"):
        one_step_change(torch.ones(2, 2, 3), torch.ones(3), 0, rate=0.1)
    with pytest.raises(InputError, match="label must be one of 0, 1, got 2"):
        one_step_change(torch.ones(1, 2, 2), torch.ones(2), 2, rate=0.1)
    with pytest.raises(InputError, match=r"blocks must be finite, got nan at index \(0, 0, 0\)"):
        one_step_change(torch.full((1, 2, 2), math.nan), torch.ones(2), 0, rate=0.1)
    with pytest.raises(InputError, match="kernel must be a tensor or an array, got None"):
        stable_rate(None)  # pyright: ignore[reportArgumentType]
    over_the_batch = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(InputError, match="got batch normalisation in train mode: 1"):
        DriftOfMeans().look(Sight.of(over_the_batch, torch.ones(4, 3), torch.arange(4) % 2))
    assert float(over_the_batch[1].running_mean.abs().sum()) == 0
    with pytest.raises(InputError, match="samples_per_class must be an integer of at least 1, got 0"):
        DriftOfMeans(0)
