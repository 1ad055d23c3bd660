"""Problems: what they refuse, and what loss and penalty are by hand."""

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.theory import CrossEntropyFeatures, Problem

FINE = {"counts": (2, 3), "num_features": 4, "decay_head": 0.1, "decay_features": 0.2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": (3,)}, "counts must be those of two classes or more, got"),
        ({"counts": 5}, "counts must be those of two classes or more, got 5"),
        ({"counts": (3, 0)}, r"counts\[1\] must be an integer of at least 1, got 0"),
        ({"counts": (3, 2.5)}, r"counts\[1\] must be an integer of at least 1, got 2.5"),
        ({"num_features": 0}, "num_features must be an integer of at least 1, got 0"),
        ({"decay_head": -1.0}, "decay_head must be a finite number of at least 0, got -1.0"),
        ({"decay_features": float("nan")}, "decay_features must be a finite number of at least 0, got nan"),
        ({"decay_head": 1e-200, "decay_features": 1e-200}, "must be 0 or at least 1e-290, got 1e-200 times 1e-200"),
        ({"bias": "some"}, "bias must be one of none, free, decay, got 'some'"),
        ({"bias": "decay"}, "decay_bias must be above 0 for a bias that is decayed, got 0"),
        ({"decay_bias": 0.1}, "decay_bias must be 0 with bias 'none', got 0.1"),
    ],
)
def test_bad_problems(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Problem(**{**FINE, **changes})  # pyright: ignore[reportArgumentType]


def test_sizes() -> None:
    problem = Problem(**FINE)  # pyright: ignore[reportArgumentType]
    assert (problem.num_classes, problem.num_samples, problem.is_balanced) == (2, 5, False)
    assert problem.labels.tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(InputError, match="classes must have one size here, got sizes 2 to 3"):
        problem.per_class  # noqa: B018
    assert Problem.balanced(3, 2, 4, decay_head=0.1, decay_features=0.1).per_class == 2


@pytest.mark.parametrize(("bias", "decay_bias"), [("none", 0.0), ("free", 0.0), ("decay", 0.3)])
def test_loss_is_mean_plus_decay(bias: str, decay_bias: float) -> None:
    """Slow twin: sample by sample, entry by entry."""
    problem = Problem.balanced(3, 2, 4, decay_head=0.1, decay_features=0.2, bias=bias, decay_bias=decay_bias)
    landscape = CrossEntropyFeatures(problem)
    state = landscape.draw(torch.Generator().manual_seed(0))
    h, weight = state["h"].numpy(), state["weight"].numpy()
    b = state["bias"].numpy() if bias != "none" else np.zeros(3)
    total = 0.0
    for i in range(6):
        z = [sum(weight[k, j] * h[i, j] for j in range(4)) + b[k] for k in range(3)]
        total += (np.log(sum(np.exp(z))) - z[i // 2]) / 6
    total += 0.05 * (weight**2).sum() + 0.1 * (h**2).sum() + decay_bias / 2 * (b**2).sum()
    assert float(landscape.loss(state)) == pytest.approx(total, rel=1e-12)
    found = landscape.head(state).bias
    assert (found is None) == (bias == "none")
    assert found is None or torch.equal(found, state["bias"])
