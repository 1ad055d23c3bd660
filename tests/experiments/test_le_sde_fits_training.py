"""The recipe on the locally elastic ODE beside trainings: its rows, how it goes on, and its verdict."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.experiments import run_experiment
from collapselab.experiments.events import Event, Observed, SafePoint, Snapshot
from collapselab.experiments.followed import Followed
from collapselab.experiments.probe import Probe
from collapselab.experiments.recipes._fitted_elasticity import of_moments, of_whole, whole
from collapselab.experiments.recipes._fitted_numbers import MOMENT, WHOLE
from collapselab.experiments.recipes.le_sde_fits_training import LeSdeFitsTraining
from collapselab.records import RunFolder
from collapselab.records.schema import Observation
from collapselab.theory.elastic_fit import ClassSums, elasticity, identity_exponents
from collapselab.training.data import Samples
from collapselab.training.trials import Trials
from experiments.made_rows import made_row
from tolerances import EXACT, IDENTITY

CLEAN = {
    "share_intra_above_inter": (0.95, 0.02),
    "tail_index": (0.65, 0.02),
    "tail_index_entries": (0.64, 0.02),
    "tail_index_local": (0.62, 0.1),
    "l_model_error": (0.38, 0.03),
    "l_model_cosine": (0.92, 0.02),
    "i_model_error": (0.7, 0.2),
    "frozen_error": (0.99, 0.01),
    "straight_error": (1.0, 0.01),
    "l_model_gain": (0.6, 0.05),
}
NOISY = CLEAN | {"share_intra_above_inter": (0.5, 0.05), "tail_index": (1.02, 0.08)}


def rows(clean: Mapping[str, Any] | None = None, noisy: Mapping[str, Any] | None = None) -> list[Observation]:
    """The last rows of both arms: a value and half the width of its interval, or None for no value."""
    made = []
    for arm, given in (("noise0", CLEAN | (clean or {})), ("noise0.666667", NOISY | (noisy or {}))):
        values: dict[str, float | None] = {}
        for name, found in given.items():
            value, half = (None, 0.0) if found is None else found
            values |= {name: value, f"{name}_low": None if value is None else value - half}
            values[f"{name}_high"] = None if value is None else value + half
        made.append(made_row(values, split="test", arm=arm, error=0.02))
    return made


@pytest.mark.parametrize(
    ("made", "state", "words"),
    [
        (rows(), "holds", r"above that between for 0.95 [0.93, 0.97] of the time without noise and 0.5 [0.45, 0.55]"),
        (rows(), "holds", "fitted within the sample, is 0.38 off at the end, frozen means 0.99"),
        (rows({"share_intra_above_inter": (0.6, 0.1)}), "fails", "0.6 [0.5, 0.7]"),
        (rows({"share_intra_above_inter": (0.76, 0.1)}), "inconclusive", "0.76"),
        (rows({"tail_index": (0.8, 0.02)}), "fails", "0.8 [0.78, 0.82]"),
        (rows({"l_model_gain": (-0.1, 0.05)}), "fails", "the L-model"),
        (rows(noisy={"share_intra_above_inter": (0.9, 0.1)}), "fails", "0.9 [0.8, 1]"),
        (rows(noisy={"tail_index": (0.93, 0.1)}), "inconclusive", "0.93"),
        (rows({"share_intra_above_inter": (0.76, 0.1)}, {"tail_index": (0.7, 0.1)}), "fails", "0.76"),
        (rows(noisy={"tail_index": None}), "inconclusive", "tail_index has no value: there is no such thing."),
    ],
)
def test_verdict(made: list[Observation], state: str, words: str) -> None:
    verdict = LeSdeFitsTraining().verdict(made)
    assert verdict.state == state
    assert words in verdict.statement
    assert verdict.figures["l_model_error_at_0"] == made[0].result["l_model_error"]
    assert verdict.figures["test_accuracy_at_0.667"] == pytest.approx(0.98)


@pytest.mark.parametrize(("clean", "noisy"), [(0.0, 0.1), (0.1, 2 / 3)])
def test_other_levels_of_noise_decide_nothing(clean: float, noisy: float) -> None:
    """Numbers that would refute or bear out the claim at the levels that it is about."""
    names = f"noise{clean:.6g}", f"noise{noisy:.6g}"
    made = [row.model_copy(update={"arm": name}) for row, name in zip(rows(), names, strict=True)]
    verdict = LeSdeFitsTraining(noises=(clean, noisy)).verdict(made)
    assert verdict.state == "inconclusive"
    assert f"label noise {clean:.3g} and {noisy:.3g} were compared" in verdict.statement


def test_a_moment_that_is_past_is_refused() -> None:
    x, y = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    samples = Samples(x, y)
    course = Followed(Trials([torch.nn.Linear(5, 3)], samples, generators(0, "a"), learning_rate=0.1))
    course.go_on(3, samples)
    with pytest.raises(InputError, match="moment must be an integer of at least 3, got 2"):
        course.go_on(2, samples)


def test_rows_of_a_small_run(tmp_path: Path) -> None:
    recipe = LeSdeFitsTraining.smoke()
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.epochs_done == run.epochs == 2
    folder = RunFolder(tmp_path / "run")
    found = folder.observations()
    assert [row.step for row in found] == [0, 50, 100, 150, 200] * 2
    assert {row.arm for row in found} == {"noise0", "noise0.666667"}
    for row in found:
        assert row.split == "test"
        assert row.result["iteration"] == row.step
        assert {entry.name for entry in MOMENT} <= row.result.measurements.keys()
        assert [len(row.result.per_class[f"mean_logit_{j}"].values or ()) for j in range(3)] == [3] * 3
    ends = [row for row in found if row.step == 200]
    assert all(
        row.result["tail_index_low"] <= row.result["tail_index"] <= row.result["tail_index_high"] for row in ends
    )
    assert run.declarations["mean_logit_0"].per_class
    (moment, _) = folder.snapshots()
    matrix = folder.read_snapshot(moment.epoch, step=moment.step, arm=moment.arm)["matrix.class_means"]
    vectors = [ends[0].result.per_class[f"mean_logit_{j}"].values for j in range(3)]
    EXACT.check(torch.as_tensor(matrix).T, torch.tensor(vectors, dtype=torch.float32))


def test_goes_on_from_within_an_arm() -> None:
    """To the same rows and pictures, from any safe point."""
    recipe = LeSdeFitsTraining(trials=2, iterations=200, samples_per_class=5, test_per_class=2, window=21, draws=20,
                               measurements=2)  # fmt: skip
    seen: list[Event] = []
    states = []
    for event in recipe.run(Probe.on("cpu")):
        seen.append(event)
        if isinstance(event, SafePoint):
            kept = io.BytesIO()
            torch.save(event.state(), kept)
            states.append((len(seen), kept))
    assert len(states) == 8
    for at, kept in (states[1], states[5]):
        kept.seek(0)
        rest = list(recipe.run(Probe.on("cpu", torch.load(kept, weights_only=True))))
        expected, again = (
            [event.observation for event in events if isinstance(event, Observed)] for events in (seen[at:], rest)
        )
        assert again == expected
        arrays = [[e.arrays for e in events if isinstance(e, Snapshot)] for events in (seen[at:], rest)]
        for one, other in zip(*arrays, strict=True):
            assert all((one[name] == other[name]).all() for name in one)


def test_intervals_hold_the_value_and_have_the_spread_of_the_draws(generator: torch.Generator) -> None:
    logits = torch.randn(200, 6, 1, 3, generator=generator).cumsum(0)
    labels = torch.randint(3, (200, 6, 1), generator=generator)
    sums = ClassSums.of(logits, labels, num_classes=3)
    found = of_whole(sums, window=21, draws=40, generator=generators(0, "again")[0])
    value = whole(sums.means(), window=21)
    draws = torch.stack(
        [whole(sums.means(one[None])[0], window=21) for one in sums.again(40, generators(0, "again")[0])]
    )
    low, middle, high = draws.quantile(torch.tensor([0.025, 0.5, 0.975]).double(), dim=0)
    for at, entry in enumerate(WHOLE):
        names, numbers = zip(*((one.name, number) for one, number in found[3 * at : 3 * at + 3]), strict=True)
        assert names == (entry.name, f"{entry.name}_low", f"{entry.name}_high")
        IDENTITY.floor(1).check(
            numbers, [value[at], value[at] + low[at] - middle[at], value[at] + high[at] - middle[at]]
        )


def test_a_share_ends_at_one() -> None:
    """The interval of a part of the time reaches no further than a part can be: here it would reach 1.005."""
    generator = torch.Generator().manual_seed(2)
    times = torch.arange(1.0, 201)[:, None, None, None]
    labels = (torch.arange(200)[:, None, None] + torch.arange(6)[:, None]) % 3
    own = torch.nn.functional.one_hot(labels, 3)
    logits = own * (times / 100) ** 2 + 0.05 + 0.3 * torch.randn(200, 6, 1, 3, generator=generator)
    sums = ClassSums.of(logits, labels, num_classes=3)
    (_, _), (_, low), (_, high) = of_whole(sums, window=21, draws=40, generator=generator)[:3]
    assert 0.8 < float(low) < 0.95
    assert float(high) == 1


def test_numbers_of_moments(generator: torch.Generator) -> None:
    """The rates that the theory gives, with the spread of those of the draws."""
    logits = torch.randn(200, 6, 1, 3, generator=generator).cumsum(0)
    sums = ClassSums.of(logits, torch.randint(3, (200, 6, 1), generator=generator), num_classes=3)
    found = of_moments(sums, [0, 70, 200], window=21, draws=30, generator=generators(0, "again")[0])
    rates = elasticity(identity_exponents(sums.means()), window=21)
    again = elasticity(identity_exponents(sums.means(sums.again(30, generators(0, "again")[0]))), window=21)
    for moment, at, row in zip((0, 70, 200), (0, 70, 199), found, strict=True):
        values = {entry.name: value for entry, value in row}
        assert values["iteration"] == moment
        for name, rate, drawn in zip(("elasticity_intra", "elasticity_inter"), rates, again, strict=True):
            low, middle, high = drawn[:, at].quantile(torch.tensor([0.025, 0.5, 0.975]).double())
            IDENTITY.check(values[name], rate[at])
            IDENTITY.floor(1).check(values[f"{name}_low"], rate[at] + low - middle)
            IDENTITY.floor(1).check(values[f"{name}_high"], rate[at] + high - middle)


def test_what_has_no_value_says_why() -> None:
    labels = (torch.arange(200)[:, None, None] + torch.arange(3)[:, None]) % 3
    sums = ClassSums.of(torch.ones(200, 3, 1, 3), labels, num_classes=3)
    (row,) = of_moments(sums, [200], window=21, draws=2, generator=generators(0, "again")[0])
    assert row[0][1] == 200
    assert {str(value) for _, value in row[1:]} == {
        "a mode of the class means vanishes at an iteration, so that its growth has no logarithm"
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noises": (0.5,)}, "noises must be two different parts or more in ascending order"),
        ({"noises": (0.5, 0.0)}, "in ascending order"),
        ({"noises": (0.0, 1.5)}, "every entry of noises must be a finite number of at least 0 and at most 1"),
        ({"noises": (0.0, 0.6666, 0.667)}, "noises must differ in their first three digits"),
        ({"trials": 1}, "trials must be an integer of at least 2, got 1"),
        ({"draws": 1}, "draws must be an integer of at least 20, got 1"),
        ({"iterations": 100}, "iterations must be an integer of at least 200, got 100"),
        ({"window": 150}, "window must be odd and at most 3000"),
        ({"window": 301, "iterations": 200}, "window must be odd and at most 200"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ({"samples_per_class": 0}, "samples_per_class must be an integer of at least 1, got 0"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeSdeFitsTraining(**fields)


@pytest.mark.slow
def test_labels_that_mean_nothing_take_local_elasticity_away(tmp_path: Path) -> None:
    """In small and at three times the rate: below 0.75 without noise, above 0.9 with it."""
    recipe = LeSdeFitsTraining(
        trials=8,
        iterations=1200,
        learning_rate=0.03,
        samples_per_class=60,
        test_per_class=10,
        window=101,
        draws=20,
        measurements=5,
    )
    run = run_experiment(recipe, tmp_path / "run")
    assert run.verdict is not None
    assert run.verdict.state == "holds", run.verdict
    assert float(run.verdict.figures["tail_index_at_0"] or 1) < 0.75
    assert float(run.verdict.figures["tail_index_at_0.667"] or 0) > 0.9
    assert float(run.verdict.figures["test_accuracy_at_0"] or 0) > 0.8
