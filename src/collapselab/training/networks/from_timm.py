"""Classifiers of timm."""

from dataclasses import dataclass

import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.networks._foreign import Backbone, check_model, imported, load_weights, projected
from collapselab.training.networks._layers import check_num_features, image_channels
from collapselab.training.networks._spec import Network, network


@network("timm", label="timm model", source="wightman2019")
@dataclass(frozen=True)
class Timm(Network):
    """A classifier of timm without its last layer.

    The model is made for the channels that the data have. Weights are drawn as timm draws them, or read from a file;
    the library's own downloads may be pickles and are left alone. Stages: ``backbone``, and ``project`` where a number
    of features is asked for.

    Attributes:
        model: Name of the model, as in ``timm.list_models()``.
        weights: File in the safetensors format with the weights of the whole model; by default they are drawn.
        num_features: Number of features: a linear layer behind the model; by default what the model gives.
    """

    model: str = ""
    weights: str | None = None
    num_features: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_model(self.model, "a name from timm.list_models(), such as resnet18")
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
        channels = image_channels(shape, "timm")
        timm = imported("timm")
        if not timm.is_model(self.model):
            raise InputError(f"model must be a name from timm.list_models(), got {self.model!r}")
        model = timm.create_model(self.model, pretrained=False, in_chans=channels)
        before = model.state_dict().keys()
        model.reset_classifier(0)  # knows which of the layers before the classifier belong to the features
        if self.weights is not None:
            spare = before - model.state_dict().keys()
            load_weights(model, self.weights, spare=spare, name=f"timm's {self.model}")
        backbone = Backbone(model)
        return projected(backbone, _width(backbone, shape, self.model), self.num_features)


def _width(backbone: Backbone, shape: tuple[int, ...], name: str) -> int:
    """Number of features, found by a forward pass: the attribute of that name is another one in some families."""
    backbone.eval()
    try:
        with torch.no_grad():
            width = backbone(torch.zeros(2, *shape)).shape[1]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"timm's {name} does not take inputs of shape {shape}: {error}") from error
    backbone.train()
    return width
