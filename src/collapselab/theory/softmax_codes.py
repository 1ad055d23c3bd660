"""More classes than a simplex has room for (Jiang et al. 2023): cross-entropy on the sphere for K > d + 1."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.geometry import orthogonal_frame, smallest_one_versus_rest
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._charts import on_sphere
from collapselab.theory._codes.codes import KnownCodes, SymmetricCode, known_codes, pairs_known
from collapselab.theory._geometry import Geometry
from collapselab.theory._margins.log_domain import log_cross_entropies, log_mean_cross_entropy
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import State


@model("softmax_codes", label="cross-entropy on the sphere, more classes than d + 1", source="jiang2023")
@dataclass(frozen=True)
class SoftmaxCodes(AbstractLandscape):
    r"""Mean cross-entropy of unit features and unit class vectors at a temperature, with more classes than d + 1.

    In general no closed form is known at a positive temperature, and the minimisers are no softmax codes: they tend to
    one as the temperature falls to zero. What is known is where a symmetric code, in which everything is at rest at
    every temperature, is also the lowest point: regular polygons, orthoplexes, the icosahedron and the codes of
    Clebsch, Schlaefli and the bitangents always; sums of polygons and simplices in orthogonal spaces between some
    temperatures. Ten classes in four dimensions are two pentagons, 0.69 from the hull of the rest, above a temperature
    of 0.27, and Petersen's code, their softmax code with 0.83, below it. Known means found and not proven.

    Attributes:
        num_classes: K > d + 1.
        num_features: d >= 2.
        temperature: tau, what inner products are divided by.
    """

    num_classes: int
    num_features: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        k = checks.whole(self.num_classes, "num_classes", at_least=2)
        d = checks.whole(self.num_features, "num_features", at_least=2)
        checks.real(self.temperature, "temperature", above=0)
        if k <= d + 1:
            raise InputError(
                f"num_classes must be above {d + 1}, got {k}: up to there it is a simplex, see SpherePairs"
            )
        known = known_codes(k, d)
        if known is None:
            table = ", ".join(f"{k} in {d}" for k, d in pairs_known())
            raise InputError(
                "num_classes and num_features must be those of a code that is known to be the lowest point: any in 2"
                f" dimensions, K = 2d, or {table}; got {k} in {d}. descend_on_sphere searches for others"
            )
        low, high = known.window
        if not low <= self.temperature <= high:
            raise InputError(
                f"temperature must be between {low:g} and {high:g} for {k} classes in {d} dimensions, where the lowest"
                f" point is known, got {self.temperature}"
            )

    @property
    def _known(self) -> KnownCodes:
        known = known_codes(self.num_classes, self.num_features)
        assert known is not None
        return known

    @cached_property
    def _ordered(self) -> tuple[tuple[float, SymmetricCode], ...]:
        """The codes with their losses, lowest first."""
        losses = [(float(self.loss(_at_rest(code.make()))), code) for code in self._known.codes]
        return tuple(sorted(losses, key=lambda entry: entry[0]))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Every class has one feature; more of them a class lie at one point.",
            "Features and class vectors have norm 1; the temperature is fixed, and there is no bias.",
            "That nothing lies below the minimum is not proven: no descent from random starts came below it.",
        )

    @property
    def code(self) -> str:
        """Name of the code that is the lowest point."""
        return self._ordered[0][1].name

    @property
    def benign(self) -> bool:
        """No: some of these have local minimisers, and of the others it is not known."""
        return False

    @property
    def minimum(self) -> float:
        """The lowest value known, in nats."""
        return self._ordered[0][0]

    @property
    def labels(self) -> Tensor:
        """(k,) one feature a class."""
        return torch.arange(self.num_classes)

    def loss(self, state: State) -> Tensor:
        """Mean cross-entropy.

        Args:
            state: Unit features ``h`` and unit class vectors ``weight``.

        Returns:
            0-d float64, in nats.
        """
        return log_cross_entropies(state["h"] @ state["weight"].T / self.temperature, self.labels).exp().mean()

    def chart(self, free: State) -> State:
        """All vectors brought to norm 1.

        Args:
            free: Vectors other than zero.

        Returns:
            Unit vectors.
        """
        return {name: on_sphere(rows) for name, rows in free.items()}

    def draw(self, generator: torch.Generator) -> State:
        """Vectors spread evenly over the sphere.

        Args:
            generator: What they are drawn from.

        Returns:
            Unit vectors.
        """
        return drawn_on_sphere(self.num_classes, self.num_features, generator)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The code, features on their class vectors.

        Args:
            generator: Turns it at random.

        Returns:
            Unit vectors.
        """
        rows, d = self._ordered[0][1].make(), self.num_features
        return _at_rest(rows if generator is None else rows @ orthogonal_frame(d, d, generator=generator))

    def local_minimisers(self) -> Sequence[State]:
        """Other codes at which a descent stays.

        Returns:
            States, lowest first.
        """
        others = [code for _, code in self._ordered[1:] if code.stable[0] < self.temperature < code.stable[1]]
        return tuple(_at_rest(code.make()) for code in others)

    def head(self, state: State) -> LinearHead:
        """Class vectors over the temperature.

        Args:
            state: Unit vectors.

        Returns:
            The head.
        """
        return LinearHead(state["weight"] / self.temperature)

    def geometry(self) -> Geometry:
        """Inner products at the minimiser, each class a group of its own.

        Returns:
            The geometry.
        """
        rows, k = self._ordered[0][1].make(), self.num_classes
        gram = BlockMatrix((1,) * k, (1.0,) * k, tuple(map(tuple, (rows @ rows.T).tolist())))
        return Geometry(gram.scaled(self.temperature**-2), gram, gram.scaled(1 / self.temperature), (0.0,) * k)

    def predicts(self) -> dict[str, float]:
        """What metrics are worth at the minimiser, the distance from the hull of the rest among them.

        Returns:
            Key of a metric to value.
        """
        distance = float(smallest_one_versus_rest(self._ordered[0][1].make()))
        return self.geometry().metrics() | {"generalised_nc2": distance}

    def thresholds(self) -> dict[str, float]:
        """The temperature, between which ones the lowest point is known, and where one code takes over from another.

        Returns:
            Name to number.
        """
        low, high = self._known.window
        found = {"temperature": self.temperature, "lowest_temperature": low}
        if math.isfinite(high):
            found["highest_temperature"] = high
        if len(self._known.codes) > 1:
            found["temperature_of_exchange"] = _exchange(*(code.make() for code in self._known.codes), low=low)
        return found

    @classmethod
    def examples(cls) -> Sequence["SoftmaxCodes"]:
        """Codes that are always lowest, one that is between two temperatures, and two that exchange.

        Returns:
            Landscapes.
        """
        always = (cls(7, 2, 0.5), cls(6, 3, 0.3), cls(12, 3, 0.2), cls(16, 5, 0.5))
        return *always, cls(7, 3, 0.4), cls(7, 4, 0.5), cls(10, 4, 0.3), cls(10, 4, 0.2), cls(6, 4, 0.4), cls(6, 4, 1.0)


def drawn_on_sphere(num_classes: int, num_features: int, generator: torch.Generator) -> State:
    """A unit feature and a unit class vector for each class, spread evenly.

    Args:
        num_classes: K.
        num_features: d.
        generator: What they are drawn from.

    Returns:
        ``h`` and ``weight``.
    """
    shape = (num_classes, num_features)
    return {name: on_sphere(torch.randn(shape, generator=generator, dtype=torch.float64)) for name in ("h", "weight")}


def _at_rest(rows: Tensor) -> State:
    return {"h": rows, "weight": rows.clone()}


def _log_loss(rows: Tensor, temperature: float) -> float:
    return float(log_mean_cross_entropy(rows @ rows.T / temperature, torch.arange(len(rows))))


def _exchange(one: Tensor, other: Tensor, *, low: float) -> float:
    """The temperature at which two codes have the same loss; the first is lower below it."""
    below, above = max(low, 1e-2), 10.0
    for _ in itertools.repeat(None, 60):
        middle = math.sqrt(below * above)
        if _log_loss(one, middle) < _log_loss(other, middle):
            below = middle
        else:
            above = middle
    return below
