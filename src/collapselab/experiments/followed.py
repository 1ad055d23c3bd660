"""Networks that are trained side by side, followed from moment to moment by a run that may be killed."""

from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.data import Samples
from collapselab.training.trials import Trials


class Followed:
    """Trials, and what was seen of them so far.

    Args:
        trials: Networks in training that have not begun.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._drawn: list[tuple[Tensor, ...]] = []
        self.looks: list[Tensor] = []

    def go_on(self, moment: int, samples: Samples) -> None:
        """Train up to a moment, and look at some samples there.

        Args:
            moment: Steps done then.
            samples: What the networks are asked about, where they are.

        Raises:
            InputError: If the moment is past.
            NotConverged: If a loss or a logit is no longer finite.
        """
        checks.whole(moment, "moment", at_least=self._trials.step)
        if moment > self._trials.step:
            drawn = self._trials.steps(moment - self._trials.step)
            self._drawn.append(tuple(part.cpu() for part in (drawn.logits, drawn.labels, drawn.losses)))
        self.looks.append(self._trials.logits(samples).cpu())

    @property
    def logits(self) -> Tensor:
        """(t, r, b, k) of what was drawn."""
        return torch.cat([one[0] for one in self._drawn])

    @property
    def labels(self) -> Tensor:
        """(t, r, b) of what was drawn."""
        return torch.cat([one[1] for one in self._drawn])

    @property
    def losses(self) -> Tensor:
        """(t, r, b) of what was drawn."""
        return torch.cat([one[2] for one in self._drawn])

    def state(self) -> dict[str, Any]:
        """All of it, as tensors and numbers.

        Returns:
            A new dictionary; the tensors in it are the live ones.
        """
        return {"trials": self._trials.state(), "drawn": [list(one) for one in self._drawn], "looks": list(self.looks)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where a state was taken.

        Args:
            state: What `state` gave.
        """
        self._trials.restore(state["trials"])
        self._drawn, self.looks = [tuple(one) for one in state["drawn"]], list(state["looks"])
