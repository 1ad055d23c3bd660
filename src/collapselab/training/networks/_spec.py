"""Features and a linear classifier on top, and the registry of networks."""

from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, declare


class Classifier(nn.Module):
    """A body that makes features and a linear head that reads the classes off them.

    Args:
        body: Inputs to features (n, d).
        head: Features to logits (n, k).
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Inputs (n, ...).

        Returns:
            (n, k).
        """
        return self.head(self.body(x))


class Network(Protocol):
    """A frozen dataclass of settings that can build its network."""

    default_widths: ClassVar[tuple[int, ...]]
    widths: tuple[int, ...]
    batch_norm: bool

    def __init__(self, *, widths: tuple[int, ...] = ..., batch_norm: bool = ...) -> None: ...

    def build(self, shape: tuple[int, ...], num_classes: int) -> Classifier:
        """A freshly initialised network; draws from torch's global generator.

        Args:
            shape: Shape of one input, channels first.
            num_classes: K.

        Returns:
            The network on the CPU.
        """
        ...


NETWORKS: Registry[Choice[Network]] = Registry("network", package="collapselab.training.networks")

C = TypeVar("C")


def network(name: str, *, label: str, source: str) -> Callable[[type[C]], type[C]]:
    """Declare a network.

    Args:
        name: Its key.
        label: A few words for a table.
        source: Key in ``references.bib``.

    Returns:
        A decorator that returns the class unchanged.
    """
    return declare(NETWORKS, name, label=label, source=source)


def check_widths(widths: object) -> None:
    """Refuse widths that are no sequence of positive integers.

    Args:
        widths: What the caller gave.

    Raises:
        InputError: If there is none, or one is not a positive integer.
    """
    if not isinstance(widths, tuple) or not widths:
        raise InputError(f"widths must be one positive integer for each hidden layer, got {widths!r}")
    for width in widths:
        checks.whole(width, "every entry of widths", at_least=1)
