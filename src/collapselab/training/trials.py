"""Several fresh networks trained side by side on the same data, each with its own weights and its own minibatches.

Small networks on small minibatches are trained one operation for all of them at a time, which spares most of what each
operation costs besides arithmetic. Networks do not see each other: every trial is what it would be
alone, but for the rounding of sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, NotConverged
from collapselab.core.random import child_seed, generators, preserved_randomness
from collapselab.training._alike import copied, require_alike, require_drawable, require_separable
from collapselab.training._stacked import stacked
from collapselab.training.data import Samples, Splits
from collapselab.training.networks import Network

# How far two ways to the same logits may lie apart, of the largest: rounding to ten bits adds up to less.
_ALIKE = 0.02

# Samples that all networks look at together while they are evaluated.
_TOGETHER = 128


@dataclass(frozen=True, eq=False)
class Drawn:
    """What some iterations saw of the minibatches that they drew, each before its update.

    Attributes:
        logits: (t, r, b, k) of iterations, trials, samples of a minibatch, classes.
        labels: (t, r, b) labels that were trained on.
        losses: (t, r, b) cross-entropy in nats.
    """

    logits: Tensor
    labels: Tensor
    losses: Tensor


class Trials:
    """Networks of one kind in training by plain SGD on cross-entropy; minibatches are drawn with replacement.

    Args:
        networks: Fresh networks of the same layers; copied. Inputs (b, ...) to logits (b, k), each sample by itself.
        samples: What they are trained on, in memory and on the device of the networks.
        draws: A generator of its own on the CPU for the minibatches of each network.
        learning_rate: Rate of every step.
        batch_size: Samples of a minibatch.

    Raises:
        InputError: If there are no networks, they differ in more than weights, have layers that mix samples or draw at
            random, or do not take the samples, or the settings make no sense.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        samples: Samples,
        draws: Sequence[torch.Generator],
        *,
        learning_rate: float,
        batch_size: int = 1,
    ) -> None:
        if not networks:
            raise InputError("networks must be at least one, got none")
        if len(draws) != len(networks):
            raise InputError(f"draws must be one generator for each of {len(networks)} networks, got {len(draws)}")
        self.learning_rate = checks.real(learning_rate, "learning_rate", above=0)
        self.batch_size = checks.whole(batch_size, "batch_size", at_least=1)
        require_separable(networks[0])
        require_alike(networks)
        require_drawable(samples, draws)
        self.step = 0
        self._samples = samples
        self._draws = tuple(draws)
        parameters, self._buffers = stack_module_state(list(networks))
        self._frozen = {name: not networks[0].get_parameter(name).requires_grad for name in parameters}
        self._parameters = {name: values.detach().clone() for name, values in parameters.items()}
        self._skeleton = copied(networks[0])
        self._stacked = stacked(networks[0], samples.shape, len(networks))
        self._mapped = vmap(grad(self._loss, has_aux=True), in_dims=(0, 0, 0, 0, 0))
        self._outputs = vmap(self._logits, in_dims=(0, 0, 0, None))
        self._try_out()

    @classmethod
    def fresh(
        cls,
        network: Network,
        data: Splits,
        *,
        trials: int,
        learning_rate: float,
        batch_size: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> "Trials":
        """Networks with initial weights of their own, for the training split of some data.

        A trial depends on its number and the seed, and not on how many others there are.

        Args:
            network: What they are like.
            data: What they are trained on.
            trials: How many.
            learning_rate: Rate of every step.
            batch_size: Samples of a minibatch.
            seed: Where initial weights and minibatches come from.
            dtype: Data type of the weights.

        Returns:
            Trials that have not begun, where the data are.

        Raises:
            InputError: If the network has layers that mix samples or draw at random.
        """
        trials = checks.whole(trials, "trials", at_least=1)
        device, built = data.train.y.device, []
        with preserved_randomness():
            for trial in range(trials):
                torch.manual_seed(child_seed(seed, f"network {trial}"))
                built.append(network.build(data.shape, data.num_classes).to(device, dtype))
        draws = generators(seed, *(f"draws {trial}" for trial in range(trials)))
        return cls(built, data.train, draws, learning_rate=learning_rate, batch_size=batch_size)

    @property
    def count(self) -> int:
        """Number of networks."""
        return len(self._draws)

    def steps(self, count: int) -> Drawn:
        """Take some steps with every network.

        Args:
            count: How many.

        Returns:
            What they saw on the way.

        Raises:
            NotConverged: If a loss is no longer finite.
        """
        count = checks.whole(count, "count", at_least=1)
        size = (count, self.batch_size)
        rows = torch.stack([torch.randint(len(self._samples), size, generator=one) for one in self._draws], dim=1)
        seen = [self._take(one) for one in rows.to(self._samples.y.device)]
        logits, losses = (torch.stack(parts) for parts in zip(*seen, strict=True))
        self._require_finite(losses)
        self.step += count
        return Drawn(logits, self._samples.y[rows.to(self._samples.y.device)], losses)

    def logits(self, samples: Samples) -> Tensor:
        """What all networks say of some samples as they stand.

        Args:
            samples: n of them, on the device of the networks.

        Returns:
            (r, n, k) logits.

        Raises:
            InputError: If they are not of the shape of those that the networks are trained on.
            NotConverged: If a logit is no longer finite.
        """
        if samples.shape != self._samples.shape:
            raise InputError(f"samples must be of shape {self._samples.shape}, got {samples.shape}")
        kind, given = self._kind, (*self._split(), self._buffers)
        with torch.no_grad():  # copies, for layers that write into what they are given
            parts = [self._outputs(*given, x.to(kind, copy=True)) for x, _ in samples.batches(_TOGETHER)]
        found = torch.cat(parts, dim=1)
        if not bool(torch.isfinite(found).all()):
            trial = int((~torch.isfinite(found)).nonzero()[0, 0])
            raise self._diverged(f"a logit of trial {trial} is not finite after step {self.step}")
        return found

    def weights(self, trial: int) -> dict[str, Tensor]:
        """Parameters and buffers of one network as they stand.

        Args:
            trial: Its number.

        Returns:
            Copies by name, as ``load_state_dict`` takes them.
        """
        checks.one_of(trial, "trial", range(self.count))
        return {name: values[trial].clone() for name, values in {**self._parameters, **self._buffers}.items()}

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on, as tensors and numbers.

        Returns:
            A new dictionary; the tensors of the parameters in it are the live ones.
        """
        draws = torch.stack([one.get_state() for one in self._draws])
        return {"step": self.step, "parameters": dict(self._parameters), "draws": draws}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where a state was taken.

        Args:
            state: What `state` of trials of the same settings gave.

        Raises:
            InputError: If it is of other networks, or of more or fewer.
        """
        shapes = (
            {name: values.shape for name, values in one.items()} for one in (self._parameters, state["parameters"])
        )
        if next(shapes) != next(shapes) or len(state["draws"]) != self.count:
            raise InputError(f"state must be of {self.count} trials of the same networks, got one of others")
        self.step = state["step"]
        for name, values in self._parameters.items():
            values.copy_(state["parameters"][name])
        for one, drawn in zip(self._draws, state["draws"], strict=True):
            one.set_state(drawn.clone())  # a view of a row crashes

    @property
    def _kind(self) -> torch.dtype:
        return next(iter(self._parameters.values())).dtype

    def _split(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters that are trained, and those that are fixed."""
        both: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        for name, values in self._parameters.items():
            both[self._frozen[name]][name] = values
        return both

    def _logits(self, trained: dict[str, Tensor], fixed: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor):
        return functional_call(self._skeleton, (trained, fixed, buffers), (x,))

    def _loss(self, trained: dict[str, Tensor], fixed: Any, buffers: Any, x: Tensor, y: Tensor):
        """Mean loss of one minibatch, and what is recorded of it."""
        logits = self._logits(trained, fixed, buffers, x)
        losses = functional.cross_entropy(logits, y, reduction="none")
        return losses.mean(), (logits, losses)

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One step of every network on the samples (r, b) of these numbers."""
        x, y = self._samples.take(rows.flatten())
        trained, fixed = self._split()
        given = x.view(*rows.shape, *x.shape[1:]).to(self._kind)
        gradients, seen = self._gradients(trained, fixed, given, y.view(rows.shape))
        for name, values in trained.items():
            values.add_(gradients[name], alpha=-self.learning_rate)
        return seen

    def _gradients(
        self, trained: dict[str, Tensor], fixed: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Mapping[str, Tensor], tuple[Tensor, Tensor]]:
        """Gradients of every network on its minibatch, and its logits (r, b, k) and losses (r, b)."""
        if self._stacked is None:
            return self._mapped(trained, fixed, self._buffers, x, y)
        with torch.enable_grad():
            leaves = {name: values.detach().requires_grad_() for name, values in trained.items()}
            logits = self._stacked({**leaves, **fixed}, x)
            losses = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
            found = torch.autograd.grad(losses.mean(1).sum(), list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, found, strict=True)), (logits.detach(), losses.detach())

    def _require_finite(self, losses: Tensor) -> None:
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            step, trial = self.step + int(bad[0, 0]), int(bad[0, 1])
            raise self._diverged(f"the loss of trial {trial} is no longer finite at step {step}")

    def _diverged(self, words: str) -> NotConverged:
        return NotConverged(
            f"training diverged: {words} at learning rate {self.learning_rate:g}; lower the learning rate"
        )

    def _try_out(self) -> None:
        """Two samples pass; the faster way is taken only where it gives what the networks themselves give."""
        rows = torch.arange(min(2, len(self._samples)), device=self._samples.y.device)
        x, (trained, fixed) = self._samples.take(rows)[0].to(self._kind), self._split()
        try:
            with torch.no_grad():
                logits = self._outputs(trained, fixed, self._buffers, x.clone())
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"networks must take inputs of shape {tuple(x.shape[1:])}, each by itself, and draw nothing at random,"
                f" got: {str(error).splitlines()[0]}"
            ) from error
        self._require_logits(logits, len(x))
        if self._stacked is not None:
            with torch.no_grad():
                ours = self._stacked({**trained, **fixed}, x.expand(self.count, *x.shape).clone())
            if ours.shape != logits.shape or float((ours - logits).abs().max()) > _ALIKE * float(logits.abs().max()):
                self._stacked = None

    def _require_logits(self, logits: Tensor, samples: int) -> None:
        classes = int(self._samples.y.max()) + 1
        if logits.ndim != 3 or logits.shape[1] != samples or logits.shape[2] < classes:
            raise InputError(
                f"networks must give {classes} logits or more for each sample, got outputs of shape"
                f" {tuple(logits.shape[1:])} for {samples} samples"
            )
