"""Classifiers of transformers, for images and for sequences of tokens."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.training.networks._foreign import Backbone, beheaded, check_model, projected
from collapselab.training.networks._layers import check_num_features
from collapselab.training.networks._spec import Network, network


class Images(Backbone):
    """An image classifier of transformers."""

    def logits(self, x: Tensor) -> Any:
        """Logits.

        Args:
            x: Images (n, channels, height, width).

        Returns:
            (n, columns).
        """
        return self.model(pixel_values=x).logits


class Tokens(Backbone):
    """A sequence classifier of transformers.

    Attributes:
        padding: The token that is not looked at; -1, which no token has, where the model knows none.

    Args:
        model: The classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        config: Any = model.config
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = -1  # decoders then read the last position, instead of refusing more than one sequence
        self.padding = int(config.pad_token_id)

    def logits(self, x: Tensor) -> Any:
        """Logits.

        Args:
            x: Token numbers (n, length), of any dtype.

        Returns:
            (n, columns).
        """
        ids = x.long()
        return self.model(input_ids=ids, attention_mask=(ids != self.padding).long()).logits


@network("transformers", label="transformers model", source="wolf2020")
@dataclass(frozen=True)
class Transformers(Network):
    """A classifier of transformers, for images or for sequences, without its last linear layer.

    Inputs (channels, height, width) go to an image classifier; inputs (length,) are token numbers, of whatever dtype,
    and go to a sequence classifier, which does not look at positions that hold the padding token. Computes in float32.
    Code from the hub is never run and nothing is unpickled: weights are read in the safetensors format only. Stages:
    ``backbone``, and ``project`` where a number of features is asked for.

    Attributes:
        model: A name on the Hugging Face hub, or a local folder with ``config.json`` and, for ``pretrained``,
            ``model.safetensors``.
        weights: ``pretrained``; or ``random`` for a model that is made from the configuration alone, with the channels
            and the image size of the data.
        num_features: Number of features: a linear layer behind the model; by default what the model gives.
    """

    model: str = ""
    weights: Literal["pretrained", "random"] = "pretrained"
    num_features: int | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        check_model(self.model, "a name on the Hugging Face hub or a local folder")
        checks.one_of(self.weights, "weights", ("pretrained", "random"))
        check_num_features(self.num_features)

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A body with the weights asked for; what is new is drawn from torch's global generator.

        Args:
            shape: Shape of one input: (channels, height, width), or (length,) for token numbers.

        Returns:
            Inputs to features (n, d), on the CPU; and d.

        Raises:
            InputError: If there is no such model, or it is no classifier of such inputs.
        """
        if len(shape) not in (1, 3):
            raise InputError(f"network transformers needs inputs (channels, height, width) or (length,), got {shape}")
        library = extras.require("transformers", extra="hf", purpose="a model of transformers")
        model = self._model(library, shape)
        if len(shape) == 3:
            backbone, example = Images(model), torch.ones(2, *shape)
        else:
            backbone = Tokens(model)
            example = torch.full((2, *shape), 1 if backbone.padding == 0 else 0)
        given = beheaded(backbone, example, name=f"model {self.model}")
        return projected(backbone, given, self.num_features)

    def _model(self, library: ModuleType, shape: tuple[int, ...]) -> Any:
        images = len(shape) == 3
        maker = library.AutoModelForImageClassification if images else library.AutoModelForSequenceClassification
        try:
            if self.weights == "pretrained":
                made = maker.from_pretrained(self.model, use_safetensors=True, trust_remote_code=False)
            else:
                config = library.AutoConfig.from_pretrained(self.model, trust_remote_code=False)
                made = maker.from_config(_fitted(config, shape), trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            kind = "images" if images else "sequences"
            raise InputError(
                f"model must be a classifier of {kind} on the Hugging Face hub or in a local folder with weights in the"
                f" safetensors format, got {self.model!r}: {error}"
            ) from error
        return made.float().train()


def _fitted(config: Any, shape: tuple[int, ...]) -> Any:
    """The configuration with the channels and the size of the images."""
    if len(shape) == 3:
        channels, height, width = shape
        if hasattr(config, "num_channels"):
            config.num_channels = channels
        if hasattr(config, "image_size"):
            config.image_size = height if height == width else (height, width)
    return config
