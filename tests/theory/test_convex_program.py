"""The convex program as such against closed forms."""

import pytest

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, Problem
from collapselab.theory.convex_program import solve_convex_program
from collapselab.theory.nuclear import nuclear_norm

PROBLEM = Problem.balanced(5, 7, 8, decay_head=4e-3, decay_features=2e-3)


def test_cross_entropy_is_that_of_the_specification_and_of_the_closed_form() -> None:
    landscape = CrossEntropyFeatures(PROBLEM)
    found = solve_convex_program(PROBLEM)
    assert found.value == pytest.approx(0.1760064020, abs=1e-9)
    assert found.value == pytest.approx(landscape.minimum, abs=1e-9)
    margins = found.logits.diagonal()[:, None] - found.logits
    assert float(margins.max()) == pytest.approx(landscape.margin, abs=1e-3)
    assert nuclear_norm(found.logits) == pytest.approx(4 * landscape.margin, rel=1e-3)
    assert float(found.bias.abs().max()) < 1e-12


def test_squared_error_is_soft_thresholding_of_the_labels() -> None:
    problem = Problem((6, 3, 1), 5, decay_head=2e-2, decay_features=5e-2)
    found, cut = solve_convex_program(problem, "mse"), 10 * (2e-2 * 5e-2) ** 0.5
    # One singular value root n_k a class: its logit is (1 - N sqrt(lambda_W lambda_H) / sqrt(n_k))+.
    expected = [max(0.0, 1 - cut / n**0.5) for n in problem.counts]
    assert found.logits.diagonal().tolist() == pytest.approx(expected, abs=1e-4)
    value = sum(n * (1 - x) ** 2 / 20 + cut / 10 * x * n**0.5 for n, x in zip(problem.counts, expected, strict=True))
    assert found.value == pytest.approx(value, abs=1e-8)


def test_a_free_bias_lowers_squared_error() -> None:
    free = Problem.balanced(5, 7, 8, decay_head=4e-3, decay_features=2e-3, bias="free")
    strength = 5 * (7 * 8e-6) ** 0.5
    found = solve_convex_program(free, "mse")
    assert found.value == pytest.approx(4 / 5 * (strength - strength**2 / 2), abs=1e-8)
    assert found.bias.tolist() == pytest.approx([0.2] * 5, abs=1e-4)


def test_refuses() -> None:
    with pytest.raises(InputError, match="loss must be one of"):
        solve_convex_program(PROBLEM, "hinge")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="nonnegative must be false"):
        solve_convex_program(Problem((2, 2), 2, 1.0, 1.0, nonnegative=True))
