"""When a training ends before its last epoch."""

from dataclasses import dataclass

from collapselab.core import checks


@dataclass(frozen=True)
class Stop:
    """Rules that end a training early; the first that applies does.

    Attributes:
        zero_error_epochs: End after so many epochs in a row in which every training sample was classified correctly
            when its turn came, in train mode; or, with an optimiser of the whole training set, at the end of the epoch,
            in eval mode. None for never.
        loss_below: End after the first epoch whose mean training loss, in train mode, is below this; None for never.
    """

    zero_error_epochs: int | None = None
    loss_below: float | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.zero_error_epochs is not None:
            checks.whole(self.zero_error_epochs, "zero_error_epochs", at_least=1)
        if self.loss_below is not None:
            checks.real(self.loss_below, "loss_below")

    def applies(self, *, clean_epochs: int, loss: float) -> bool:
        """Whether a training is to end now.

        Args:
            clean_epochs: Epochs without training error up to now, in a row.
            loss: Mean training loss of the last epoch.

        Returns:
            True if one of the rules applies.
        """
        clean = self.zero_error_epochs is not None and clean_epochs >= self.zero_error_epochs
        return clean or (self.loss_below is not None and loss < self.loss_below)
