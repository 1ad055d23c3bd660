"""Squared-error gradient flow of deep homogeneous networks (Poggio & Liao 2020): normalised layers, or decayed ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.theory._deep.relu_network import SquareLossDynamics, pullback
from collapselab.theory._model import model
from collapselab.theory._problem import State


@model("weight_normalised_square_loss", label="squared error, normalised layers", source="poggio2020")
@dataclass(frozen=True, eq=False)
class WeightNormalisedSquareLoss(SquareLossDynamics):
    r"""Squared-error flow of a homogeneous network with layers of unit norm, and one decayed norm $\rho$ for all.

    The flow of $\overline{\|y-\rho f\|^2}+\lambda\rho^2$ with a Lagrange multiplier for each layer, which is that of
    weight normalisation $V/\|V\|$ as well: $\dot\rho=2\,\overline{(y-\rho f)\cdot f}-2\lambda\rho$ and
    $\dot V_l=2\rho\,\overline{(y-\rho f)\cdot(\partial f/\partial V_l-fV_l)}$. At rest
    $\rho=\overline{y\cdot f}/(\lambda+\overline{\|f\|^2})$ (`equilibrium_norm`), and the loss depends on margins alone
    (`margin_form`): without decay it is zero where all are equal. With decay they are equal only up to its order.

    What a hidden unit's incoming weights have more than its outgoing ones changes by one factor for all units, so that
    the direction of these differences stays.
    """

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "The network is homogeneous of degree one in each layer: ReLU, and no biases.",
            "Layers start with unit norm; the decay is that of one norm for the whole network.",
            "Time is continuous, and all samples are used at once.",
        )

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: ``norm`` (), and ``layer_1`` to ``layer_L`` of unit norm.

        Returns:
            Time derivative of each entry.
        """
        del t
        rho, weights = x["norm"], self.weights(x)
        outputs = self.outputs(x)
        error = (self.targets - rho * outputs) / len(outputs)
        pull = (error * outputs).sum()
        slopes = pullback(weights, self.inputs, error)
        moves = [2 * rho * (slope - pull * weight) for slope, weight in zip(slopes, weights, strict=True)]
        return {"norm": 2 * pull - 2 * self.decay * rho} | {f"layer_{k}": move for k, move in enumerate(moves, 1)}

    def draw(self, generator: torch.Generator) -> State:
        """Normal layers divided by their norms; a norm between 0.5 and 1.5.

        Args:
            generator: What they are drawn from.

        Returns:
            Entries by name.
        """
        layers = {name: x / x.norm() for name, x in self._draw_layers(generator).items()}
        return {"norm": 0.5 + torch.rand((), generator=generator, dtype=torch.float64)} | layers

    def conserved(self, x: State) -> dict[str, Tensor]:
        """Norms of the layers, and the direction of what units take in more than they give out.

        Args:
            x: Entries by name.

        Returns:
            ``layer_norms`` (L,), ``balance_direction`` (units,).
        """
        balance = self.balance(x)
        norms = torch.stack([weight.norm() for weight in self.weights(x)])
        return {"layer_norms": norms, "balance_direction": balance / balance.norm()}

    @classmethod
    def examples(cls) -> "tuple[SquareLossDynamics, ...]":
        """Two classes and three, two layers and three, with decay and without.

        Returns:
            Dynamics.
        """
        return cls._examples()


@model("weight_decayed_square_loss", label="squared error, decayed layers", source="poggio2020")
@dataclass(frozen=True, eq=False)
class WeightDecayedSquareLoss(SquareLossDynamics):
    r"""Squared-error flow of a homogeneous network whose layers are decayed, and not normalised.

    The flow of $\overline{\|y-f\|^2}+\lambda\sum_l\|W_l\|^2$. Differences between incoming and outgoing weights of a
    unit fall as $e^{-4\lambda t}$, so that their direction stays, and all of them without decay. Layers therefore come
    to equal norms, $\lambda\|W_l\|^2=\overline{(y-f)\cdot f}$ at rest: with $\rho$ their product the norm is that of
    `decayed_equilibrium_norms`, or zero, which attracts where there are three layers or more.
    """

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "The network is homogeneous of degree one in each layer: ReLU, and no biases.",
            "All layers have the same decay.",
            "Time is continuous, and all samples are used at once.",
        )

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: ``layer_1`` to ``layer_L``.

        Returns:
            Time derivative of each layer.
        """
        del t
        weights = self.weights(x)
        error = (self.targets - self.outputs(x)) / len(self.inputs)
        slopes = pullback(weights, self.inputs, error)
        moves = [2 * slope - 2 * self.decay * weight for slope, weight in zip(slopes, weights, strict=True)]
        return {f"layer_{k}": move for k, move in enumerate(moves, 1)}

    def draw(self, generator: torch.Generator) -> State:
        """Normal layers.

        Args:
            generator: What they are drawn from.

        Returns:
            Entries by name.
        """
        return self._draw_layers(generator)

    def conserved(self, x: State) -> dict[str, Tensor]:
        """What units take in more than they give out; with decay its direction only.

        Args:
            x: Entries by name.

        Returns:
            ``balance`` or ``balance_direction`` (units,).
        """
        balance = self.balance(x)
        return {"balance": balance} if self.decay == 0 else {"balance_direction": balance / balance.norm()}

    @classmethod
    def examples(cls) -> "tuple[SquareLossDynamics, ...]":
        """Two classes and three, two layers and three, with decay and without.

        Returns:
            Dynamics.
        """
        return cls._examples()
