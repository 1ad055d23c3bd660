"""The registry of losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

from torch import Tensor

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.pooling import Axes


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network made of a batch: everything that a loss may look at.

    Attributes:
        logits: (n, k).
        features: What the head saw (n, d).
        weight: Weight of the head that acted, (k, d).
        bias: Bias of the head (k,), or None.
        layers: Outputs of the stages of the body that the loss asked for, each (n, ...), by name.
        axes: Where these have their features, by name.
    """

    logits: Tensor
    features: Tensor
    weight: Tensor
    bias: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    axes: Mapping[str, Axes] = field(default_factory=dict)


class Loss(ABC):
    """Base of all losses: frozen dataclasses of settings that compare what a network made with labels."""

    unit: ClassVar[str]
    """Unit of the loss: ``nat``, or ``1`` for a pure number."""

    separable: ClassVar[bool] = True
    """Whether the loss of a sample depends on that sample alone, and not on the others in its batch."""

    weighable: ClassVar[bool] = True
    """Whether a factor on the losses of a class says how much that class counts."""

    @property
    def head_role(self) -> Literal["joint", "probe", "untrained"]:
        """How the head learns: with the features, as a probe of features that it cannot change, or not at all."""
        return "joint"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stages, or of modules in them, that it needs beside features and logits; ``*`` for stages."""
        return ()

    @abstractmethod
    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Loss of each sample.

        Args:
            outputs: What the network made of n samples.
            y: (n,) labels.

        Returns:
            (n,); their mean is what training minimises.
        """


LOSSES: Registry[Choice[Loss]] = Registry("loss", package="collapselab.training.losses", order=by_name)

C = TypeVar("C")


def loss(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a loss.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(LOSSES, name, label=label, source=source)
