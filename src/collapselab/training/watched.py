"""A classifier that gives all that a loss may look at."""

from typing import Any

from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.training.losses import Outputs
from collapselab.training.networks import Classifier


class Watched(nn.Module):
    """A classifier that gives all that a loss may look at.

    Args:
        network: The classifier.
        layers: Names of the stages of its body whose outputs are kept; ``*`` for all.
    """

    def __init__(self, network: Classifier, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = network
        names = [name for name, _ in network.body.named_children()]
        self._wanted = tuple(names) if "*" in layers else layers
        for name in self._wanted:
            if name not in names:
                raise InputError(f"layers must be stages of the body, {', '.join(names)}, got {name!r}")

    def look(self, x: Tensor) -> Outputs:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).

        Returns:
            All that was asked for.
        """
        return self(x)

    def forward(self, x: Tensor) -> Outputs:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).

        Returns:
            Logits, features, the head and the layers.
        """
        kept: dict[str, Any] = {}
        h = self._features(x, kept) if self._wanted else self.network.features(x)
        head = self.network.head
        return Outputs(logits=head(h), features=h, weight=head.weight, bias=head.bias, layers=kept)

    def _features(self, x: Tensor, kept: dict[str, Any]) -> Tensor:
        """The features, with the outputs of the stages that were asked for kept on the way."""
        hooks = [
            self.network.body.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: kept.__setitem__(name, output)
            )
            for name in self._wanted
        ]
        try:
            return self.network.features(x)
        finally:
            for hook in hooks:
                hook.remove()
