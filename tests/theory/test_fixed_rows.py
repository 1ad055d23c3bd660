"""Features under fixed rows: the closed form of the simplex, polytopes that treat rare classes alike, brute force."""

import math

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import FixedClassifierFeatures, FixedRows, Problem, minimise

COUNTS = (30, 9, 2, 1)


def test_the_simplex_has_its_closed_form() -> None:
    found = FixedRows.polytope("simplex", COUNTS, 1e-3)
    known = FixedClassifierFeatures(Problem(COUNTS, 3, 0.0, 1e-3))
    assert found.minimum == pytest.approx(known.minimum, rel=1e-13)
    torch.testing.assert_close(found.class_means, known.length * known.classifier, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "cosine", "d"), [("simplex", -1 / 3, 3), ("orthoplex", 0.0, 2), ("cube", 0.0, 2)])
def test_features_lie_on_the_rows_of_a_polytope_with_one_length_for_rare_and_frequent(
    name: str, cosine: float, d: int
) -> None:
    found = FixedRows.polytope(name, COUNTS, 1e-3)  # pyright: ignore[reportArgumentType]
    assert found.problem.num_features == d
    lengths = (found.class_means * found.classifier).sum(1)
    torch.testing.assert_close(found.class_means, lengths[:, None] * found.classifier, rtol=0, atol=1e-12)
    assert float(lengths.std()) < 1e-12
    assert found.thresholds()["max_cosine"] == pytest.approx(cosine, abs=1e-12)


def test_eight_corners_of_a_cube() -> None:
    found = FixedRows.polytope("cube", (9, 8, 7, 6, 5, 3, 2, 1), 1e-3)
    assert found.thresholds()["max_cosine"] == pytest.approx(1 / 3, abs=1e-12)
    # beta solves N lambda beta = -dl/dbeta along the row: one number, by bisection.
    decay, gram = 41 * 1e-3, (found.classifier @ found.classifier.T)[0]

    def slope(beta: float) -> float:
        p = torch.softmax(beta * gram, 0)
        return float(p @ gram) - 1 + decay * beta

    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    assert float(found.class_means[5].norm()) == pytest.approx(low, rel=1e-10)


def test_rows_of_no_symmetry_agree_with_brute_force() -> None:
    rows = ((1.0, 0.2, 0.0), (0.5, 0.9, 0.1), (-1.0, 0.3, 2.0), (0.0, 0.0, 0.4))
    found = FixedRows(Problem((4, 3, 2, 1), 3, 0.0, 1e-4), rows)
    end = minimise(found, torch.Generator().manual_seed(0))
    assert end.stats["loss"] == pytest.approx(found.minimum, abs=1e-11)
    assert found.predicts()["ncc_accuracy"] == 1.0


def test_equal_rows_leave_their_classes_together() -> None:
    found = FixedRows(Problem((4, 3, 2), 2, 0.0, 1e-2), ((1.0, 0.0), (1.0, 0.0), (-1.0, 0.0)))
    assert "cdnv" not in found.predicts()
    assert found.predicts()["nc1_pinv"] == 0.0
    assert found.thresholds()["margin"] == pytest.approx(0, abs=1e-12)
    assert FixedRows(Problem((4, 3), 1, 0.0, 1e-2), ((1.0,), (1.0,))).predicts() == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": ((1.0, 0.0),)}, "rows must be 2 of 2 numbers, got 1"),
        ({"rows": ((1.0,), (0.0,))}, "rows must be 2 of 2 numbers"),
        ({"rows": ((1.0, 0.0), (0.0, math.nan))}, "rows must be finite"),
        ({"decay_features": 0.0}, "decay_features must be above 0"),
        ({"decay_head": 0.1}, "decay_head must be 0"),
        ({"bias": "free"}, "bias 'none'"),
    ],
)
def test_refuses(changed: dict[str, object], message: str) -> None:
    given = {"counts": (3, 2), "num_features": 2, "decay_head": 0.0, "decay_features": 1e-2} | changed
    rows = given.pop("rows", ((1.0, 0.0), (0.0, 1.0)))
    with pytest.raises(InputError, match=message):
        FixedRows(Problem(**given), rows)  # pyright: ignore[reportArgumentType]


def test_refuses_polytopes_without_so_many_corners() -> None:
    with pytest.raises(InputError, match="must be even"):
        FixedRows.polytope("orthoplex", (3, 2, 1), 1e-3)
    with pytest.raises(InputError, match="power of two"):
        FixedRows.polytope("cube", (3, 2, 1), 1e-3)
    with pytest.raises(InputError, match="name must be one of"):
        FixedRows.polytope("ball", (3, 2, 1), 1e-3)  # pyright: ignore[reportArgumentType]
