"""The Hessian through curvlinops, and the class structure of its Gauss-Newton part against plain loops."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional

from collapselab.core.errors import InputError, MissingExtra, UndefinedMetric
from collapselab.dynamics import Curvature, Sight
from collapselab.dynamics._curvature import gradients, structure
from collapselab.dynamics.curvature import (
    class_structure,
    gauss_newton_operator,
    gauss_newton_parts,
    hessian_operator,
    knocked_out,
    operator_norm,
    top_eigenpairs,
)
from tolerances import REFERENCE, Relative

pytest.importorskip("curvlinops")

SUM = Relative("SUM OF PARTS", 0.0, atol=1e-12)  # spec, row 20: over the largest entry, which is about 1


def problem(*, classes: int = 3, scale: float = 2.0) -> Sight:
    """Three classes of different sizes in four dimensions, a network of 51 parameters, some of them frozen."""
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, classes)).double()
    network[2].bias.requires_grad_(False)
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    centres = torch.randn(classes, 4, generator=draw, dtype=torch.float64)
    x = scale * centres[y] + torch.randn(12, 4, generator=draw, dtype=torch.float64)
    return Sight.of(network.eval(), x, y, num_classes=classes)


def weights_of(sight: Sight) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in sight.network.named_parameters() if p.requires_grad}


def reference_parts(sight: Sight) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spec section 8, sample by sample and class by class; the four parts, and the rows of class directions."""
    weights = weights_of(sight)
    x, y = sight.take(torch.arange(len(sight.y)))
    n, k = len(y), sight.num_classes
    g: dict[tuple[int, int], np.ndarray] = {}
    w: dict[tuple[int, int], float] = {}
    for i in range(n):
        found = jacrev(lambda own, one=x[i]: functional_call(sight.network, own, (one[None],))[0])(weights)
        jacobian = torch.cat([found[name].reshape(k, -1) for name in weights], 1).numpy()
        p = functional.softmax(sight.network(x[i][None])[0], 0).detach().numpy()
        for other in range(k):
            unit = np.zeros(k)
            unit[other] = 1
            g[i, other] = jacobian.T @ (unit - p)
            w[i, other] = p[other] / n
    size = len(next(iter(g.values())))
    parts = {name: np.zeros((size, size)) for name in structure.PARTS}
    directions = []
    for c in range(k):
        mine = [i for i in range(n) if int(y[i]) == c]
        others = [other for other in range(k) if other != c]
        mass = {o: sum(w[i, o] for i in mine) for o in others}
        mean = {o: sum(w[i, o] * g[i, o] for i in mine) / mass[o] for o in others}
        whole = sum(mass.values())
        of_class = sum(mass[o] * mean[o] for o in others) / whole
        directions.append(np.sqrt(whole) * of_class)
        parts["class"] += whole * np.outer(of_class, of_class)
        for o in others:
            parts["cross"] += mass[o] * np.outer(mean[o] - of_class, mean[o] - of_class)
            for i in mine:
                parts["within"] += w[i, o] * np.outer(g[i, o] - mean[o], g[i, o] - mean[o])
        for i in mine:
            parts["own"] += w[i, c] * np.outer(g[i, c], g[i, c])
    return parts, np.array(directions)


def dense(operator: object, size: int) -> torch.Tensor:
    return operator @ torch.eye(size, dtype=torch.float64)  # pyright: ignore[reportOperatorIssue]


def test_operators_are_the_matrices_of_automatic_differentiation() -> None:
    sight, size = problem(), 0
    weights = weights_of(sight)
    x, y = sight.take(torch.arange(len(sight.y)))
    size = sum(p.numel() for p in weights.values())
    blocks = hessian(lambda own: functional.cross_entropy(functional_call(sight.network, own, (x,)), y))(weights)
    wanted = torch.cat([torch.cat([blocks[a][b].reshape(weights[a].numel(), -1) for b in weights], 1) for a in weights])
    found = dense(hessian_operator(sight), size)
    REFERENCE.floor(float(wanted.abs().max())).check(found, wanted)


def test_the_four_parts_sum_to_the_gauss_newton_matrix() -> None:
    sight = problem()
    parts = gauss_newton_parts(sight)
    size = len(parts["class"])
    SUM.check(sum(parts.values()), dense(gauss_newton_operator(sight), size))
    wanted, directions = reference_parts(sight)
    found = class_structure(sight)
    for name in structure.PARTS:
        REFERENCE.floor(float(np.abs(wanted[name]).max())).check(parts[name], wanted[name])
    REFERENCE.check(found.traces, [np.trace(wanted[name]) for name in structure.PARTS])
    REFERENCE.floor(1.0).check(found.directions, directions)
    assert sum(found.shares().values()) == pytest.approx(1, abs=1e-14)
    assert found.cross.diagonal(dim1=0, dim2=1).abs().max() == 0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = class_structure(problem())
    monkeypatch.setattr(gradients, "rows_at_once", lambda network, **held: 5)
    monkeypatch.setattr(gradients, "_TOGETHER", 2)
    tiled = class_structure(problem())
    REFERENCE.check(tiled.traces, whole.traces)
    REFERENCE.floor(1.0).check(tiled.directions, whole.directions)


def test_samples_that_are_alike_do_not_vary_within_their_class() -> None:
    """Nor by less than nothing, as rounding would have it of a difference of two sums."""
    for rows in ([0, 4, 9], [0, 0, 0, 4, 4, 9], [1, 5, 5, 8, 8, 8]):
        shares = class_structure(problem(), torch.tensor(rows)).shares()
        assert 0 <= shares["within"] < 1e-13


def test_samples_can_be_chosen_and_classes_can_be_missing() -> None:
    sight = problem(classes=4)
    rows = torch.arange(7)  # of the first two classes
    parts = gauss_newton_parts(sight, rows)
    size = len(parts["class"])
    SUM.check(sum(parts.values()), dense(gauss_newton_operator(sight, rows), size))
    found = class_structure(sight, rows)
    assert found.directions[2:].abs().max() == 0
    assert found.overlap(torch.linalg.qr(found.directions[:2].T)[0]) == pytest.approx(1, abs=1e-12)


def test_top_eigenpairs_and_what_is_left_without_a_factor() -> None:
    sight = problem()
    operator = hessian_operator(sight)
    size = operator.shape[0]
    matrix = dense(operator, size)
    values = torch.linalg.eigvalsh(matrix).flip(0)
    draw = torch.Generator().manual_seed(0)
    found, vectors = top_eigenpairs(operator, 3, generator=draw)
    REFERENCE.check(found, values[:3])
    REFERENCE.floor(float(values[0])).check(matrix @ vectors, vectors * found)
    REFERENCE.check(operator_norm(operator, generator=draw), values.abs().max())
    factor = class_structure(sight).directions
    left = torch.linalg.eigvalsh(matrix - factor.T @ factor).flip(0)
    REFERENCE.check(top_eigenpairs(knocked_out(operator, factor), 1, generator=draw)[0], left[:1])


def test_the_quantity_says_what_the_functions_say() -> None:
    sight = problem()
    before = {name: p.clone() for name, p in sight.network.named_parameters()}
    numbers = {entry.name: value for entry, value in Curvature(per_class=9).look(sight).numbers}
    draw = torch.Generator().manual_seed(3)
    values, vectors = top_eigenpairs(hessian_operator(sight), 4, generator=draw)
    found = class_structure(sight)
    assert numbers["hessian_top"] == pytest.approx(float(values[0]), rel=1e-9)
    assert numbers["hessian_gap"] == pytest.approx(float(values[2] / values[3]), rel=1e-9)
    assert numbers["hessian_class_overlap"] == pytest.approx(found.overlap(vectors[:, :3]), rel=1e-9)
    assert numbers["gauss_newton_cross"] == pytest.approx(found.shares()["cross"], rel=1e-9)
    size = found.directions.shape[1]
    h, g = (dense(make(sight), size) for make in (hessian_operator, gauss_newton_operator))
    rest = torch.linalg.matrix_norm(h - g, 2) / torch.linalg.matrix_norm(h, 2)
    assert numbers["hessian_rest"] == pytest.approx(float(rest), rel=1e-9)
    assert all(torch.equal(before[name], p) and p.grad is None for name, p in sight.network.named_parameters())
    again = {entry.name: value for entry, value in Curvature(per_class=9).look(sight).numbers}
    assert again == numbers


def test_without_doubt_there_is_no_curvature() -> None:
    network = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(2000 * torch.eye(2))
    sight = Sight.of(network.eval(), torch.eye(2).double(), torch.tensor([0, 1]))
    found = class_structure(sight)
    with pytest.raises(UndefinedMetric, match="every probability is 0 or 1 to the last bit"):
        found.shares()
    with pytest.raises(UndefinedMetric, match="the class directions are 0"):
        found.overlap(torch.eye(4, 2).double())
    numbers = {entry.name: value for entry, value in Curvature().look(sight).numbers}
    assert "every probability is 0 or 1" in str(numbers["gauss_newton_class"])
    assert "the matrix is 0 to the last bit" in str(numbers["hessian_top"])
    with pytest.raises(UndefinedMetric, match="4 eigenvalues and a next one need more than 4 parameters"):
        top_eigenpairs(hessian_operator(sight), 4, generator=torch.Generator())


def test_another_loss_is_told_apart() -> None:
    sight = problem()
    other = Sight(
        sight.network, sight.take, sight.y, 3, losses=lambda x, y: functional.mse_loss(x, x, reduction="none").mean(1)
    )
    values = [value for _, value in Curvature().look(other).numbers]
    assert values == ["what is minimised is not the cross-entropy of the logits alone"] * 9


def numbers_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor, k: int | None = None) -> dict[str, float | str]:
    return {one.name: value for one, value in Curvature().look(Sight.of(network.eval(), x, y, num_classes=k)).numbers}


def test_the_hessian_of_a_linear_network_is_its_gauss_newton_matrix() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 4, generator=draw), torch.arange(3).repeat(3)
    numbers = numbers_of(nn.Linear(4, 3), x, y)
    assert 0 <= float(numbers["hessian_rest"]) < 1e-12
    network = nn.Linear(4, 3)
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    assert numbers_of(network, x, y)["hessian_rest"] == 0


def test_inputs_may_be_integers() -> None:
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4, 3))
    x = torch.randint(5, (9, 1), generator=draw)
    assert all(isinstance(value, float) for value in numbers_of(network, x, torch.arange(3).repeat(3)).values())


class Negated(nn.Module):
    """Writes into its inputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.neg_()


class WithMore(nn.Linear):
    """A linear network with parameters that it does not use."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.more = nn.Parameter(torch.ones(2))


@pytest.mark.parametrize(
    ("network", "k", "reason"),
    [
        (nn.Sequential(Negated(), nn.Linear(4, 3)), 3, "network must leave its inputs as they are"),
        (WithMore(), 3, "network must use all parameters that require gradients: more does not move its logits"),
        (nn.Linear(4, 5), 3, "network must give one logit for each of 3 classes, got 5"),
        (nn.Linear(4, 2), 3, r"labels must lie in 0..1, got 2 at index 2"),
        (nn.Linear(4, 3).requires_grad_(False), 3, "network must have parameters that require gradients"),
    ],
)
def test_networks_that_have_no_such_curvature(network: nn.Module, k: int, reason: str) -> None:
    values = numbers_of(network, torch.ones(3, 4), torch.arange(3), k).values()
    assert all(reason in str(value) for value in values)


def test_weights_that_are_no_numbers() -> None:
    network = nn.Linear(4, 3)
    nn.init.constant_(network.weight, torch.nan)
    assert set(numbers_of(network, torch.ones(3, 4), torch.arange(3)).values()) == {"the cross-entropy is not finite"}


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sight = problem()
    with pytest.raises(InputError, match="rows must be at least one sample, got none"):
        class_structure(sight, torch.arange(0))
    with pytest.raises(InputError, match=r"rows must lie in 0..11, got 12 at index 0"):
        hessian_operator(sight, torch.tensor([12]))
    with pytest.raises(InputError, match="per_class must be an integer of at least 1, got 0"):
        Curvature(per_class=0)
    monkeypatch.setattr(gradients, "MEAN_BYTES", 1000)
    with pytest.raises(InputError, match=r"small enough for 3² means of gradients, got \d+ trained parameters"):
        class_structure(sight)
    with pytest.raises(InputError, match="trained parameters for dense matrices"):
        gauss_newton_parts(sight)
    assert "means of gradients" in str(Curvature().look(sight).numbers[0][1])
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(MissingExtra, match=r"needs curvlinops: pip install 'collapselab\[curvature\]'"):
        hessian_operator(sight)
