"""Batches for losses and penalties: features, a head, the logits that follow and two stages of a body."""

from dataclasses import fields, replace

import torch

from collapselab.training.losses import LOSSES, Outputs
from collapselab.training.losses._features import FeatureLoss

# Settings away from the defaults, so that a setting that is ignored is seen.
SETTINGS = {
    "rescaled_mse": {"kappa": 15.0, "target": 2.0},
    "label_smoothing": {"smoothing": 0.3},
    "focal": {"gamma": 0.7},
    "cosine_softmax": {"temperature": 0.4},
    "dot_regression": {"energy_head": 4.0, "energy_features": 2.5},
    "supervised_contrastive": {"temperature": 0.4},
    "supervised_contrastive_with_self": {"temperature": 0.4},
    "info_nce": {"temperature": 0.4},
    "mcr2": {"epsilon_squared": 0.2},
}


def batch(n=14, d=5, k=4, *, seed=0):
    """Random outputs of unequal classes and their labels; the last class has one sample."""
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(n, d, generator=g, dtype=torch.float64)
    weight, bias = torch.randn(k, d, generator=g, dtype=torch.float64), torch.randn(k, generator=g, dtype=torch.float64)
    y = torch.cat([torch.arange(k - 1), torch.randint(0, k - 1, (n - k,), generator=g), torch.tensor([k - 1])])
    y = y[torch.randperm(n, generator=g)]
    layers = {
        "first": torch.randn(n, 3, 2, 2, generator=g, dtype=torch.float64),
        "second": torch.randn(n, d, generator=g, dtype=torch.float64),
    }
    return outputs(h, weight, bias, layers), y


def outputs(h, weight, bias=None, layers=None):
    """What a network makes of a batch."""
    return Outputs(torch.nn.functional.linear(h, weight, bias), h, weight, bias, layers or {})


def changed(given: Outputs, change) -> Outputs:
    """The same with every tensor of n rows changed."""
    layers = {name: change(layer) for name, layer in given.layers.items()}
    return replace(given, logits=change(given.logits), features=change(given.features), layers=layers)


def without_probe(name, **settings):
    """A loss by name; the features' own part of it where there is a probe."""
    make = LOSSES[name].make
    return make(**settings, **({"probe": False} if issubclass(make, FeatureLoss) else {}))


def in_float32(given: Outputs) -> Outputs:
    """The same, rounded."""
    found = {field.name: getattr(given, field.name) for field in fields(given)}
    cast = {name: value.float() for name, value in found.items() if isinstance(value, torch.Tensor)}
    return replace(given, **cast, layers={name: layer.float() for name, layer in given.layers.items()})
