"""What every registered metric promises. A new metric is under all of this without a line being written here."""

import importlib
import inspect
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collapselab.core.cite import references
from collapselab.core.errors import UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead, OnlineStats
from collapselab.metrics import REGISTRY, Evidence, measure_evidence
from collapselab.metrics._measure import evaluate
from metrics.contract_problems import PROBLEMS, Problem, collapsed_problem, random_problem
from tolerances import IDENTITY, PRECISION, REFERENCE

METRICS = sorted(REGISTRY)
SEEDS = st.integers(0, 2**31 - 1)

# Where a value is near 0 the rounding of the numbers it was made from, of order one, is what may differ.
FLOOR = 1e-3


def value_of(name: str, evidence: Evidence):
    """The value, or None where it is undefined."""
    try:
        return evaluate(REGISTRY[name], evidence)
    except UndefinedMetric:
        return None


def ordinary(name: str) -> str:
    """An ordinary problem for a metric: balanced, unless it compares classes of different sizes."""
    return "imbalanced" if REGISTRY[name].family == "class_groups" else "balanced"


def both_or_neither(name, found, expected, policy):
    assert (found is None) == (expected is None), f"{name}: {found} beside {expected}"
    if expected is not None:
        policy.floor(FLOOR).check(found, expected)


# ------------------------------------------------------------------------------------------------ the declaration
@pytest.mark.parametrize("name", METRICS)
def test_declaration_says_everything(name):
    metric = REGISTRY[name]
    text = inspect.getdoc(metric.fn) or ""
    assert metric.label
    assert metric.symbol
    assert metric.unit
    assert metric.summary.endswith(".")
    assert "Returns:" in text
    assert metric.range[0] < metric.range[1]
    assert metric.source in references()
    assert metric.invariant_under, "a metric is at least blind to the names of the classes"
    assert "relabelling" in metric.invariant_under


@pytest.mark.parametrize("name", METRICS)
def test_declared_limit_lies_in_the_declared_range(name):
    metric = REGISTRY[name]
    for k, d in ((2, 2), (3, 2), (10, 64), (10, 4)):
        limit = metric.limit(k, d)
        low, high = metric.range
        assert limit is None or low - 1e-12 <= limit <= high + 1e-12


# ------------------------------------------------------------------------------------------------ the value
def reference_twin(name: str):
    """`reference_<name>` from one of the ``reference_*.py`` beside this file."""
    for file in sorted(Path(__file__).parent.glob("reference_*.py")):
        module = importlib.import_module(f"metrics.{file.stem}")
        if hasattr(module, f"reference_{name}"):
            return getattr(module, f"reference_{name}")
    return None


@pytest.mark.parametrize("name", METRICS)
def test_reference_twin_exists(name):
    assert reference_twin(name) is not None, f"write reference_{name}(h, y, w, b) in tests/metrics/reference_*.py"


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", METRICS)
def test_agrees_with_its_reference_twin(name, problem):
    found = value_of(name, PROBLEMS[problem].evidence())
    if found is None:
        pytest.skip("undefined here")
    REFERENCE.floor(FLOOR).check(found, reference_twin(name)(*PROBLEMS[problem].arrays()))


@pytest.mark.parametrize("name", METRICS)
def test_is_defined_somewhere_ordinary(name):
    assert value_of(name, PROBLEMS[ordinary(name)].evidence()) is not None


@pytest.mark.parametrize("name", METRICS)
@given(
    counts=st.lists(st.integers(0, 9), min_size=2, max_size=7).filter(lambda c: sum(n > 0 for n in c) > 1),
    features=st.integers(1, 9),
    offset=st.sampled_from([0.0, 1.0, 1e3]),
    spread=st.sampled_from([0.0, 1e-6, 0.3, 5.0]),
    single=st.booleans(),
    seed=SEEDS,
)
@settings(max_examples=15)
def test_lies_in_its_range(name, counts, features, offset, spread, single, seed):
    problem = random_problem(tuple(counts), features, offset=offset, spread=spread, seed=seed)
    value = value_of(name, (problem.single() if single else problem).evidence())
    if value is not None:
        low, high = REGISTRY[name].range
        assert bool(torch.isfinite(value).all())
        assert float(value.min()) >= low - 1e-12
        assert float(value.max()) <= high + 1e-12 * max(1.0, abs(high) if math.isfinite(high) else 1.0)


@pytest.mark.parametrize(("classes", "features"), [(3, 2), (4, 4), (10, 9), (10, 40)])
@pytest.mark.parametrize("name", METRICS)
def test_value_at_exact_collapse(name, classes, features):
    limit = REGISTRY[name].limit(classes, features)
    if limit is None:
        pytest.skip("collapse does not fix its value")
    half = classes // 2
    profiles = [(6,) * classes, (12,) * half + (4,) * (classes - half), (12,) * (classes - half) + (4,) * half]
    values = (value_of(name, collapsed_problem(classes, features, counts=counts).evidence()) for counts in profiles)
    value = next((found for found in values if found is not None), None)
    assert value is not None, "undefined at the limit that it declares"
    torch.testing.assert_close(value, torch.full_like(value, limit), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------ invariances
def rotated(problem: Problem, g: torch.Generator) -> Problem:
    d = problem.h.shape[1]
    q = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    return replace(problem, h=problem.h @ q, w=problem.w @ q)


def scaled(problem: Problem, g: torch.Generator) -> Problem:
    return replace(problem, h=problem.h * float(torch.randn((), generator=g).exp()))


def translated(problem: Problem, g: torch.Generator) -> Problem:
    return replace(problem, h=problem.h + 3 * torch.randn(problem.h.shape[1], generator=g, dtype=torch.float64))


def relabelled(problem: Problem, g: torch.Generator) -> Problem:
    new = torch.randperm(problem.num_classes, generator=g)
    old = torch.argsort(new)
    b = None if problem.b is None else problem.b[old]
    return replace(problem, y=new[problem.y], w=problem.w[old], b=b)


def mapped(problem: Problem, g: torch.Generator) -> Problem:
    d = problem.h.shape[1]
    u = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q
    stretch = torch.rand(d, generator=g, dtype=torch.float64) * 4 + 1  # condition number at most 5
    return replace(problem, h=problem.h @ (u * stretch) @ v)


def head_scaled(problem: Problem, g: torch.Generator) -> Problem:
    a = float(torch.randn((), generator=g).exp())
    return replace(problem, w=problem.w * a, b=None if problem.b is None else problem.b * a)


def duplicated(problem: Problem, g: torch.Generator) -> Problem:
    return replace(problem, h=problem.h.repeat(2, 1), y=problem.y.repeat(2))


CHANGES = {
    "rotation": rotated,
    "scale": scaled,
    "translation": translated,
    "relabelling": relabelled,
    "linear": mapped,
    "head_scale": head_scaled,
    "duplication": duplicated,
}
DECLARED = [(name, change) for name in METRICS for change in REGISTRY[name].invariant_under]


@pytest.mark.parametrize(("name", "change"), DECLARED)
@given(
    counts=st.lists(st.integers(2, 7), min_size=2, max_size=6),
    features=st.integers(2, 8),
    bias=st.booleans(),
    seed=SEEDS,
)
@settings(max_examples=6)
def test_declared_invariance_holds(name, change, counts, features, bias, seed):
    assume(sum(counts) > features + 1)  # fewer samples are linearly independent: some metrics are undefined there
    problem = random_problem(tuple(counts), features, bias=bias, seed=seed)
    changed = CHANGES[change](problem, torch.Generator().manual_seed(seed))
    before, after = value_of(name, problem.evidence()), value_of(name, changed.evidence())
    if change == "relabelling" and REGISTRY[name].per_class and after is not None:
        new = torch.randperm(problem.num_classes, generator=torch.Generator().manual_seed(seed))
        after = after[new]
    both_or_neither(name, after, before, IDENTITY)


# ------------------------------------------------------------------------------------------------ the moments
def merged_in_pieces(problem: Problem, cuts: list[int], order: list[int]) -> ClassStats:
    """Moments of pieces of the samples, some through `OnlineStats`, merged in some order as a tree."""
    n = problem.y.numel()
    edges = [0, *sorted({c % (n - 1) + 1 for c in cuts}), n]
    parts = []
    for at, (start, stop) in enumerate(itertools.pairwise(edges)):
        h, y = problem.h[start:stop], problem.y[start:stop]
        if at % 2:
            parts.append(ClassStats.of(LabelledFeatures(h, y, problem.num_classes)))
        else:
            online = OnlineStats(problem.num_classes)
            for row in range(h.shape[0]):
                online.update(h[row : row + 1], y[row : row + 1])
            parts.append(online.stats())
    for pick in [*order, *[0] * len(parts)]:
        if len(parts) == 1:
            break
        first = parts.pop(pick % len(parts))
        second = parts.pop(pick % len(parts))
        parts.append(first.merge(second))
    return parts[0]


@pytest.mark.parametrize("name", METRICS)
@given(
    cuts=st.lists(st.integers(0, 1000), max_size=5),
    order=st.lists(st.integers(0, 1000), max_size=6),
    seed=SEEDS,
)
@settings(max_examples=5)
def test_merged_moments_give_the_same_value(name, cuts, order, seed):
    problem = random_problem((7, 5, 9, 6), 5, seed=seed, offset=10.0)
    in_pieces = problem.evidence(merged_in_pieces(problem, cuts, order))
    both_or_neither(name, value_of(name, in_pieces), value_of(name, problem.evidence()), IDENTITY)


@pytest.mark.parametrize("problem", [name for name in PROBLEMS if name != "far from the origin"])
@pytest.mark.parametrize("name", METRICS)
def test_float32_features_are_close_to_float64(name, problem):
    exact = value_of(name, PROBLEMS[problem].evidence())
    rounded = value_of(name, PROBLEMS[problem].single().evidence())
    both_or_neither(name, rounded, exact, PRECISION.at(PROBLEMS[problem].y.numel()))


# ------------------------------------------------------------------------------------------------ undefined evidence
WITHOUT = {
    "scatter": lambda e: replace(e, stats=replace(e.stats, scatter=None)),
    "head": lambda e: replace(e, head=None),
    "bias": lambda e: replace(e, head=LinearHead(e.head.weight)),
    "features": lambda e: replace(e, features=None),
}


@pytest.mark.parametrize(("name", "need"), [(n, need) for n in METRICS for need in REGISTRY[n].needs])
def test_missing_evidence_is_a_reason_not_a_number(name, need):
    metric = REGISTRY[name]
    scalars, per_class, _ = measure_evidence(WITHOUT[need](PROBLEMS[ordinary(name)].evidence()), [name])
    found = per_class[name] if metric.per_class else scalars[name]
    assert found.undefined
    assert need in found.undefined or "moments" in found.undefined or "classifier" in found.undefined


@pytest.mark.parametrize("name", METRICS)
def test_undeclared_evidence_is_not_looked_at(name):
    bare = PROBLEMS[ordinary(name)].evidence()
    for need, without in WITHOUT.items():
        if need not in REGISTRY[name].needs and not (need == "bias" and "head" in REGISTRY[name].needs):
            bare = without(bare) if need != "bias" or bare.head is not None else bare
    assert value_of(name, bare) is not None


def _degenerate() -> dict[str, Problem]:
    ones = torch.ones(6, 3, dtype=torch.float64)
    y = torch.arange(6) % 3
    w = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spread = random_problem((4, 4, 4), 3, seed=9)
    return {
        "one class": random_problem((0, 6, 0), 4),
        "one sample": random_problem((1, 0), 3),
        "one sample a class": random_problem((1, 1, 1, 1), 5),
        "all samples the same": Problem(ones * 0.1, y, w, None, 3),
        "all samples zero": Problem(ones * 0, y, w, None, 3),
        "a head of zeros": replace(spread, w=spread.w * 0, b=spread.b * 0),
        "one feature": random_problem((4, 4, 4), 1),
        "a mean at the global mean": Problem(
            torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]).double()[y], y, w[:, :2], None, 3
        ),
        "means that coincide": Problem(
            torch.cat([spread.h, -spread.h]) + 0.3, (torch.arange(24) // 4) % 3, spread.w, None, 3
        ),
        "enormous values": replace(spread, h=spread.h * 1e200),
        "tiny values": replace(spread, h=spread.h * 1e-200),
        "two classes at the same place": replace(spread, h=spread.h * 0 + spread.w[(spread.y > 0).long()]),
    }


@pytest.mark.parametrize("case", _degenerate())
def test_degenerate_evidence_gives_numbers_in_range_or_reasons(case):
    scalars, per_class, declarations = measure_evidence(_degenerate()[case].evidence())
    assert set(scalars) | set(per_class) == set(declarations) == set(METRICS)
    for name in METRICS:
        found = per_class[name] if REGISTRY[name].per_class else scalars[name]
        if found.undefined is None:
            values = found.values if REGISTRY[name].per_class else (found.value,)
            low, high = REGISTRY[name].range
            assert all(low - 1e-9 <= v <= high + 1e-9 for v in values), (name, values)
        else:
            assert len(found.undefined) > 10
