"""The locally elastic ODE beside real trainings: many small networks on GeoMNIST, without and with label noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import data_of
from collapselab.experiments.events import EpochDone, Event, Observed, Planned, SafePoint, Snapshot
from collapselab.experiments.extra import matrices_of
from collapselab.experiments.followed import Followed
from collapselab.experiments.probe import Probe
from collapselab.experiments.recipes._fitted_elasticity import of_moments, of_whole, with_means, with_picture
from collapselab.experiments.recipes._fitted_numbers import (
    ABOVE,
    GAIN,
    INTER,
    INTRA,
    ITERATION,
    LOCAL,
    TAIL,
    WHOLE,
    Range,
)
from collapselab.experiments.solving import Look, picture_of, row_of
from collapselab.experiments.verdicts import last_row
from collapselab.records.schema import Against, Arm, Measurement, Observation, Verdict
from collapselab.theory.elastic_fit import ClassSums
from collapselab.training.data import Splits
from collapselab.training.data.geomnist import GeoMnist
from collapselab.training.data.labels import Labels
from collapselab.training.networks.lenet import LeNet
from collapselab.training.trials import Trials

# Part of the time that counts as most of it, and where the tail index must lie without noise and with it.
MOST, WITHOUT, WITH = 0.75, 0.75, 0.9

# The levels of noise that the claim is about, and how far from the second it is still about it.
NONE, NOISY, NEAR = 0.0, 2 / 3, 0.05

# Draws of trials of which the outer 2.5 % on each side are not all the same.
FEWEST_DRAWS = 20

# What is judged by intervals.
JUDGED = (ABOVE, TAIL, GAIN)

# What is measured of the logits besides.
METRICS = ("nc1_pinv", "within_fraction", "nc2_max_angle_means", "nc3_duality", "nc4_disagreement")

# Iterations that have to be there for what is averaged over the beginning and the end.
SHORTEST = 200


@experiment(
    source="zhang2021",
    claim=(
        "On GeoMNIST local elasticity within classes exceeds that between classes for three quarters of a training"
        " without label noise, and not with two thirds of the labels wrong; the tail index is below 0.75 without and"
        " above 0.9 with noise; and without noise the closed-form L-model, driven by the growth that is measured, comes"
        " nearer to the class means than frozen means or a straight line."
    ),
    title="Fit of the locally elastic ODE to trainings",
    notes=(
        "Class means are means of logits over trials: fresh networks, each with its own initial weights and its own"
        " minibatches, of what they drew at an iteration and before they learnt from it. Elasticity is fitted to them.",
        "The L-model is fitted within the sample: its growth is measured on the class means that it is compared with."
        " Errors are relative ones over the last tenth of the iterations.",
        "The tail index is that of the publication. It says whether A is above 1 at the end, and nothing of a tail; the"
        " local tail index is one minus the slope of log A along log t over the last half.",
        "At both ends of the time elasticity is a slope of one side of the window alone, and noisier.",
        "Intervals of 95 % come from drawing the trials again, with replacement.",
        "Rows measure the logits of all networks on the test images, whose labels have no noise; the classifier on top"
        " of them is the identity, so that nc3_duality compares class means with the directions of the L-model.",
    ),
    chart=lambda recipe: Against(
        metric=INTRA.name,
        beside=(INTER.name,),
        split="test",
        over=ITERATION.name,
        by="labels",
        every=True,
        title="local elasticity (1/iteration)",
    ),
)
@dataclass(frozen=True)
class LeSdeFitsTraining:
    """Train many small convolutional networks on GeoMNIST side by side, and fit the locally elastic ODE to them.

    Attributes:
        noises: Parts of the training labels that are wrong, in ascending order; the first and the last are compared.
        trials: Networks, two or more: trials drawn again from one are that one.
        iterations: Steps of SGD of each.
        learning_rate: Rate of SGD.
        batch_size: Samples of a minibatch, drawn with replacement.
        samples_per_class: Training images of each class.
        test_per_class: Test images of each class.
        window: Iterations that derivatives and averages are taken over; odd.
        draws: How often trials are drawn again for the intervals, 20 or more.
        measurements: Moments at which to measure, besides the start.
        seed: Where all randomness comes from.
    """

    noises: tuple[float, ...] = (0.0, 2 / 3)
    trials: int = 30
    iterations: int = 3000
    learning_rate: float = 0.01
    batch_size: int = 1
    samples_per_class: int = 200
    test_per_class: int = 10
    window: int = 151
    draws: int = 100
    measurements: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        noises = self.noises
        if not isinstance(noises, tuple) or list(noises) != sorted(set(noises)) or len(noises) < 2:
            raise InputError(f"noises must be two different parts or more in ascending order, got {noises!r}")
        for noise in noises:
            checks.real(noise, "every entry of noises", at_least=0, at_most=1)
        if len({f"{noise:.3g}" for noise in noises}) < len(noises):
            raise InputError(f"noises must differ in their first three digits, got {noises!r}")
        for name in ("batch_size", "measurements"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.trials, "trials", at_least=2)
        checks.whole(self.draws, "draws", at_least=FEWEST_DRAWS)
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.whole(self.seed, "seed", at_least=0)
        checks.whole(self.iterations, "iterations", at_least=SHORTEST)
        checks.whole(self.window, "window", at_least=3)
        if self.window % 2 == 0 or self.window > self.iterations:
            raise InputError(f"window must be odd and at most {self.iterations}, the iterations, got {self.window}")
        self._data()

    @property
    def epochs(self) -> int:
        """Levels of noise that are tried."""
        return len(self.noises)

    def _data(self) -> GeoMnist:
        return GeoMnist(self.samples_per_class, self.test_per_class, standardise=False)

    def _moments(self) -> list[int]:
        count = min(self.measurements, self.iterations)
        return [round(self.iterations * at / count) for at in range(count + 1)]

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train the networks at every level of noise.

        Args:
            probe: Where to go on from.

        Yields:
            What happens, as it happens.
        """
        yield Planned(tuple(_arm(noise) for noise in self.noises), self.epochs)
        ended: list[str] = [] if probe.state is None else list(probe.state["ended"])
        for noise in self.noises:
            if _arm(noise).name not in ended:
                yield from self._level(noise, probe, ended)

    def _level(self, noise: float, probe: Probe, ended: list[str]) -> Iterator[Event]:
        name = _arm(noise).name
        data = data_of(self._data(), seed=self.seed, labels=Labels(noise=noise)).to(probe.device)
        course = Followed(self._trials(data))
        if probe.state is not None and probe.state.get("arm") == name:
            course.restore(probe.state["course"])
        moments = self._moments()
        for moment in moments[len(course.looks) :]:
            course.go_on(moment, data.test)
            state = lambda: {"ended": list(ended), "arm": name, "course": course.state()}  # noqa: E731
            yield SafePoint(len(ended), state, wanted=False)
        yield from self._rows(course, moments, data, name)
        ended.append(name)
        loss = float(course.losses[-self.window :].mean())
        yield EpochDone(1, moments[-1], loss, self.learning_rate, name, len(ended), self.epochs)
        last = len(ended) == self.epochs
        yield SafePoint(len(ended), lambda: {"ended": list(ended)}, wanted=True, last=last)

    def _trials(self, data: Splits) -> Trials:
        given = {"trials": self.trials, "learning_rate": self.learning_rate, "batch_size": self.batch_size}
        return Trials.fresh(LeNet(), data, seed=self.seed, **given)

    def _rows(self, course: Followed, moments: list[int], data: Splits, name: str) -> Iterator[Event]:
        """What is said of an arm, once all of it is known."""
        sums = ClassSums.of(course.logits, course.labels, num_classes=data.num_classes)
        means, given = sums.means(), {"window": self.window, "draws": self.draws}
        one, other = generators(self.seed, "trials again", "trials again for the whole")
        extras = of_moments(sums, moments, generator=one, **given)
        extras[-1] += of_whole(sums, generator=other, **given)
        for moment, logits, extra in zip(moments, course.looks, extras, strict=True):
            look = _look(moment, logits, data.test.y.cpu(), extra)
            row, now = row_of(look, arm=name, metrics=METRICS), means[min(moment, len(means) - 1)]
            result = with_means(row.result, now)
            if moment == moments[-1]:
                result, found = with_picture(result, now)
                arrays = (picture_of(look.features, look.head) or {}) | matrices_of(found)
                yield Snapshot(1, arrays, None, name)
            rate = self.learning_rate if moment else None
            yield Observed(row.model_copy(update={"result": result, "learning_rate": rate}))

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether elasticity, tail index and fit are as claimed, by intervals over trials.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on.
        """
        rows = {noise: last_row(observations, split="test", arm=_arm(noise).name) for noise in self.noises}
        clean, noisy = rows[self.noises[0]], rows[self.noises[-1]]
        figures = _figures(rows)
        lacking = [f"{name} has no value: {found.undefined}" for name, found in _undefined(clean, noisy)]
        if lacking:
            return Verdict(state="inconclusive", statement=f"{lacking[0]}.", figures=figures)
        if self.noises[0] != NONE or abs(self.noises[-1] - NOISY) > NEAR:
            words = f"label noise {self.noises[0]:.3g} and {self.noises[-1]:.3g} were compared"
            statement = f"The claim is about no label noise and two thirds of it; {words}."
            return Verdict(state="inconclusive", statement=statement, figures=figures)
        judged = [
            Range.of(clean, ABOVE).above(MOST),
            Range.of(noisy, ABOVE).below(MOST),
            Range.of(clean, TAIL).below(WITHOUT),
            Range.of(noisy, TAIL).above(WITH),
            Range.of(clean, GAIN).above(0.0),
        ]
        state = "holds" if min(judged) > 0 else "fails" if min(judged) < 0 else "inconclusive"
        return Verdict(state=state, statement=_said(clean, noisy), figures=figures)

    @classmethod
    def smoke(cls) -> "LeSdeFitsTraining":
        """A run of seconds: few networks, too few iterations for them to learn.

        Returns:
            Its configuration.
        """
        return cls(
            trials=4, iterations=200, samples_per_class=20, test_per_class=5, window=21, draws=20, measurements=4
        )


def _arm(noise: float) -> Arm:
    words = f"label noise {noise:.3g}" if noise else "no label noise"
    return Arm(name=f"noise{noise:.6g}", title=words, settings={"noise": noise, "labels": words})


def _look(moment: int, logits: Tensor, y: Tensor, extra: Sequence[Any]) -> Look:
    """The logits (r, n, k) of all networks as features."""
    labels, h = y.repeat(len(logits)), logits.flatten(0, 1)
    k = h.shape[1]
    loss = float(functional.cross_entropy(h.double(), labels))
    return Look(moment, LabelledFeatures(h, labels, k), LinearHead(torch.eye(k), None), loss, extra, split="test")


def _undefined(*rows: Observation) -> list[tuple[str, Measurement]]:
    """Numbers of whole trainings that have no value."""
    named = [(entry.name, row.result.measurements[entry.name]) for row in rows for entry in WHOLE]
    return [(name, found) for name, found in named if found.value is None]


def _figures(rows: dict[float, Observation]) -> dict[str, float | int | str | None]:
    """Numbers of the whole trainings by name and level of noise, those that are judged with their intervals."""
    figures: dict[str, float | int | str | None] = {}
    for noise, row in rows.items():
        for entry in WHOLE:
            for side in ("", "_low", "_high") if entry.name in JUDGED else ("",):
                found = row.result.measurements[f"{entry.name}{side}"]
                figures[f"{entry.name}_at_{noise:.3g}{side}"] = found.value
        figures[f"test_accuracy_at_{noise:.3g}"] = 1 - row.error
    return figures


def _said(clean: Observation, noisy: Observation) -> str:
    one, two = ({entry.name: Range.of(row, entry.name) for entry in WHOLE} for row in (clean, noisy))
    return (
        f"Elasticity within classes is above that between for {one[ABOVE]} of the time without noise and {two[ABOVE]}"
        f" with it; the tail index is {one[TAIL]} and {two[TAIL]} (local slope: {one[LOCAL].value:.3g} and"
        f" {two[LOCAL].value:.3g}). Without noise the L-model, fitted within the sample, is"
        f" {one['l_model_error'].value:.3g} off at the end, frozen means {one['frozen_error'].value:.3g}, a straight"
        f" line {one['straight_error'].value:.3g}, the I-model {one['i_model_error'].value:.3g}."
    )
