"""NC4 and accuracies: the bias takes part, offsets cost no decision, the second look is made once."""

import pytest
import torch

from collapselab import metrics
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import Evidence, measure_evidence
from collapselab.metrics._measure import evaluate
from metrics.contract_problems import PROBLEMS, random_problem
from tolerances import IDENTITY


def nearest_mean_rule(stats: ClassStats) -> LinearHead:
    """The linear classifier that decides for the nearest class mean: argmax <m, h> - |m|^2 / 2."""
    return LinearHead(stats.means, -0.5 * stats.means.square().sum(1))


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_mean_rule_as_a_classifier_never_disagrees(offset, dtype):
    problem = random_problem((400, 300, 500, 350, 450), 16, offset=offset, spread=3.0, seed=11)
    features = LabelledFeatures(problem.h.to(dtype), problem.y, 5)
    stats = ClassStats.of(features)
    rule = nearest_mean_rule(stats)
    evidence = Evidence(stats, rule, features)
    assert float(evaluate(metrics.REGISTRY["nc4_disagreement"], evidence)) == 0.0
    assert 0.3 < float(evaluate(metrics.REGISTRY["accuracy"], evidence)) < 0.999  # a problem with errors to disagree on
    without_bias = Evidence(stats, LinearHead(rule.weight), features)
    assert float(evaluate(metrics.REGISTRY["nc4_disagreement"], without_bias)) > 0.01


def test_class_accuracies_add_up_to_the_accuracy():
    evidence = PROBLEMS["imbalanced"].evidence()
    counts = evidence.stats.counts.double()
    for whole, parts in (("accuracy", "class_accuracy"), ("ncc_accuracy", "class_ncc_accuracy")):
        share = evaluate(metrics.REGISTRY[parts], evidence) @ counts / counts.sum()
        IDENTITY.check(evaluate(metrics.REGISTRY[whole], evidence), share)


def test_disagreement_does_not_look_at_labels():
    problem = PROBLEMS["balanced"]
    stats = problem.evidence().stats
    other = LabelledFeatures(problem.h, problem.y.flip(0), 4)
    head = LinearHead(problem.w, problem.b)
    metric = metrics.REGISTRY["nc4_disagreement"]
    assert evaluate(metric, Evidence(stats, head, other)) == evaluate(metric, Evidence(stats, head, problem.features))


def test_features_are_looked_at_once_for_all_metrics_of_decisions():
    class Counted:
        def __init__(self, features):
            self.features, self.num_classes, self.looks = features, features.num_classes, 0

        def chunks(self, rows=8192):
            self.looks += 1
            yield from self.features.chunks(rows)

    problem = PROBLEMS["balanced"]
    source = Counted(problem.features)
    names = [n for n, m in metrics.REGISTRY.items() if m.family == "decision"]
    measure_evidence(Evidence(ClassStats.of(problem.features), LinearHead(problem.w), source), names)
    assert len(names) == 5
    assert source.looks == 1


def test_a_split_without_samples_of_a_class():
    problem = PROBLEMS["balanced"]
    stats, some = problem.evidence().stats, problem.y != 2
    evidence = Evidence(stats, LinearHead(problem.w), LabelledFeatures(problem.h[some], problem.y[some], 4))
    assert float(evaluate(metrics.REGISTRY["accuracy"], evidence)) > 0
    with pytest.raises(UndefinedMetric, match="class 2 has a mean but no sample"):
        evaluate(metrics.REGISTRY["class_accuracy"], evidence)


def test_only_samples_of_classes_without_a_mean():
    problem = random_problem((5, 5, 0), 3)
    strangers = LabelledFeatures(problem.h, torch.full_like(problem.y, 2), 3)
    with pytest.raises(UndefinedMetric, match="no sample"):
        evaluate(metrics.REGISTRY["ncc_accuracy"], Evidence(problem.evidence().stats, None, strangers))
