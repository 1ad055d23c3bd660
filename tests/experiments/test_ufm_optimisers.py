"""Optimisers on unconstrained features: the run ends where theory says, and the verdict says what the rows say."""

from pathlib import Path

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.ufm_optimisers import UfmOptimisers
from collapselab.records import RunFolder
from experiments.made_rows import made_row

ARMS = ("sgd", "adam", "lbfgs", "gradient_flow")


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_smoke_run_ends_at_the_stated_optimum(loss: str, tmp_path: Path) -> None:
    """The objective that the run records is that of the weights it keeps, by the formula of the model."""
    recipe = UfmOptimisers(**{**vars(UfmOptimisers.smoke()), "loss": loss})
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict.statement
    folder = RunFolder(tmp_path / "run")
    rows = [row for row in folder.observations() if row.split == "train"]
    assert tuple(dict.fromkeys(row.arm for row in rows)) == ARMS
    for arm in ARMS:
        first, last = next(row for row in rows if row.arm == arm), [row for row in rows if row.arm == arm][-1]
        assert first.result["excess_objective"] > 0.1
        assert last.result["excess_objective"] < 1e-6
        assert last.result["largest_deviation"] < 1e-3
        # Decay of the head by hand: what the loop calls loss holds the decay of the features, not that of the head.
        decay_of_head = (recipe.landscape.minimum * (1 + last.result["excess_objective"]) - last.loss) * 2
        assert decay_of_head == pytest.approx(recipe.decay_head * _squares(folder, arm), rel=1e-6)


def _squares(folder: RunFolder, arm: str) -> float:
    weights = folder.read_weights(arm=arm)
    return sum(float(torch.as_tensor(weights[name]).double().square().sum()) for name in ("head.weight", "head.bias"))


@pytest.mark.parametrize(
    ("excess", "apart", "state", "words"),
    [
        (1e-8, 1e-5, "holds", "All four optimisers ended at the stated optimum, at most 1.0e-08"),
        (1e-3, 1e-5, "fails", "SGD did not end at the stated optimum; the worst was 1.0e-03 above it"),
        (1e-8, 0.1, "fails", "SGD did not end at the stated optimum"),
        (1e-8, None, "fails", "SGD did not end at the stated optimum"),
    ],
)
def test_verdict(excess: float, apart: float | None, state: str, words: str) -> None:
    fine = {"excess_objective": 1e-9, "largest_deviation": 1e-6}
    rows = [made_row(fine, arm=arm, epoch=9) for arm in ARMS[1:]]
    rows.append(made_row({"excess_objective": excess, "largest_deviation": apart}, arm="sgd", epoch=9))
    verdict = UfmOptimisers().verdict(rows)
    assert verdict.state == state
    assert words in verdict.statement


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of cross_entropy, mse, got 'hinge'"),
        ({"decay_head": 0.0}, "decay_head must be a finite number above 0, got 0.0"),
        ({"steps": 5}, "steps must be an integer of at least 10, got 5"),
        ({"num_features": 5}, "num_features must be at least 9"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        UfmOptimisers(**settings)  # pyright: ignore[reportArgumentType]
