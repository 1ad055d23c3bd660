"""What stands between the body and the head."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Neck:
    """What is done to features before the head sees them: nothing."""

    def build(self, num_features: int) -> nn.Module | None:
        """The module.

        Args:
            num_features: d.

        Returns:
            Features to features; None for nothing.
        """
        del num_features
        return None
