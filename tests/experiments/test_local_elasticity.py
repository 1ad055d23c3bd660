"""The recipe on local elasticity along curves: correlations of a small run, and a verdict on intervals."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes._curved_pairs import Pairs, Points
from collapselab.experiments.recipes.local_elasticity import (
    CORRELATION,
    CURVES,
    DISTANCE,
    KINDS,
    PAIRS,
    SIGNED,
    SIMILARITY,
    LocalElasticity,
)
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.training.data.interleaved_curves import InterleavedCurves
from experiments.made_rows import made_row
from tolerances import REFERENCE

GOOD = {"torus-relu": -0.96, "torus-linear": -0.05, "boxes-relu": -0.93, "boxes-linear": 0.05}


def rows(values: Mapping[str, float | None], *, spread: float = 0.01) -> list[Observation]:
    """Two seeds about these correlations, and a correlation of -0.5 at the start."""
    made = []
    for name, value in values.items():
        for seed, sign in ((7, -1), (8, 1)):
            end = None if value is None else value + sign * spread / 12.7  # half width: 12.7 times half the difference
            arm = f"{name}-{seed}"
            made.append(made_row({CORRELATION.name: -0.5, SIGNED.name: -0.5}, arm=arm, epoch=0))
            made.append(made_row({CORRELATION.name: end, SIGNED.name: -0.9}, arm=arm, epoch=1, error=0.25))
            made.append(made_row({DISTANCE.name: 0.5, SIMILARITY.name: 0.1}, arm=arm, epoch=2, split=PAIRS))
    return made


@pytest.mark.parametrize(
    ("values", "spread", "state"),
    [
        (GOOD, 0.01, "holds"),
        (GOOD | {"torus-relu": -0.8}, 0.01, "fails"),
        (GOOD | {"boxes-linear": 0.4}, 0.01, "fails"),
        (GOOD | {"boxes-linear": -0.4}, 0.01, "fails"),
        (GOOD, 0.05, "inconclusive"),
        (GOOD | {"torus-linear": -0.295}, 0.01, "inconclusive"),
    ],
)
def test_verdict(values: Mapping[str, float], spread: float, state: str) -> None:
    verdict = LocalElasticity(seeds=2, seed=7).verdict(rows(values, spread=spread))
    assert verdict.state == state
    assert f"{values['torus-relu']:.3f} +- {spread:.3f} (ReLU, curves on a torus)" in verdict.statement
    assert verdict.figures["correlation_boxes_linear"] == pytest.approx(values["boxes-linear"])
    assert verdict.figures["correlation_before_boxes_relu"] == -0.5
    assert verdict.figures["signed_correlation_torus_linear"] == -0.9
    assert verdict.figures["accuracy_torus_relu"] == 0.75


def test_what_cannot_be_decided() -> None:
    assert LocalElasticity(seeds=1).verdict([]).statement == "One seed has no interval; at least 2 are needed."
    verdict = LocalElasticity(seeds=2, seed=7).verdict(rows(GOOD | {"torus-relu": None}))
    assert verdict.state == "inconclusive"
    assert "A correlation has no value" in verdict.statement


def test_a_small_run(tmp_path: Path) -> None:
    """Row 9 of the acceptance table, smaller: 128 units, 40 points."""
    recipe = LocalElasticity.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    found = RunFolder(tmp_path / "run").observations()
    assert len({row.arm for row in found}) == recipe.epochs == len(CURVES) * len(KINDS) * 2
    for curve in CURVES:
        assert float(run.verdict.figures[f"correlation_{curve}_relu"] or 0) <= -0.9
        assert abs(float(run.verdict.figures[f"correlation_{curve}_linear"] or 1)) <= 0.3
        assert float(run.verdict.figures[f"signed_correlation_{curve}_linear"] or 0) <= -0.9
    ends = [row for row in found if row.arm == "boxes-relu-0" and row.split == "train"]
    assert [row.step for row in ends] == [0, recipe.steps]
    assert ends[1].loss < ends[0].loss
    assert ends[1].error == pytest.approx(1 - ends[1].result["accuracy"])
    pairs = [row for row in found if row.arm == "boxes-relu-0" and row.split == PAIRS]
    assert [row.result[DISTANCE.name] for row in pairs] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    similar = [row.result[SIMILARITY.name] for row in pairs]
    assert similar == sorted(similar, reverse=True)
    assert not [row for row in found if row.arm == "boxes-relu-1" and row.split == PAIRS]


def test_pairs_are_those_of_one_class() -> None:
    points = Points.draw(InterleavedCurves(), 6, seed=3)
    torch.manual_seed(0)
    pairs = Pairs.of(nn.Linear(3, 1, bias=False), points)
    for label, x in enumerate(points.x.double().chunk(2)):
        wanted = [float(a @ b / (a @ a)) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
        REFERENCE.times(1e5).floor(1).check(pairs.similarity[label], wanted)  # the network is in float32
    correlations = [
        np.corrcoef(s.abs().numpy(), d.numpy())[0, 1] for s, d in zip(pairs.similarity, pairs.distance, strict=True)
    ]
    assert pairs.correlation(signed=False) == pytest.approx(np.mean(correlations))
    along = dict(pairs.along(2))
    near = torch.cat([d / d.max() < 0.5 for d in pairs.distance])
    assert along[0.25] == pytest.approx(float(torch.cat(pairs.similarity).abs()[near].mean()))


def test_pairs_that_are_all_alike_have_no_correlation() -> None:
    network = nn.Linear(3, 1)
    network.weight.requires_grad_(False)
    pairs = Pairs.of(network, Points.draw(InterleavedCurves(), 3, seed=0))
    assert pairs.correlation(signed=True) == "all pairs of a class are alike"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"hidden": 512}, "hidden must be a sequence of positive integers, got 512"),
        ({"hidden": ()}, "widths"),
        ({"samples_per_class": 2}, "samples_per_class must be an integer of at least 3"),
        ({"share": 2.0}, "share must be a finite number above 0"),
        ({"momentum": 1.0}, "momentum must be a finite number"),
        ({"bins": 1}, "bins must be an integer of at least 2"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LocalElasticity(**fields)  # pyright: ignore[reportArgumentType]
