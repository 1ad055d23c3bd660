"""Features and a linear classifier on top, and the registry of networks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.core.registry import Registry
from collapselab.training._choice import Choice, by_name, declare
from collapselab.training.heads import Head, Neck
from collapselab.training.heads.learnable import Learnable


class Classifier(nn.Module):
    """A body that makes features, a neck that may scale or centre them, and a linear head that reads the classes off.

    The features that are measured are what the head sees, after the neck.

    Args:
        body: Inputs to features (n, d).
        head: Features to logits (n, k). Its weight is the one that acts: a fixed, scaled or normalised head is a linear
            layer whose `weight` is already so.
        neck: Features to features; nothing by default.
    """

    def __init__(self, body: nn.Module, head: nn.Linear, neck: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.neck = nn.Identity() if neck is None else neck
        self.head = head

    def features(self, x: Tensor) -> Tensor:
        """What the head sees.

        Args:
            x: Inputs (n, ...).

        Returns:
            (n, d).
        """
        return self.neck(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: Inputs (n, ...).

        Returns:
            (n, k).
        """
        return self.head(self.features(x))


class Network(ABC):
    """Base of all networks: frozen dataclasses of settings that can build a body."""

    @abstractmethod
    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        The children of the body are its stages, in the order of the forward pass: each is a place where features can
        be measured layer by layer.

        Args:
            shape: Shape of one input, channels first.

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """

    def build(
        self, shape: tuple[int, ...], num_classes: int, *, head: Head | None = None, neck: Neck | None = None
    ) -> Classifier:
        """A freshly initialised network; draws from torch's global generator.

        Args:
            shape: Shape of one input, channels first.
            num_classes: K.
            head: The classifier; a learnable linear layer with bias by default.
            neck: What stands between body and head; nothing by default.

        Returns:
            The network on the CPU.

        Raises:
            InputError: If the head has no room in so few features; the message names the setting.
        """
        body, num_features = self.body(shape)
        between, num_features = (None, num_features) if neck is None else neck.build(num_features)
        try:
            on_top = (Learnable() if head is None else head).build(num_features, num_classes)
        except InputError as error:
            if not str(error).startswith("num_features "):
                raise
            own = "the last of network.widths" if hasattr(self, "widths") else "network.num_features"
            raise InputError(f"{error}; it is {own}, or neck.linear") from error
        return Classifier(body, on_top, between)


NETWORKS: Registry[Choice[Network]] = Registry("network", package="collapselab.training.networks", order=by_name)

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
