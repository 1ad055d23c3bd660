"""Sizes of features and classifier: against their twins, the balance of decay, and where squares overflow."""

import math

import pytest
import torch

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics.norms import feature_norm, weight_norm
from collapselab.theory import CrossEntropyFeatures, Problem
from metrics import reference_norms as reference
from metrics.samples import SHAPES, evidence, problem
from tolerances import IDENTITY, REFERENCE


@pytest.mark.parametrize("shape", SHAPES)
def test_twins(shape: str) -> None:
    h, y = problem(*SHAPES[shape])
    REFERENCE.check(feature_norm(evidence(h, y)[0]), reference.reference_feature_norm(h, y, None, None))
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    REFERENCE.check(weight_norm(LinearHead(weight)), reference.reference_weight_norm(None, None, weight.numpy(), None))


def test_decay_is_balanced_at_a_minimiser() -> None:
    asked = Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=2e-3)
    model = CrossEntropyFeatures(asked)
    state = model.minimiser()
    features = ClassStats.of(model.features(state))
    squared = asked.num_samples * feature_norm(features) ** 2
    IDENTITY.check(asked.decay_features * squared, asked.decay_head * weight_norm(model.head(state)) ** 2)


def test_zero_is_a_size_and_overflow_is_none() -> None:
    assert float(weight_norm(LinearHead(torch.zeros(2, 2, dtype=torch.float64)))) == 0
    IDENTITY.check(weight_norm(LinearHead(torch.full((2, 2), 1e200, dtype=torch.float64))), 2e200)
    y = torch.tensor([0, 1])
    assert float(feature_norm(ClassStats.of(LabelledFeatures(torch.zeros(2, 3).double(), y, 2)))) == 0
    with pytest.raises(UndefinedMetric, match="overflow"):
        feature_norm(ClassStats.of(LabelledFeatures(torch.full((2, 3), 1e200, dtype=torch.float64), y, 2)))
    large = LabelledFeatures(torch.full((2, 3), 1e150, dtype=torch.float64), y, 2)
    assert math.isfinite(float(feature_norm(ClassStats.of(large))))
