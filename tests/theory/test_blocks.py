"""Block matrices against dense ones, and the metrics that follow from a geometry against the metrics measured."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import Evidence, measure_evidence
from collapselab.theory import BlockMatrix, Geometry
from tolerances import EXACT, IDENTITY

NUMBERS = st.floats(-3, 3)


@st.composite
def blocks(draw: st.DrawFn) -> BlockMatrix:
    sizes = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    own = tuple(draw(NUMBERS) for _ in sizes)
    return BlockMatrix(sizes, own, tuple(tuple(draw(NUMBERS) for _ in sizes) for _ in sizes))


@given(blocks())
def test_operations_are_those_of_dense_matrices(matrix: BlockMatrix) -> None:
    dense, k = matrix.dense(), matrix.size
    centring = torch.eye(k, dtype=torch.float64) - 1 / k
    near = IDENTITY.floor(10)
    near.check(matrix.trace(), dense.trace())
    near.check(matrix.norm(), torch.linalg.matrix_norm(dense))
    near.check(matrix.scaled(-2.5).dense(), -2.5 * dense)
    EXACT.check(matrix.transposed().dense(), dense.T)
    near.check(matrix.columns_centred().dense(), dense @ centring)
    near.check(matrix.centred().dense(), centring @ dense @ centring)
    group = torch.repeat_interleave(torch.arange(len(matrix.sizes)), torch.tensor(matrix.sizes))
    near.check(torch.tensor(matrix.row_means(), dtype=torch.float64)[group], dense.mean(1))
    near.check(torch.tensor(matrix.column_means(), dtype=torch.float64)[group], dense.mean(0))


def symmetric_state(seed: int, sizes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means, weights and biases whose Gram matrices are constant on blocks: symmetrised random numbers.

    Every vector is a x (axis of its group) + b x (axis of its class) with the same numbers for all classes of a group.
    """
    draw = torch.Generator().manual_seed(seed)
    groups, k = len(sizes), sum(sizes)
    group = torch.repeat_interleave(torch.arange(groups), torch.tensor(sizes))
    rows = []
    for _ in range(2):
        shared = torch.randn(groups, groups, generator=draw, dtype=torch.float64)[group]
        own = torch.eye(k, dtype=torch.float64) * (1 + torch.rand(groups, generator=draw, dtype=torch.float64))[group]
        rows.append(torch.cat([shared, own], 1))
    return rows[0], rows[1], torch.randn(groups, generator=draw, dtype=torch.float64)


def as_blocks(dense: torch.Tensor, sizes: tuple[int, ...]) -> BlockMatrix:
    """The blocks of a dense matrix that has them."""
    starts = [sum(sizes[:g]) for g in range(len(sizes))]
    own = tuple(float(dense[s, s]) for s in starts)
    between = tuple(
        tuple(float(dense[s, t + (g == h)]) if sizes[h] > 1 or g != h else 0.0 for h, t in enumerate(starts))
        for g, s in enumerate(starts)
    )
    return BlockMatrix(sizes, own, between)


@pytest.mark.parametrize("sizes", [(4,), (2, 3), (1, 4), (2, 2, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_a_geometry_are_those_measured(sizes: tuple[int, ...], seed: int) -> None:
    means, weight, bias = symmetric_state(seed, sizes)
    geometry = Geometry(
        as_blocks(weight @ weight.T, sizes),
        as_blocks(means @ means.T, sizes),
        as_blocks(weight @ means.T, sizes),
        tuple(bias.tolist()),
    )
    k = sum(sizes)
    group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    features = LabelledFeatures(means.repeat_interleave(2, 0), torch.arange(k).repeat_interleave(2), k)
    evidence = Evidence(ClassStats.of(features), LinearHead(weight, bias[group]), features)
    predicted = geometry.metrics()
    measured, _, _ = measure_evidence(evidence, predicted)
    assert {"etf_error", "nc3_duality", "bias_collapse", "nc2_equinorm_weights"} <= predicted.keys()
    for name, value in predicted.items():
        assert measured[name].value == pytest.approx(value, rel=1e-9, abs=1e-12), name
    logits = weight @ means.T + bias[group][:, None]
    gaps = logits.diagonal() - logits.masked_fill(torch.eye(k, dtype=torch.bool), -torch.inf).amax(0)
    assert geometry.margin == pytest.approx(float(gaps.min()))


def test_a_hundred_thousand_classes_take_a_few_numbers() -> None:
    k = 100_000
    gram = BlockMatrix.uniform(k, 1 - 1 / k, -1 / k)
    found = Geometry(gram, gram, gram, (0.0,)).metrics()
    assert found["etf_error"] < 1e-9
    assert found["nc3_cosine"] == pytest.approx(1)
    with pytest.raises(InputError, match="a dense matrix must have at most 4096 classes, got 100000"):
        gram.dense()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="blocks must be one a group"):
        BlockMatrix((2, 2), (1.0,), ((0.0,),))
    with pytest.raises(InputError, match="cosines need positive squared norms, got 0"):
        BlockMatrix.uniform(3, 0.0, 0.0).cosines()
    one, other = BlockMatrix.uniform(3, 1.0, 0.0), BlockMatrix.uniform(4, 1.0, 0.0)
    with pytest.raises(InputError, match="the parts of a geometry must have the same groups"):
        Geometry(one, other, one, (0.0,))
