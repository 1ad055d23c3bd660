"""The certificate of a largest margin against loops over pairs, and its identity."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import Sight, kkt_cross_entropy, kkt_exponential, log_cross_entropy, log_sum, sample_margins
from collapselab.dynamics import kkt as module
from tolerances import REFERENCE


def problem(*, layers: int = 3, classes: int = 4, size: float = 1.0) -> Sight:
    """A network without bias, in float64, and samples with the labels that it gives them."""
    generator = torch.Generator().manual_seed(layers)
    widths = [6, *[9] * (layers - 1), classes]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        parts += [nn.Linear(before, after, bias=False), nn.ReLU()]
    network = nn.Sequential(*parts[:-1]).double()
    for parameter in network.parameters():
        parameter.data = size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    x = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        y = network(x).argmax(1)
        clear = sample_margins(network(x), y) > 0.1 * size**layers
    return Sight.of(network, x[clear], y[clear], num_classes=classes)


def everything(sight: Sight) -> tuple[Tensor, Tensor]:
    return sight.take(torch.arange(len(sight.y)))


def flat(tensors: object) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])  # pyright: ignore[reportGeneralTypeIssues]


def twin(sight: Sight, order: int, *, exponential: bool) -> dict[str, float]:
    """Loops over samples and classes, with the derivatives of the loss as the paper has them."""
    x, y = everything(sight)
    parameters = list(sight.network.parameters())
    theta = flat(p.detach() for p in parameters)
    norm = float(theta.norm())
    z = sight.network(x)
    pairs = [(n, j) for n in range(len(y)) for j in range(z.shape[1]) if j != y[n]]
    s = {(n, j): float((z[n, y[n]] - z[n, j]).detach()) for n, j in pairs}
    if exponential:
        pairs = [min((pair for pair in pairs if pair[0] == n), key=s.__getitem__) for n in range(len(y))]
        weight = {pair: math.exp(-s[pair]) for pair in pairs}
        loss = sum((-(z[n, y[n]] - z[n, j])).exp() for n, j in pairs)
    else:
        p = z.detach().softmax(1)
        weight = {(n, j): float(p[n, j]) for n, j in pairs}
        loss = nn.functional.cross_entropy(z, y, reduction="sum")
    smallest = min(s.values())
    descent = -flat(torch.autograd.grad(loss, parameters))
    beta = float(theta @ descent) / (norm * float(descent.norm()))
    lambdas = {pair: smallest ** (1 - 2 / order) * norm * weight[pair] / float(descent.norm()) for pair in pairs}
    for parameter in parameters:
        parameter.data *= smallest ** (-1 / order)
    z = sight.network(x)
    pull = torch.zeros_like(theta)
    for n, j in pairs:
        pull += lambdas[n, j] * flat(torch.autograd.grad(z[n, y[n]] - z[n, j], parameters, retain_graph=True))
    left = float((flat(p.detach() for p in parameters) - pull).norm())
    return {
        "alignment": beta,
        "stationarity": left,
        "complementarity": sum(lambdas[pair] * (s[pair] / smallest - 1) for pair in pairs),
        "normalised_margin": smallest / norm**order,
    }


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize(("layers", "classes"), [(1, 3), (2, 2), (3, 4)])
def test_against_loops(layers: int, classes: int, exponential: bool) -> None:
    sight = problem(layers=layers, classes=classes)
    found = (kkt_exponential if exponential else kkt_cross_entropy)(sight, order=layers)
    for name, expected in twin(sight, layers, exponential=exponential).items():
        REFERENCE.floor(1.0).check(getattr(found, name), expected)


@pytest.mark.parametrize("size", [0.5, 1.0, 20.0])
def test_the_residual_follows_from_the_alignment(size: float) -> None:
    """Acceptance row 13, to 1e-10; at size 20 the loss is far below 1e-300."""
    sight = problem(size=size)
    x, y = everything(sight)
    if size == 20:
        assert float(log_sum(log_cross_entropy(sight.network(x).detach(), y))) < -300 * math.log(10)
    for certify in (kkt_cross_entropy, kkt_exponential):
        found = certify(sight, order=3)
        REFERENCE.check(found.stationarity, found.stationarity_by_alignment)
        assert -1 <= found.alignment <= 1
        assert found.complementarity >= 0


def test_the_largest_margin_of_a_linear_classifier_meets_the_conditions() -> None:
    """Two points on either side: the weights that separate them best are along their difference."""
    network = nn.Linear(2, 2, bias=False).double()
    network.weight.data = torch.tensor([[300.0, 0.0], [-300.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [5.0, 1.0]], dtype=torch.float64)
    found = kkt_cross_entropy(Sight.of(network, x, torch.tensor([0, 1, 0])), order=1)
    assert found.alignment == pytest.approx(1, abs=1e-12)
    assert found.stationarity < 1e-12
    assert found.complementarity < 1e-12


def test_blocks_of_samples_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sight = problem()
    whole = kkt_cross_entropy(sight, order=3)
    monkeypatch.setattr(module, "_ROWS", 4)
    parts = kkt_cross_entropy(sight, order=3)
    for name in ("alignment", "stationarity", "complementarity"):
        REFERENCE.check(getattr(parts, name), getattr(whole, name))


def test_a_sample_on_the_wrong_side_has_no_certificate() -> None:
    sight = problem()
    x, y = everything(sight)
    wrong = Sight.of(sight.network, x, (y + 1) % 4, num_classes=4)
    with pytest.raises(UndefinedMetric, match="a sample is classified wrongly: the smallest margin is -"):
        kkt_cross_entropy(wrong, order=3)


def test_logits_that_cannot_have_margins_are_refused() -> None:
    x = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(InputError, match="classes of the logits must be an integer of at least 2, got 1"):
        kkt_cross_entropy(Sight.of(nn.Linear(3, 1), x, torch.tensor([0, 0])), order=1)
    (broken := nn.Linear(3, 2)).weight.data.fill_(math.nan)
    with pytest.raises(InputError, match="logits must be finite, got nan at index"):
        kkt_exponential(Sight.of(broken, x, torch.tensor([0, 1])), order=1)
