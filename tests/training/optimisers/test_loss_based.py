"""The rate over the loss: logarithms far below any float, epochs that are taken back, margins in the hundreds."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError, NotConverged
from collapselab.training import LOSSES, NETWORKS
from collapselab.training.losses import Outputs
from collapselab.training.optimisers.loss_based import LossBased, book_of, log_cross_entropy
from lent_work import Lent, built, cross_entropy, run, separable, two_sides
from tolerances import EXACT, REFERENCE, Relative


def outputs(z: torch.Tensor) -> Outputs:
    return Outputs(z, z[:, :0], z[:0, :0])


def log_loss_in_decimals(z: list[float], y: int) -> float:
    """log(-log(e^{z_y} / sum_j e^{z_j})) in a thousand digits."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 1000, -(10**8), 10**8
        exponentials = [Decimal(logit).exp() for logit in z]
        return float((-(exponentials[y] / sum(exponentials)).ln()).ln())


@pytest.mark.parametrize("margin", [-800.0, -3.0, 0.0, 5.0, 36.5, 37.5, 104.0, 760.0, 1900.0])
def test_log_of_the_loss(margin: float) -> None:
    """From margins at which the loss is large to those at which it underflows in float32, then in float64."""
    z = [0.25, margin, -0.5, 0.125]
    tensor = torch.tensor([z], dtype=torch.float64)
    found = log_cross_entropy(outputs(tensor), torch.tensor([1]))
    Relative("float64 of a logarithm", 1e-14).floor(1.0).check(found, [log_loss_in_decimals(z, 1)])


@pytest.mark.parametrize("margin", [-50.0, 0.0, 36.9, 37.1, 2000.0])
def test_gradient_of_the_log_of_the_loss(margin: float) -> None:
    """d log l / dz = (softmax - e_y) / l; for two classes and a large margin (1, -1), however small the loss."""
    z = torch.tensor([[0.0, margin]], dtype=torch.float32, requires_grad=True)
    log_cross_entropy(outputs(z), torch.tensor([1])).sum().backward()
    x = -margin
    slope = 1.0 if x < -37 else 1 / (1 + math.exp(-x)) / math.log1p(math.exp(x))
    Relative("float32", 1e-6).check(z.grad, [[slope, -slope]])


def test_margin_2000() -> None:
    """The loss is 1e-868."""
    found = log_cross_entropy(outputs(torch.tensor([[2000.0, 0.0]])), torch.tensor([0]))
    assert float(found) / math.log(10) == pytest.approx(-868.59, abs=0.01)


def test_a_step_on_the_whole_set_is_descent_on_the_log_of_the_loss() -> None:
    work, optimiser = separable(), LossBased(learning_rate=0.3)
    x, y = two_sides()
    before = work.parameters[0].detach().clone().requires_grad_()
    loss = nn.functional.cross_entropy(x @ before.T, y)
    (slope,) = torch.autograd.grad(loss.log(), before)
    total = float(optimiser.step(work, built(optimiser, work)))
    REFERENCE.check(work.parameters[0].detach(), before.detach() - 0.3 * slope)
    assert total == pytest.approx(12 * loss.item(), rel=1e-6)


def twin(x: np.ndarray, y: np.ndarray, w: np.ndarray, batches: list[list[int]], *, rate: float, epochs: int):
    """The rule of Lyu and Li, epoch by epoch: weights, log loss and factor after each."""

    def loss_and_gradient(rows: list[int], w: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = 0.0, np.zeros_like(w)
        for i in rows:
            z = w @ x[i]
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            loss -= math.log(p[y[i]]) / len(rows)
            for j in range(len(p)):
                gradient[j] += (p[j] - (j == y[i])) * x[i] / len(rows)
        return loss, gradient

    everything = list(range(len(y)))
    reference, factor, path = loss_and_gradient(everything, w)[0], 1.0, []
    for _ in range(epochs):
        start = w.copy()
        for rows in batches:
            w = w - rate * factor / reference * loss_and_gradient(rows, w)[1]
        new = loss_and_gradient(everything, w)[0]
        if new <= reference:
            reference, factor = new, factor * 2 ** (1 / 5)
        else:
            w, factor = start, factor / 2 ** (1 / 10)
        path.append((w.copy(), math.log(reference), factor))
    return path


def test_epochs_that_are_kept_and_taken_back() -> None:
    """Noisy minibatches and a rate that soon grows too large: the whole path of the twin."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (12,), generator=generator)
    weight = nn.Parameter(torch.zeros(3, 3, dtype=torch.float64))
    work = Lent([weight], lambda rows: x[rows] @ weight.T, y, cross_entropy)
    batches = [[0, 5, 7, 2], [1, 3, 4, 11], [6, 8, 9, 10]]
    expected = twin(x.numpy(), y.numpy(), np.zeros((3, 3)), batches, rate=1.0, epochs=30)
    optimiser = LossBased(learning_rate=1.0)
    stepper = built(optimiser, work)
    kept = []
    for w, log_loss, factor in expected:
        before = book_of(stepper).get("factor", 1.0)
        for rows in batches:
            work.rows = (torch.tensor(rows),)
            optimiser.step(work, stepper)
        optimiser.end_epoch(work, stepper)
        book = book_of(stepper)
        kept.append(book["factor"] > before)
        Relative("thirty epochs", 1e-9).floor(1.0).check(weight, w)
        Relative("thirty epochs", 1e-9).floor(1.0).check([book["log_loss"], book["factor"]], [log_loss, factor])
    assert 5 < sum(kept) < 25


def network_problem(dtype: torch.dtype) -> Lent:
    """20 random points in 5 dimensions with labels of a random direction; a 5-20-1 ReLU network without bias."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    y = (x @ torch.randn(5, generator=generator, dtype=torch.float64) > 0).long()
    first = nn.Parameter((0.5 * torch.randn(20, 5, generator=generator, dtype=torch.float64)).to(dtype))
    second = nn.Parameter((0.3 * torch.randn(1, 20, generator=generator, dtype=torch.float64)).to(dtype))
    x = x.to(dtype)

    def look(rows: torch.Tensor) -> torch.Tensor:
        margin = torch.relu(x[rows] @ first.T) @ second.T / 2
        return torch.cat([-margin, margin], 1)

    return Lent([first, second], look, y, cross_entropy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_that_float32_cannot_hold(dtype: torch.dtype) -> None:
    """1e-60 is passed; the log loss never grows, and the normalised margin ends above where it was at 1e-5."""
    work, optimiser = network_problem(dtype), LossBased(learning_rate=0.02)
    stepper, path, margins = built(optimiser, work), [], []
    for _ in range(1500):
        run(optimiser, work, stepper, steps=1, epoch=1)
        path.append(book_of(stepper)["log_loss"])
        if path[-1] < -60 * math.log(10):
            break
        if path[-1] < -5 * math.log(10):
            margins.append(normalised_margin(work))
    assert path[-1] < -60 * math.log(10)
    assert all(later <= earlier for earlier, later in itertools.pairwise(path))
    assert normalised_margin(work) > margins[0]


def normalised_margin(work: Lent) -> float:
    """Smallest margin over the square of the norm of all weights: the network is homogeneous of degree 2."""
    with torch.no_grad():
        z = work._look(work.rows[0]).double()
    margins = (2 * work.y - 1) * (z[:, 1] - z[:, 0])
    return float(margins.min() / work.point.double().square().sum())


def test_an_epoch_fails_where_a_minibatch_explodes() -> None:
    """Later steps of the epoch do nothing, what is reported stays finite, and the weights come back bit for bit."""
    work, optimiser = separable(), LossBased(learning_rate=1e6)
    start = float(work.evaluate().mean())
    before, stepper = work.point, built(optimiser, work)
    work.rows = (torch.tensor([0]),)
    optimiser.step(work, stepper)
    work.parameters[0].data *= -1e3  # an enormous loss
    enormous = work.point
    work.rows = (torch.arange(12),)
    reported = float(optimiser.step(work, stepper))
    EXACT.check(work.point, enormous)
    assert reported == pytest.approx(12 * 500 * start, rel=1e-6)
    optimiser.end_epoch(work, stepper)
    EXACT.check(work.point, before)
    assert book_of(stepper)["factor"] == 2**-0.1
    assert float(book_of(stepper)["healthy"]) == 1.0


def test_numbers_that_are_none_are_taken_back() -> None:
    work, optimiser = separable(), LossBased()
    before, stepper = work.point, built(optimiser, work)
    optimiser.step(work, stepper)
    work.parameters[0].data = torch.full_like(work.parameters[0].data, math.nan)
    assert math.isfinite(float(optimiser.step(work, stepper)))
    optimiser.end_epoch(work, stepper)
    EXACT.check(work.point, before)


def test_gives_up_where_no_rate_helps() -> None:
    """A loss that is worse at each look, as with a data set that changes."""

    class Worse(Lent):
        looks = 0

        def evaluate(self, each=None) -> torch.Tensor:
            self.looks += 1
            return super().evaluate(each) + self.looks

    good = separable()
    work = Worse(good.parameters, good._look, good.y, cross_entropy)
    optimiser = LossBased(decrease=1e-20)
    with pytest.raises(NotConverged, match="loss_based: no rate above 1e-50 makes the loss fall any further"):
        run(optimiser, work, built(optimiser, work), steps=3, epoch=1)


def test_refuses_what_is_not_plain_cross_entropy() -> None:
    loss, other = LOSSES["cross_entropy"].make(), LOSSES["mse"].make()
    plain = NETWORKS["mlp"].make(widths=(4,), batch_norm=False).build((3,), 2)
    given = {"network": plain, "loss": loss, "penalty": None, "class_weights": False}
    flags = {"clipping": False, "augmentation": False}
    LossBased().check(**given, **flags)
    needs = "loss_based needs the loss cross_entropy, without penalty and class weights, got "
    for change, message in (
        ({"loss": other}, needs + type(other).__name__),
        ({"penalty": other}, needs + "CrossEntropy with a penalty"),
        ({"class_weights": True}, needs + "CrossEntropy with class weights"),
        ({"network": NETWORKS["mlp"].make(widths=(4,)).build((3,), 2)}, "without batch normalisation, because the run"),
    ):
        with pytest.raises(InputError, match=message):
            LossBased().check(**{**given, **change}, **flags)
