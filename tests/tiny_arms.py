"""A recipe with arms, for tests of the runner: Adam, augmentation, measurements within an epoch, a stop rule."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from collapselab.core.random import child_seed, generators
from collapselab.experiments import REGISTRY, Case, Experiment, Probe
from collapselab.experiments.events import Event
from collapselab.records import Observation, Verdict
from collapselab.training import Training
from collapselab.training.data.augmentation import Augmentation
from collapselab.training.data.digits import Digits
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.networks.mlp import MLP
from collapselab.training.optimisers import SGD, Optimiser
from collapselab.training.optimisers.adam import Adam
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from collapselab.training.stop import Stop


@dataclass(frozen=True)
class TinyArms:
    """Adam with augmentation beside SGD that a stop rule ends.

    Attributes:
        epochs: Epochs of each arm.
        seed: Where all randomness comes from.
    """

    epochs: int = 3
    seed: int = 0

    def run(self, probe: Probe) -> Iterator[Event]:
        """Train both arms, one after the other."""
        cases = [
            Case("adam", lambda: self._training(probe, Adam(), Augmentation(noise=0.1), Stop()), self.epochs, "Adam"),
            Case(
                "sgd",
                lambda: self._training(probe, SGD(learning_rate=0.1), None, Stop(loss_below=2.0)),
                self.epochs,
                settings={"optimiser": "sgd"},
            ),
        ]
        return probe.arms(cases, at=(0, 1), at_steps=(2, 7))

    def _training(self, probe: Probe, optimiser: Optimiser, augmentation: Augmentation | None, stop: Stop) -> Training:
        split, order = generators(self.seed, "data", "order")
        data = Digits(samples_per_class=10).load(split)
        torch.manual_seed(child_seed(self.seed, "network"))
        network = MLP(widths=(16, 8)).build(data.shape, data.num_classes)
        plan = Plan(
            epochs=self.epochs,
            batch_size=20,
            drop_last=True,
            loss=CrossEntropy(),
            optimiser=optimiser,
            schedule=StepSchedule(),
            augmentation=augmentation,
            stop=stop,
        )
        return Training(network, data, plan, order=order, device=probe.device)

    def verdict(self, observations: Sequence[Observation]) -> Verdict:
        """How many rows there are."""
        return Verdict(state="holds", statement=f"There are {len(observations)} rows.")

    @classmethod
    def smoke(cls) -> "TinyArms":
        """Itself."""
        return cls()


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Let the runner know the recipe for a while."""
    len(REGISTRY)  # fills it first, which may put its entries into another mapping
    REGISTRY.add("tiny-arms", Experiment("tiny-arms", TinyArms, "Two arms", "It runs.", "papyan2020"))
    try:
        yield
    finally:
        del REGISTRY._entries["tiny-arms"]
