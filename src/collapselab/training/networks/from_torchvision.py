"""Classifiers of torchvision."""

from dataclasses import dataclass

import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.networks._foreign import Backbone, beheaded, check_model, imported, load_weights, projected
from collapselab.training.networks._layers import check_num_features, image_channels
from collapselab.training.networks._spec import Network, network


@network("torchvision", label="torchvision model", source="torchvision2016")
@dataclass(frozen=True)
class Torchvision(Network):
    """A classifier of torchvision without its last linear layer.

    Weights are drawn as torchvision draws them, or read from a file; the library's own downloads are pickles and are
    left alone. Models take three channels and the sizes they were made for. Stages: ``backbone``, and ``project`` where
    a number of features is asked for.

    Attributes:
        model: Name of the model, as in ``torchvision.models.list_models()``.
        weights: File in the safetensors format with the weights of the whole model; by default they are drawn.
        num_features: Number of features: a linear layer behind the model; by default what the model gives.
    """

    model: str = ""
    weights: str | None = None
    num_features: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_model(self.model, "a name from torchvision.models.list_models(), such as resnet18")
        check_num_features(self.num_features)

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width).

        Returns:
            Inputs to features (n, d), on the CPU; and d.

        Raises:
            InputError: If there is no such model, or it does not take such inputs.
        """
        image_channels(shape, "torchvision")
        models = imported("torchvision.models")
        if self.model not in models.list_models():
            raise InputError(f"model must be a name from torchvision.models.list_models(), got {self.model!r}")
        model = models.get_model(self.model, weights=None)
        name = f"torchvision's {self.model}"
        before = model.state_dict().keys()
        backbone = Backbone(model)
        given = beheaded(backbone, torch.zeros(2, *shape), name=name)
        if self.weights is not None:
            load_weights(model, self.weights, spare=before - model.state_dict().keys(), name=name)
        return projected(backbone, given, self.num_features)
