"""Clusters by local elasticity: the verdict on made rows, what each arm is, and a smoke run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.dynamics import kernel_kmeans, kmeans, tangent_kernel
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.elasticity_clustering import (
    BETWEEN,
    BY_COSINES,
    BY_KERNEL,
    FOUND,
    METHODS,
    SETS,
    WITHIN,
    ElasticityClustering,
    _NoLayers,
)
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from experiments.made_rows import made_row
from tolerances import IDENTITY, REFERENCE

RECIPE = ElasticityClustering(seeds=3)
GOOD: dict[tuple[str, str], float | None] = {
    (name, method): 0.999 if method == "relu" else 0.55 for name in SETS for method in METHODS
}


def rows_of(change: dict[tuple[str, str], float | None], *, error: float = 0.01) -> list[Observation]:
    """Shares that differ a little between seeds, and an error of the last of them."""
    rows = []
    for (name, method), share in (GOOD | change).items():
        for seed in range(3):
            value = None if share is None else share + 0.001 * (seed - 1)
            numbers = {FOUND.name: value} | ({BY_COSINES.name: 0.9} if method == "relu" else {})
            for epoch in (0, 1):  # before training everything is as by chance
                made = numbers if epoch else dict.fromkeys(numbers, 0.5)
                wrong = error if seed == 2 and epoch else 0.5 * (1 - epoch)
                rows.append(made_row(made, arm=f"{name}-{method}-{seed}", epoch=epoch, error=wrong))
    return rows


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (
            {},
            "holds",
            "rings: ReLU network 0.999 ± 0.002 (before training 0.500), linear network 0.550 ± 0.002, k-means on",
        ),
        ({("rings", "relu"): 0.97}, "fails", "rings: ReLU network 0.970 ± 0.002"),
        (
            {("nuisance_blobs", "linear"): 0.7},
            "fails",
            "linear network 0.700 ± 0.002, k-means",
        ),
        ({("rings", "inputs"): 0.8}, "fails", "k-means on inputs 0.800"),
        ({("rings", "relu"): 0.99}, "inconclusive", "0.990 ± 0.002"),
        ({("rings", "inputs"): 0.6}, "inconclusive", "0.600 ± 0.002"),
        ({("rings", "relu"): None}, "inconclusive", "A number has no value"),
    ],
)
def test_verdict(change: dict[tuple[str, str], float | None], state: str, words: str) -> None:
    verdict = RECIPE.verdict(rows_of(change))
    assert verdict.state == state, verdict.statement
    assert words in verdict.statement
    if not change:
        assert verdict.figures["found_relu_rings"] == pytest.approx(0.999)
        assert verdict.figures["half_width_inputs_nuisance_blobs"] == pytest.approx(0.00248, rel=1e-2)
        assert verdict.figures["found_before_training_relu_rings"] == 0.5
        assert verdict.figures["found_by_cosines_relu_rings"] == pytest.approx(0.9)


@pytest.mark.parametrize("change", [{}, {("rings", "relu"): 0.6}])
def test_networks_that_have_not_learned_the_labels_decide_nothing(change: dict[Any, float | None]) -> None:
    """Not one way, nor the other."""
    verdict = RECIPE.verdict(rows_of(change, error=0.06))
    assert verdict.state == "inconclusive"
    assert verdict.statement.endswith(
        "ReLU networks have not learned the labels of rings and nuisance blobs, so that nothing is shown."
    )
    assert verdict.figures["training_error_relu_rings"] == 0.06


def test_one_seed_decides_nothing() -> None:
    assert ElasticityClustering(seeds=1).verdict([]).state == "inconclusive"


def test_smoke_run_tries_every_method_on_both_sets(tmp_path: Path) -> None:
    recipe = ElasticityClustering.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.epochs_done == recipe.epochs == 2 * 2 * (10 + 10 + 1)
    assert {(arm.settings["set"], arm.settings["method"]) for arm in run.arms} == set(GOOD)
    assert run.verdict is not None
    assert {f"half_width_{method}_{name}" for name, method in GOOD} <= run.verdict.figures.keys()
    rates = set()
    for row in RunFolder(tmp_path / "run").observations():
        assert (BY_KERNEL.name in row.result.measurements) == (row.split == "train" and "inputs" not in row.arm)
        if row.split == "train" and "relu" in row.arm:
            assert row.result[WITHIN.name] > row.result[BETWEEN.name]
        rates.add(row.learning_rate)
    assert len(rates) == 13  # one for each arm, by its own kernel, and none before training


def test_by_the_kernel_of_a_linear_classifier_clusters_are_those_of_the_inputs(generator: torch.Generator) -> None:
    """Theta(x, x') is a multiple of <x, x'> and a constant: what local elasticity adds comes from hidden layers."""
    network = _NoLayers().build((4,), 2).double()
    x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    y = torch.ones(30, dtype=torch.int64)
    kernel = tangent_kernel(network, x, y, read=lambda z, _: z[1] - z[0])
    REFERENCE.floor(1).check(kernel, 2 * (x @ x.T + 1))
    by_kernel, by_inputs = (
        kernel_kmeans(kernel, 3, generator=torch.Generator().manual_seed(0)),
        kmeans(x, 3, generator=torch.Generator().manual_seed(0)),
    )
    assert by_kernel.assignment.tolist() == by_inputs.assignment.tolist()
    IDENTITY.check(by_kernel.objective, 2 * by_inputs.objective)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        ({"samples_per_class": 3}, "samples_per_class must be an integer of at least 4, got 3"),
        ({"batch_size": 900}, "batch_size must be at most 600"),
        ({"rate_share": 2.0}, "rate_share must be a finite number above 0 and below 2, got 2.0"),
        ({"epochs_each": 0}, "epochs_each must be an integer of at least 1, got 0"),
        ({"widths": ()}, "widths must be"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ElasticityClustering(**fields)


@pytest.mark.slow
def test_hidden_groups_are_found(tmp_path: Path) -> None:
    """Acceptance row 8, one seed."""
    run_experiment(ElasticityClustering(seeds=1, epochs_each=100), tmp_path / "run")
    ends = {row.arm: row for row in RunFolder(tmp_path / "run").observations() if row.split == "train" and row.epoch}
    for name in SETS:
        assert ends[f"{name}-relu-0"].result[FOUND.name] >= 0.99
        assert ends[f"{name}-linear-0"].result[FOUND.name] <= 0.65
        assert ends[f"{name}-inputs-0"].result[FOUND.name] <= 0.65
