"""What cross-entropy without decay has in common, for equal and unequal classes: an infimum that nothing attains."""

from typing import ClassVar

from collapselab.core.errors import InputError
from collapselab.theory._model import UnconstrainedLandscape


class WithoutDecay(UnconstrainedLandscape):
    """Base of models of cross-entropy without decay and bias: d >= K-1, features of either sign."""

    with_decay: ClassVar[str]
    """Name of the class that answers the same loss with decay."""

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        if p.num_features < p.num_classes - 1:
            raise InputError(f"num_features must be at least {p.num_classes - 1}, got {p.num_features}")
        if p.decay_head != 0 or p.decay_features != 0:
            raise InputError(
                f"decay_head and decay_features must be 0, got {p.decay_head} and {p.decay_features}:"
                f" with decay the minimum is attained, see {self.with_decay}"
            )
        if p.bias != "none":
            raise InputError(f"bias must be 'none', got {p.bias!r}: the direction is known without one")
        if p.nonnegative:
            raise InputError("nonnegative must be false: the answer with non-negative features is not known, got true")

    @property
    def attained(self) -> bool:
        """No: the loss is above its infimum everywhere."""
        return False

    @property
    def minimum(self) -> float:
        """The infimum."""
        return 0.0
