"""Similarities by steps and in the limit, their means over classes, and the quantity that follows them."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics import (
    Sight,
    class_elasticity,
    half_squared_error,
    intra_inter,
    normalised_kernel,
    own_residual,
    relative_similarity,
    stepped_kernelised_similarity,
    stepped_relative_similarity,
    symmetrised,
    tangent_blocks,
    tangent_kernel,
    tangent_norms,
)
from collapselab.dynamics.elasticity import NUMBERS, LocalElasticity
from tolerances import REFERENCE


def scalar_network(width: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 1)).double()


def samples(n: int, k: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.arange(n) % k


def reference_step(
    network: nn.Module, x: Tensor, y: Tensor, step: float, *, logistic: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """S_rel and S_ker by one step of SGD a sample, as He and Su define them."""
    leaves, n = list(network.parameters()), len(x)
    relative, kernelised = np.zeros((n, n)), np.zeros((n, n))
    with torch.no_grad():
        before = network(x)[:, 0]
    for i in range(n):
        value = network(x[i : i + 1])[0, 0]
        target = y[i].double()
        loss = functional.binary_cross_entropy_with_logits(value, target) if logistic else (value - target).square() / 2
        slope = torch.autograd.grad(loss, value, retain_graph=True)[0]
        gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            kept = [p.clone() for p in leaves]
            for p, g in zip(leaves, gradients, strict=True):
                p -= step * g
            after = network(x)[:, 0]
            for p, old in zip(leaves, kept, strict=True):
                p.copy_(old)
        relative[i] = ((after - before).abs() / (after[i] - before[i]).abs()).numpy()
        kernelised[i] = ((before - after) / (step * slope.detach())).numpy()
    return relative, kernelised


def logistic(value: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(value, y.to(value.dtype))


@pytest.mark.parametrize("budget", [2**28, 40_000, 2])
def test_steps_are_those_of_the_definition(budget: int) -> None:
    network, (x, y) = scalar_network(8), samples(9)
    relative, kernelised = reference_step(network, x, y, 0.3)
    close = REFERENCE.times(100)  # differences of numbers that are alike
    close.check(stepped_relative_similarity(network, x, y, step=0.3, budget=budget), relative)
    found = stepped_kernelised_similarity(network, x[:4], y[:4], other=x, other_y=y, step=0.3, budget=budget)
    close.check(found, kernelised[:4])


def test_other_losses() -> None:
    network, (x, y) = scalar_network(8), samples(5)
    _, kernelised = reference_step(network, x, y, 0.3, logistic=True)
    found = stepped_kernelised_similarity(network, x, y, step=0.3, loss=logistic)
    REFERENCE.times(100).check(found, kernelised)


def test_networks_that_write_into_their_inputs() -> None:
    (x, y), layer = samples(5), scalar_network()
    network, apart = nn.Sequential(nn.ReLU(inplace=True), layer), nn.Sequential(nn.ReLU(), layer)
    before = x.clone()
    found = stepped_relative_similarity(network, x, y, step=0.1)
    tangent_blocks(network, x)
    assert torch.equal(x, before)
    REFERENCE.check(found, stepped_relative_similarity(apart, x, y, step=0.1))


def test_small_steps_give_the_tangent_kernel() -> None:
    """Row 7: two layers of width 2048 in float64."""
    network, (x, y) = scalar_network(2048), samples(40)
    kernel = tangent_kernel(network, x)
    relative = stepped_relative_similarity(network, x, y, step=1e-6)
    kernelised = stepped_kernelised_similarity(network, x, y, step=1e-6)
    assert float((relative - relative_similarity(kernel)).abs().max()) < 1e-4
    assert float((kernelised - kernel).abs().max() / kernel.abs().max()) < 1e-4
    assert torch.allclose(stepped_relative_similarity(network, x, y, step=1e-6, loss=logistic), relative, atol=1e-4)


def test_the_similarity_of_a_linear_network_does_not_depend_on_training() -> None:
    x, _ = samples(6)
    network = nn.Linear(3, 1, bias=False).double()
    wanted = (x @ x.T).abs() / x.square().sum(1, keepdim=True)
    REFERENCE.check(relative_similarity(tangent_kernel(network, x)), wanted)


def test_similarities_of_different_rows_and_columns() -> None:
    network, (x, _) = scalar_network(), samples(7)
    kernel, own = tangent_kernel(network, x), tangent_norms(network, x)
    part = tangent_kernel(network, x[:2], other=x)
    REFERENCE.check(relative_similarity(part, own[:2]), relative_similarity(kernel)[:2])
    REFERENCE.check(normalised_kernel(part, own[:2], own), normalised_kernel(kernel)[:2])
    s = relative_similarity(kernel)
    assert float((s - s.T).abs().max()) > 0.01
    assert torch.equal(symmetrised(s), symmetrised(s).T)


def test_class_means_leave_out_a_sample_and_itself() -> None:
    n, k = 11, 3
    kernel, y = torch.randn(n, n, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 0])
    wanted = np.zeros((k, k))
    for a in range(k):
        for b in range(k):
            wanted[a, b] = np.mean(
                [float(kernel[i, j]) for i in range(n) for j in range(n) if (y[i], y[j]) == (a, b) and i != j]
            )
    found = class_elasticity(kernel, y, k)
    REFERENCE.check(found, wanted)
    means = intra_inter(found)
    assert means.intra == pytest.approx(wanted.trace() / k)
    assert means.inter == pytest.approx((wanted.sum() - wanted.trace()) / (k * (k - 1)))
    assert means.gap == means.intra - means.inter


def test_what_is_undefined() -> None:
    kernel = torch.ones(3, 3)
    with pytest.raises(UndefinedMetric, match="class 1 has 1 of the samples; pairs within it need 2"):
        class_elasticity(kernel, torch.tensor([0, 0, 1]), 2)
    with pytest.raises(UndefinedMetric, match="class 2 has 0 of the samples"):
        class_elasticity(torch.ones(4, 4), torch.tensor([0, 0, 1, 1]), 3)
    with pytest.raises(UndefinedMetric, match="one class has no pairs with others"):
        intra_inter(torch.ones(1, 1))
    dead = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(UndefinedMetric, match="the gradient of sample 1 is zero: a step on it moves nothing"):
        relative_similarity(dead)
    with pytest.raises(UndefinedMetric, match="the gradient of sample 1 is zero: it has no direction"):
        normalised_kernel(dead)
    with pytest.raises(UndefinedMetric, match="the gradient of other sample 0 is zero"):
        normalised_kernel(torch.ones(1, 2), torch.ones(1), torch.tensor([0.0, 1.0]))
    network, (x, _) = scalar_network(4), samples(2)
    fitted = network(x).detach()[:, 0].double()

    def zero(value: Tensor, y: Tensor) -> Tensor:
        return half_squared_error(value, fitted[0]) * 0

    with pytest.raises(UndefinedMetric, match="the loss of sample 0 has no slope"):
        stepped_kernelised_similarity(network, x, torch.tensor([0, 0]), step=0.1, loss=zero)
    with pytest.raises(UndefinedMetric, match="the step on sample 0 does not move it"):
        stepped_relative_similarity(network, x, torch.tensor([0, 0]), step=0.1, loss=zero)


def test_what_is_refused() -> None:
    network, (x, y) = scalar_network(4), samples(3)
    with pytest.raises(InputError, match="own must be given where the kernel is not square"):
        relative_similarity(torch.ones(2, 3))
    with pytest.raises(InputError, match=r"own must be squared lengths, one for each of the rows, got .*2"):
        relative_similarity(torch.eye(3), torch.ones(2))
    with pytest.raises(InputError, match="own must be squared lengths"):
        normalised_kernel(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(InputError, match="other_own must be squared lengths, one for each of the columns"):
        normalised_kernel(torch.ones(2, 3), torch.ones(2), torch.ones(2))
    with pytest.raises(InputError, match="kernel must have as many columns as rows"):
        class_elasticity(torch.ones(2, 3), torch.tensor([0, 1]), 2)
    with pytest.raises(InputError, match=r"y must lie in 0\.\.1, got 2 at index 1"):
        class_elasticity(torch.ones(2, 2), torch.tensor([0, 2]), 2)
    with pytest.raises(InputError, match="step must be a finite number above 0"):
        stepped_relative_similarity(network, x, y, step=0.0)
    with pytest.raises(InputError, match="batch normalisation in train mode"):
        stepped_relative_similarity(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).double(), x, y, step=0.1)
    with pytest.raises(InputError, match=r"network must be a torch\.nn\.Module, got function"):
        stepped_relative_similarity(lambda x: x, x, y, step=0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"y must lie in 0\.\.1, got 2 at index 2"):
        stepped_relative_similarity(nn.Linear(3, 2).double(), x, torch.arange(3), read=own_residual, step=0.1)
    with pytest.raises(InputError, match="samples_per_class must be an integer of at least 2"):
        LocalElasticity(samples_per_class=1)


def test_the_quantity_is_the_mean_over_pairs() -> None:
    torch.manual_seed(0)
    network, (x, y) = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)).double(), samples(30, 3)
    sight = Sight.of(network, x, y, seed=4)
    found = LocalElasticity(samples_per_class=4).look(sight)
    rows = sight.few_of_each(4, "local elasticity")
    kernel = tangent_kernel(network, x[rows], y[rows], read=own_residual)
    traces = torch.einsum("ikjk->ij", tangent_blocks(network, x[rows]))
    values = {entry.name: value for entry, value in found.numbers}
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    alike = [i // 4 == j // 4 for i, j in pairs]
    cosines = [float(kernel[i, j] / math.sqrt(kernel[i, i] * kernel[j, j])) for i, j in pairs]
    plain = [float(kernel[i, j]) for i, j in pairs]
    whole = [float(traces[i, j] / (traces[i, i] * traces[j, j]).sqrt()) for i, j in pairs]
    for name, wanted, same in (
        ("intra_similarity", cosines, True),
        ("inter_similarity", cosines, False),
        ("intra_elasticity", plain, True),
        ("inter_elasticity", plain, False),
        ("intra_jacobian_similarity", whole, True),
        ("inter_jacobian_similarity", whole, False),
    ):
        assert values[name] == pytest.approx(np.mean([v for v, a in zip(wanted, alike, strict=True) if a is same]))
    assert values["similarity_gap"] == pytest.approx(
        float(values["intra_similarity"]) - float(values["inter_similarity"])
    )
    matrices = {declaration.name: matrix for declaration, matrix in found.matrices}
    assert matrices["class_similarity"].diagonal().mean() == pytest.approx(values["intra_similarity"])
    assert matrices["class_jacobian_similarity"].trace() / 3 == pytest.approx(values["intra_jacobian_similarity"])


def test_where_the_quantity_has_no_value() -> None:
    torch.manual_seed(0)
    network, (x, y) = nn.Linear(3, 3).double(), samples(30, 3)
    few = LocalElasticity().look(Sight.of(network, x[:4], y[:4]))
    assert few.matrices == ()
    assert [entry.name for entry, _ in few.numbers] == [entry.name for entry in NUMBERS]
    assert {value for _, value in few.numbers} == {"class 1 has 1 of the samples; pairs within it need 2"}
    over = LocalElasticity(budget=1000).look(Sight.of(network, x, y))
    assert over.numbers[0][1] == "a kernel of 30 samples is over the budget, which is enough for 7"


@pytest.mark.parametrize("weight", [math.nan, 1e30])
def test_a_network_that_went_astray_has_a_reason(weight: float) -> None:
    network, (x, y) = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), samples(8)
    for p in network.parameters():
        nn.init.constant_(p, weight)
    found = LocalElasticity(samples_per_class=2).look(Sight.of(network, x.float(), y))
    assert [value for _, value in found.numbers] == ["products of gradients are beyond every number, or none"] * 7


def test_a_network_that_tells_no_samples_apart() -> None:
    """With the bias alone in training the kernel is that of the residuals, 1 and -1/(K-1); Jacobians are the same."""
    network, (x, y) = nn.Linear(3, 5).double(), samples(30, 5)
    network.weight.requires_grad_(False)
    values = [value for _, value in LocalElasticity().look(Sight.of(network, x, y)).numbers]
    assert values == pytest.approx([1.0, -1 / 4, 5 / 4, 1.0, -1 / 4, 1.0, 1.0])


def test_a_sample_without_gradient_leaves_the_elasticities_defined() -> None:
    """Behind a layer that is dead for it, a sample has no direction; by how much it is moved is known: not at all."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)).double()
    for p in network.parameters():
        p.data = torch.eye(2, dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1])
    found = LocalElasticity().look(Sight.of(network, x, y))
    assert [declared for declared, _ in found.numbers] == list(NUMBERS)
    reasons = [declared.name for declared, value in found.numbers if isinstance(value, str)]
    assert reasons == [one.name for one in NUMBERS if "elasticity" not in one.name]
    assert found.matrices == ()
    kernel = tangent_kernel(network, x, y, read=own_residual)
    wanted = intra_inter(class_elasticity(kernel, y, 2))
    values = {declared.name: value for declared, value in found.numbers}
    assert values["intra_elasticity"] == wanted.intra
    assert values["inter_elasticity"] == wanted.inter
