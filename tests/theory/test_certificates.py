"""The certificate: nothing to gain at closed forms, a rigorous bound elsewhere, and the last layer of a network."""

import math

import pytest
import torch

from collapselab.core.errors import InputError, NotKnown
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.theory import CrossEntropyFeatures, LabelSmoothingFeatures, Problem
from collapselab.theory.certificates import certificate, certificate_of
from collapselab.theory.convex_program import solve_convex_program
from collapselab.theory.nuclear import balanced_factors, spectral_norm
from collapselab.theory.saddles import saddle


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squared_error(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (z - torch.nn.functional.one_hot(y, z.shape[1])).square().sum(1) / 2


def cross_entropy(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(z, y, reduction="none")


@pytest.mark.parametrize(("k", "d"), [(4, 8), (10, 9), (3, 2)])
@pytest.mark.parametrize("bias", ["none", "free", "decay"])
def test_at_the_closed_form_nothing_is_left(k: int, d: int, bias) -> None:
    problem = Problem.balanced(
        k, 5, d, decay_head=5e-3, decay_features=1e-3, bias=bias, decay_bias=1e-2 if bias == "decay" else 0.0
    )
    for loss in ("cross_entropy",) if bias == "free" else ("cross_entropy", cross_entropy):
        found = certificate(problem, CrossEntropyFeatures(problem).minimiser(generator()), loss)
        assert found.gap < 1e-9
        assert found.spectral_ratio == pytest.approx(1, abs=1e-9)
        assert found.multiplicity == k - 1
        assert found.kind == "global minimum"
        assert max(found.balance_residual, found.slope, found.unbalance) < 1e-12


def test_a_function_is_certified_as_well() -> None:
    landscape = LabelSmoothingFeatures(Problem.balanced(5, 6, 7, decay_head=4e-3, decay_features=2e-3), 0.2)
    found = certificate(landscape.problem, landscape.minimiser(), landscape.sample_losses)
    assert found.gap < 1e-9
    assert found.multiplicity == 4
    zero = {name: 0 * x for name, x in landscape.minimiser().items()}
    at_zero = certificate(landscape.problem, zero, landscape.sample_losses)
    assert at_zero.spectral_ratio > 1
    assert at_zero.kind == "critical, not minimal"
    drawn = certificate(landscape.problem, landscape.problem.draw(generator()), landscape.sample_losses)
    assert drawn.kind == "not critical"


@pytest.mark.parametrize("bias", ["none", "free", "decay"])
@pytest.mark.parametrize("counts", [(7, 7, 7, 7), (20, 6, 2, 1)])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_bound_is_below_the_convex_optimum_and_close_to_it(bias, counts, loss) -> None:
    problem = Problem(counts, 6, 4e-3, 2e-3, bias=bias, decay_bias=0.1 if bias == "decay" else 0.0)
    optimum = solve_convex_program(problem, loss).value
    for state in (problem.draw(generator()), saddle(problem, 1, generator(), loss)):
        found = certificate(problem, state, loss)
        rough = certificate(problem, state, loss, refine=False)
        assert rough.lower_bound <= found.lower_bound <= optimum + 1e-9
        assert found.lower_bound == pytest.approx(optimum, abs=1e-7)
        assert found.loss > optimum
        assert found.gap == found.loss - found.lower_bound


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
@pytest.mark.parametrize("bias", ["none", "decay"])
def test_a_function_gets_no_better_bound_than_the_same_loss_by_name(loss, bias) -> None:
    problem = Problem((9, 4, 2), 5, 4e-3, 2e-3, bias=bias, decay_bias=0.1 if bias == "decay" else 0.0)
    name = "cross_entropy" if loss is cross_entropy else "mse"
    for seed in range(2):
        state = problem.draw(generator(seed))
        by_name = certificate(problem, state, name, refine=False)
        as_function = certificate(problem, state, loss, refine=False)
        assert as_function.lower_bound <= by_name.lower_bound + 1e-12
        assert as_function.loss == pytest.approx(by_name.loss, rel=1e-12)
        assert certificate(problem, state, loss).lower_bound == pytest.approx(
            certificate(problem, state, name).lower_bound, abs=1e-7
        )


def test_parts_are_what_they_are_called() -> None:
    problem = Problem.balanced(3, 4, 5, decay_head=4e-3, decay_features=1e-3)
    state = problem.draw(generator(3))
    found = certificate(problem, state)
    z = problem.logits(state)
    slope = (z.softmax(1) - torch.nn.functional.one_hot(problem.labels)) / 12
    assert found.spectral_ratio == pytest.approx(spectral_norm(slope) / math.sqrt(4e-6), rel=1e-12)
    balanced = balanced_factors(z, 5, decay_head=4e-3, decay_features=1e-3)
    there = certificate(problem, balanced)
    assert there.unbalance == pytest.approx(0, abs=1e-12)
    assert found.unbalance == pytest.approx(found.loss - there.loss, rel=1e-9)
    assert found.slope > 0
    assert "1 of them is as large" in found.statement
    assert "unconstrained model alone" in found.caveat
    assert "was not given" not in found.caveat


def test_refuses() -> None:
    problem = Problem.balanced(3, 4, 5, decay_head=4e-3, decay_features=1e-3, bias="free")
    state = problem.draw(generator())
    with pytest.raises(NotKnown, match="only known without bias or with decay of it"):
        certificate(problem, state, squared_error)
    with pytest.raises(InputError, match=r"state must have 'bias' of shape \(3,\) in this problem, got None"):
        certificate(problem, {name: state[name] for name in ("h", "weight")})
    with pytest.raises(InputError, match="must have no 'bias' in a problem without one"):
        certificate(Problem.balanced(3, 4, 5, decay_head=4e-3, decay_features=1e-3), state)
    with pytest.raises(InputError, match="must be above 0 for a certificate"):
        certificate(Problem.balanced(3, 4, 5, decay_head=0.0, decay_features=1e-3), state)
    features = LabelledFeatures(state["h"], torch.tensor([0, 1, 0, 1] * 3), 3)
    with pytest.raises(InputError, match=r"counts\[2\] must be an integer of at least 1, got 0"):
        certificate_of(features, LinearHead(state["weight"]), decay_head=1e-3)
    with pytest.raises(InputError, match=r"head must have a weight of shape \(3, 5\) for these features, got \(2, 5\)"):
        certificate_of(features, LinearHead(state["weight"][:2]), decay_head=1e-3)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = torch.tensor(data.data, dtype=torch.float32), torch.tensor(data.target)
    kept = torch.cat([(y == k).nonzero()[:40, 0] for k in range(10)])[torch.randperm(400, generator=generator())]
    return (x[kept] - x.mean()) / x.std(), y[kept]


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Linear(64, 32)]
        self.body, self.last = torch.nn.Sequential(*layers), torch.nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x))


def test_last_layer_of_a_trained_network() -> None:
    x, y = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
    decay, found = 5e-3, []
    optimiser = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9, weight_decay=decay)

    def judged():
        with torch.no_grad():
            features = LabelledFeatures(network.body(x), y, 10)
        head = LinearHead(network.last.weight.detach(), network.last.bias.detach())
        return certificate_of(features, head, decay_head=decay, decay_bias=decay)

    for step in range(501):
        if step in (0, 20, 500):
            found.append(judged())
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
    start, early, late = found
    assert start.gap > 0.8 * start.loss
    assert start.gap > early.gap > late.gap > 0
    assert late.gap < 0.4 * late.loss
    assert start.spectral_ratio > early.spectral_ratio > late.spectral_ratio > 1
    assert late.fitted
    assert f"decay of the features, {late.decay_features:.3g}, was not given" in late.caveat
    assert "unconstrained model alone" in late.caveat
    assert f"at most {late.gap:.3g}" in late.statement


def test_features_of_any_order_and_precision_are_judged_as_their_problem() -> None:
    problem = Problem((4, 3, 2), 5, 4e-3, 2e-3, bias="free")
    state = problem.draw(generator())
    order = torch.randperm(9, generator=generator(1))
    features = LabelledFeatures(state["h"][order].float(), problem.labels[order], 3)
    head = LinearHead(state["weight"].float(), state["bias"].float())
    found = certificate_of(features, head, decay_head=4e-3, decay_features=2e-3)
    expected = certificate(problem, state)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-6)
    assert not found.fitted


@pytest.mark.parametrize("per_class", [10, 10_000])
def test_many_samples_do_not_make_a_point_critical(per_class: int) -> None:
    """Noise in features that the head does not see leaves its gradient as it is, and costs decay."""
    problem = Problem.balanced(4, per_class, 8, decay_head=5e-3, decay_features=5e-3 / (4 * per_class))
    state = CrossEntropyFeatures(problem).minimiser()
    unseen = torch.linalg.svd(state["weight"])[2][3:]
    noise = torch.randn(4 * per_class, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ unseen
    centred = noise - torch.stack([part.mean(0) for part in noise.split(per_class)])[problem.labels]
    found = certificate(problem, {**state, "h": state["h"] + 0.5 * centred}, refine=False)
    assert found.gap > 0.01 * found.loss
    assert found.kind == "not critical"
