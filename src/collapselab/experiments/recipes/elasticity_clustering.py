"""Groups that labels hide, found by how the samples of a class move each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.core.random import child_seed, generators
from collapselab.dynamics import (
    Found,
    Quantity,
    Sight,
    class_elasticity,
    clustering_accuracy,
    intra_inter,
    kernel_kmeans,
    kmeans,
    normalised_kernel,
    own_residual,
    relative_similarity,
    stable_rate,
    symmetrised,
    tangent_blocks,
    tangent_kernel,
)
from collapselab.experiments._spec import experiment
from collapselab.experiments.assembly import training_of
from collapselab.experiments.events import Event
from collapselab.experiments.extra import Extra, declared
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.verdicts import last_row, mean_and_half_width
from collapselab.records.schema import Against, Observation, Reference, Verdict
from collapselab.training import Training
from collapselab.training.data import Splits
from collapselab.training.data.nuisance_blobs import NuisanceBlobs
from collapselab.training.data.rings import Rings
from collapselab.training.losses.mse import HalfSquaredError
from collapselab.training.networks import Network
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers.sgd import SGD
from collapselab.training.plan import Plan
from collapselab.training.schedules.constant import Constant

Method = Literal["relu", "linear", "inputs"]
METHODS: Mapping[Method, str] = {
    "relu": "ReLU network",
    "linear": "linear network",
    "inputs": "k-means on inputs",
}
SETS: Mapping[str, type[Rings | NuisanceBlobs]] = {"rings": Rings, "nuisance_blobs": NuisanceBlobs}

# What the claim says of the mean share that is right: of ReLU networks at least, and of all else at most.
LEAST, MOST = 0.99, 0.60

# Share of the training samples that a ReLU network may get wrong: with more it has not been trained under the labels.
UNLEARNED = 0.05

_fraction = partial(
    declared, source="he2020", family="local_elasticity", at_collapse=None, unit="fraction", lower=0.5, upper=1.0
)
FOUND = _fraction(
    "hidden_groups_found",
    "hidden groups found",
    "Share of the samples of the class with hidden groups that clusters put into the right one.",
    symbol=r"\max_\pi\Pr[\pi(\text{cluster})=\text{group}]",
)
BY_COSINES = _fraction(
    "hidden_groups_found_by_cosines",
    "hidden groups found by cosines of gradients",
    "The same share for kernel k-means on the normalised tangent kernel.",
    symbol=r"\max_\pi\Pr[\pi(\text{cluster})=\text{group}]",
)
BY_KERNEL = _fraction(
    "hidden_groups_found_by_kernel",
    "hidden groups found by the tangent kernel",
    "The same share for kernel k-means on the tangent kernel as it is.",
    symbol=r"\max_\pi\Pr[\pi(\text{cluster})=\text{group}]",
)
_cosine = partial(
    declared,
    source="he2020",
    family="local_elasticity",
    at_collapse=None,
    lower=-1.0,
    upper=1.0,
    symbol=r"\overline{\Theta(x,x')/\sqrt{\Theta(x,x)\Theta(x',x')}}",
)
WITHIN = _cosine(
    "similarity_within_hidden_groups",
    "similarity within hidden groups",
    "Mean cosine of the gradients of two samples of a hidden group.",
)
BETWEEN = _cosine(
    "similarity_between_hidden_groups",
    "similarity between hidden groups",
    "Mean cosine of the gradients of samples of the two hidden groups.",
)


@experiment(
    source="he2020",
    claim=(
        "Local elasticity tells apart two groups that were trained under one label: clusters of the samples by relative"
        f" similarity are right for {LEAST:g} of them or more in ReLU networks, and for {MOST:g} or less in linear"
        " networks and by k-means on the inputs; on rings and on blobs with a nuisance axis, means over seeds."
    ),
    title="Clusters by local elasticity",
    notes=(
        "Class 1 of both data sets has two groups of equal size on the two sides of class 0, which labels do not tell."
        " A random guess is right for a little more than one half, as clusters are matched with groups as well as"
        " possible.",
        "Relative similarity is that of small steps, from the tangent kernel of the difference of the two logits; rows"
        " of its symmetrised matrix are clustered by k-means. Linear networks cannot learn these labels, and their"
        " training error stays near one half.",
        "The learning rate is a share of the number of samples over the largest eigenvalue of the tangent kernel before"
        " training. The arms called inputs are linear classifiers on the inputs, trained for one epoch to have a row;"
        " what is clustered in them are the inputs.",
        "Depth matters: with one hidden layer the labels of the blobs are learned as well, and clusters by relative"
        " similarity are as by chance.",
    ),
    chart=Against(
        metric=FOUND.name,
        over="set",
        by="method",
        references=(
            Reference(value=LEAST, label="ReLU networks, at least"),
            Reference(value=MOST, label="the others, at most"),
        ),
        words={"set": "data set", "nuisance_blobs": "blobs with a nuisance axis", **METHODS},
        half_width="half_width",
    ),
)
@dataclass(frozen=True)
class ElasticityClustering:
    """Train on two groups under one label and an auxiliary class, and cluster the samples of the first by elasticity.

    Attributes:
        seeds: Draws of the data and of the initial weights, the same for every method.
        samples_per_class: Training samples of each class.
        widths: Units of the hidden layers.
        epochs_each: Passes over the training data.
        batch_size: Samples in an optimiser step.
        rate_share: Learning rate of SGD, times the largest eigenvalue of the tangent kernel over the number of samples;
            full-batch descent on a fixed kernel is stable below 2.
        seed: Where all randomness comes from: the first of the seeds.
    """

    seeds: int = 10
    samples_per_class: int = 300
    widths: tuple[int, ...] = (128, 128)
    epochs_each: int = 150
    batch_size: int = 50
    rate_share: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.seeds, "seeds", at_least=1)
        checks.whole(self.seed, "seed", at_least=0)
        checks.whole(self.samples_per_class, "samples_per_class", at_least=4)
        checks.real(self.rate_share, "rate_share", above=0, below=2)
        checks.whole(self.epochs_each, "epochs_each", at_least=1)
        MLP(widths=self.widths)
        self._plan("relu", 1.0).batches(2 * self.samples_per_class)

    @property
    def epochs(self) -> int:
        """Epochs of all arms together."""
        return sum(self._epochs(method) for _, method, _ in self._arms())

    def _epochs(self, method: Method) -> int:
        return 1 if method == "inputs" else self.epochs_each

    def _arms(self) -> list[tuple[str, Method, int]]:
        """Set, method and seed of each arm."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [(name, method, seed) for name in SETS for method in METHODS for seed in seeds]

    def _plan(self, method: Method, rate: float) -> Plan:
        return Plan(
            epochs=self._epochs(method),
            batch_size=self.batch_size,
            drop_last=True,
            loss=HalfSquaredError(),
            optimiser=SGD(learning_rate=rate, momentum=0.0, weight_decay=0.0),
            schedule=Constant(),
        )

    def _network(self, method: Method) -> Network:
        if method == "inputs":
            return _NoLayers()
        activation = "relu" if method == "relu" else "identity"
        return MLP(widths=self.widths, batch_norm=False, activation=activation)

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train every network and cluster.

        Args:
            probe: The device, and where to go on from.

        Returns:
            What happens, as it happens.
        """

        def case(name: str, method: Method, seed: int) -> Case:
            (draw,) = generators(seed, "data")
            drawn = SETS[name](samples_per_class=self.samples_per_class).draw(draw)
            network = self._network(method)

            def make() -> Training:
                rate = self._rate(network, drawn.splits, seed)
                return training_of(network, drawn.splits, self._plan(method, rate), seed=seed, probe=probe)

            title = f"{METHODS[method]}, {name.replace('_', ' ')}, seed {seed}"
            settings = {"set": name, "method": method, "seed": seed}
            quantities = (_HiddenGroups(drawn.train, method),)
            return Case(_arm(name, method, seed), make, self._epochs(method), title, settings, quantities=quantities)

        return probe.arms([case(*arm) for arm in self._arms()], at=(0,), metrics=("nc1_pinv", "accuracy"))

    def _rate(self, network: Network, data: Splits, seed: int) -> float:
        """From the network that the training will begin with."""
        torch.manual_seed(child_seed(seed, "network"))
        x, _ = data.train.take(torch.arange(len(data.train)))
        kernel = tangent_blocks(network.build(data.shape, data.num_classes), x)
        return stable_rate(kernel, share=self.rate_share)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """Whether ReLU networks find the groups and nothing else does, on both sets.

        Args:
            observations: All rows of the series.

        Returns:
            The state, a sentence, and the figures it rests on. It takes one interval on the wrong side to fail, and
            nothing is decided where ReLU networks have not learned the labels.
        """
        if self.seeds < 2:
            statement = "One seed has no interval; at least 2 are needed."
            return Verdict(state="inconclusive", statement=statement, figures={})
        figures: dict[str, float] = {}
        sides: list[int] = []
        try:
            for name in SETS:
                for method in METHODS:
                    mean, half = mean_and_half_width(self._ends(observations, name, method, FOUND.name))
                    figures |= {f"found_{method}_{name}": mean, f"half_width_{method}_{name}": half}
                    sides.append(_side(method, mean, half))
                figures |= self._beside(observations, name)
        except UndefinedMetric as undefined:
            return Verdict(state="inconclusive", statement=f"A number has no value: {undefined}.", figures={})
        unlearned = [name for name in SETS if figures[f"training_error_relu_{name}"] > UNLEARNED]
        state = "inconclusive" if unlearned or not min(sides) else "fails" if min(sides) < 0 else "holds"
        told = "; ".join(f"{name.replace('_', ' ')}: {_told(name, figures)}" for name in SETS)
        statement = f"Share of the hidden groups that is found: {told} (95 % over {self.seeds} seeds)."
        if unlearned:
            sets = " and ".join(name.replace("_", " ") for name in unlearned)
            statement += f" ReLU networks have not learned the labels of {sets}, so that nothing is shown."
        return Verdict(state=state, statement=statement, figures={**figures})

    def _beside(self, observations: Sequence[Observation], name: str) -> dict[str, float]:
        """What else ReLU networks say: means before training and by cosines of gradients; largest training error."""
        arms = {_arm(*arm) for arm in self._arms() if arm[:2] == (name, "relu")}
        errors = [last_row(observations, split="train", arm=arm).error for arm in arms]
        first = [row for row in observations if row.arm in arms and row.epoch == 0 and row.split == "train"]
        return {
            f"found_before_training_relu_{name}": fmean(row.result[FOUND.name] for row in first),
            f"training_error_relu_{name}": max(errors),
            f"found_by_cosines_relu_{name}": fmean(self._ends(observations, name, "relu", BY_COSINES.name)),
        }

    def _ends(self, observations: Sequence[Observation], name: str, method: Method, metric: str) -> list[float]:
        """Last values, one a seed."""
        arms = [_arm(*arm) for arm in self._arms() if arm[:2] == (name, method)]
        return [last_row(observations, split="train", arm=arm).result[metric] for arm in arms]

    @classmethod
    def smoke(cls) -> "ElasticityClustering":
        """A run of seconds: two seeds, few samples, a small network.

        Returns:
            Its configuration.
        """
        return cls(seeds=2, samples_per_class=40, widths=(24, 24), epochs_each=10, batch_size=20)


@dataclass(frozen=True)
class _NoLayers(Network):
    """Features that are the inputs."""

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        return nn.Flatten(), int(torch.tensor(shape).prod())


@dataclass(frozen=True, eq=False)
class _HiddenGroups(Quantity):
    """How well clusters find the groups of class 1.

    Attributes:
        groups: Group (n,) of each training sample, 0 for the auxiliary class.
        method: What is clustered: the inputs, or their similarities.
    """

    groups: Tensor
    method: Method

    def look(self, sight: Sight) -> Found:
        rows = (self.groups > 0).nonzero()[:, 0]
        (x, y), groups = sight.take(rows.to(sight.y.device)), self.groups[rows]
        if self.method == "inputs":
            clusters = kmeans(x.cpu().flatten(1), generator=sight.generator("clusters"))
            return Found(((FOUND, clustering_accuracy(clusters.assignment, groups)),))
        kernel = tangent_kernel(sight.network, x, y, read=own_residual).cpu()
        cosines = normalised_kernel(kernel)  # no gradient is zero: the classifier has a bias
        by_rows = kmeans(symmetrised(relative_similarity(kernel)), generator=sight.generator("clusters"))
        by_kernels = [kernel_kmeans(one, generator=sight.generator("clusters")) for one in (cosines, kernel)]
        right = [clustering_accuracy(one.assignment, groups) for one in (by_rows, *by_kernels)]
        values = (*right, *intra_inter(class_elasticity(cosines, groups - 1, 2)))
        numbers: tuple[Extra, ...] = tuple(zip((FOUND, BY_COSINES, BY_KERNEL, WITHIN, BETWEEN), values, strict=True))
        return Found(numbers)


def _arm(name: str, method: Method, seed: int) -> str:
    return f"{name}-{method}-{seed}"


def _side(method: Method, mean: float, half: float) -> int:
    """1 if the whole interval is where the claim has it, -1 if it is on the other side, 0 if it is on both."""
    low, high = (
        (mean - half - LEAST, mean + half - LEAST) if method == "relu" else (MOST - mean - half, MOST - mean + half)
    )
    return 1 if low >= 0 else -1 if high < 0 else 0


def _told(name: str, figures: Mapping[str, float]) -> str:
    parts = []
    for method, said in METHODS.items():
        half = figures[f"half_width_{method}_{name}"]
        before = f" (before training {figures[f'found_before_training_relu_{name}']:.3f})" if method == "relu" else ""
        parts.append(f"{said} {figures[f'found_{method}_{name}']:.3f} ± {half:.3f}{before}")
    return ", ".join(parts)
