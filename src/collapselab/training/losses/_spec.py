"""The registry of losses."""

from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor

from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, declare


class Loss(Protocol):
    """A frozen dataclass of settings that compares logits with labels."""

    unit: ClassVar[str]

    def __init__(self) -> None: ...

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Loss of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,); their mean is what training minimises.
        """
        ...


LOSSES: Registry[Choice[Loss]] = Registry("loss", package="collapselab.training.losses")

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
