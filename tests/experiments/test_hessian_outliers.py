"""The outliers of the Hessian: the verdict on made rows, and a smoke run."""

from pathlib import Path
from typing import Any

import pytest

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.hessian_outliers import HessianOutliers
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row

pytest.importorskip("curvlinops")

RECIPE = HessianOutliers(seeds=3)

NUMBERS = {
    "hessian_class_overlap": 0.87,
    "hessian_rest": 0.002,
    "hessian_without_class": 0.34,
    "hessian_gap": 1.4,
    "gauss_newton_class": 0.42,
    "gauss_newton_cross": 0.4,
}


def rows_of(change: dict[str, float | None], *, start: float = 0.5, spread: float = 0.01) -> list[Observation]:
    """Numbers at the end, and an overlap at the start."""
    rows = []
    for seed in range(3):
        end: dict[str, float | None] = {**NUMBERS, **change}
        if end["hessian_class_overlap"] is not None:
            end["hessian_class_overlap"] += spread * (seed - 1)
        rows.append(made_row({**NUMBERS, "hessian_class_overlap": start}, arm=f"seed-{seed}", epoch=0, error=0.9))
        rows.append(made_row(end, arm=f"seed-{seed}", epoch=9))
    return rows


@pytest.mark.parametrize(
    ("change", "start", "spread", "state", "words"),
    [
        ({}, 0.5, 0.01, "holds", "overlap with the class gradients by 0.87 ± 0.02 (0.5 ± 0 at the start)"),
        ({"hessian_class_overlap": 0.45}, 0.5, 0.01, "fails", "by 0.45 ± 0.02"),
        ({"hessian_rest": 0.3}, 0.5, 0.01, "fails", "by 0.3 ± 0 of its norm"),
        ({}, 1.0, 0.01, "fails", "(1 ± 0 at the start)"),
        ({}, 0.5, 0.2, "inconclusive", "by 0.87 ± 0.5"),
        ({"hessian_gap": None}, 0.5, 0.01, "inconclusive", "A number has no value: hessian_gap"),
    ],
)
def test_verdict(change: dict[str, float | None], start: float, spread: float, state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(change, start=start, spread=spread))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement


def test_what_decides_nothing() -> None:
    late = [row.model_copy(update={"error": 0.1}) for row in rows_of({})]
    assert "the largest training error at the end is 0.1" in RECIPE.verdict(late).statement
    one = HessianOutliers(seeds=1).verdict(rows_of({}))
    assert (one.state, one.figures) == ("inconclusive", {})


def test_smoke_run_measures_curvature(tmp_path: Path) -> None:
    run = run_experiment(HessianOutliers.smoke(), tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "inconclusive"
    rows = [row for row in RunFolder(tmp_path / "run").observations() if row.split == "train"]
    shares = [sum(row.result[f"gauss_newton_{part}"] for part in ("class", "cross", "within", "own")) for row in rows]
    assert shares == pytest.approx([1.0] * len(rows), abs=1e-12)
    assert rows[0].result["hessian_rest"] > rows[1].result["hessian_rest"]
    assert rows[0].result["hessian_class_overlap"] < rows[1].result["hessian_class_overlap"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"looked_at": 0}, "looked_at must be an integer of at least 1, got 0"),
        ({"batch_size": 700}, "batch_size must be at most 600"),
        ({"widths": ()}, "widths"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HessianOutliers(**fields)
