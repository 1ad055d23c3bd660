"""Train with a loss and a network of your own, into a run folder like any other.

Run it with ``python examples/own_parts.py``; it takes a few seconds. A part is a frozen dataclass: its fields are its
settings, kept in the run's configuration under the name in the decorator. ``collapselab report`` and ``compare`` read
the folder without this script; going on with a run (``run_experiment(..., resume=True)``) needs it, since here is what
the names mean.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from collapselab.experiments import run_experiment
from collapselab.experiments.recipes.train import Train
from collapselab.training.losses import Loss, Outputs, loss
from collapselab.training.networks import Network, network
from collapselab.training.optimisers import SGD


@loss("poly1", label="Poly-1", source="papyan2020")  # the source is a key that `collapselab cite` knows
@dataclass(frozen=True)
class Poly1(Loss):
    """Cross-entropy plus a multiple of the probability that is missing.

    Attributes:
        epsilon: The multiple.
    """

    unit: ClassVar[str] = "nat"

    epsilon: float = 1.0

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        """One number a sample; the loop takes the mean."""
        logarithm = outputs.logits.log_softmax(1)[torch.arange(len(y), device=y.device), y]
        return -logarithm + self.epsilon * (1 - logarithm.exp())


@network("layer_norm_mlp", label="perceptron with layer normalisation", source="papyan2020")
@dataclass(frozen=True)
class LayerNormMLP(Network):
    """Linear layers of one width, each followed by layer normalisation and ReLU.

    Attributes:
        width: Units of each layer, and number of features.
        depth: Number of layers.
    """

    width: int = 64
    depth: int = 3

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """The network without its classifier; its children are the stages that can be measured."""
        stages, inputs = nn.Sequential(OrderedDict(flatten=nn.Flatten())), math.prod(shape)
        for number in range(1, self.depth + 1):
            stage = nn.Sequential(nn.Linear(inputs, self.width), nn.LayerNorm(self.width), nn.ReLU())
            stages.add_module(f"layer{number}", stage)
            inputs = self.width
        return stages, self.width


def main(folder: str = "runs/own-parts", epochs: int = 150) -> None:
    """Train on digits, measure the features and every stage before them, and say how it ended."""
    recipe = Train(
        network=LayerNormMLP(width=128),
        loss=Poly1(epsilon=1.0),
        optimiser=SGD(learning_rate=0.04, weight_decay=5e-3),
        epochs=epochs,
        measurements=12,
        layers=("*",),
    )
    run = run_experiment(recipe, folder, overwrite=True)
    print(run.config["loss"], run.config["network"])
    print(run.verdict.state if run.verdict else None, "-", run.verdict.statement if run.verdict else None)


if __name__ == "__main__":
    main()
