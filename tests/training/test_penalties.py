"""Penalties beside their slow twins, and what every penalty must satisfy."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.cite import references
from collapselab.core.errors import InputError
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.losses import Outputs
from collapselab.training.penalties import PENALTIES
from collapselab.training.penalties.confidence_penalty import ConfidencePenalty
from collapselab.training.penalties.feature_decay import FeatureDecay
from collapselab.training.penalties.logit_penalty import LogitPenalty
from collapselab.training.penalties.nearest_centre import NearestCentre
from tolerances import EXACT, IDENTITY, PRECISION, REFERENCE
from training.loss_problems import batch, changed, in_float32, outputs
from training.reference_losses import PENALTY_TWINS, reference_nearest_centre

STRENGTH = {"feature_decay": "decay_features"}


def of_strength(name: str, strength: float):
    return PENALTIES[name].make(**{STRENGTH.get(name, "strength"): strength})


@pytest.mark.parametrize("name", PENALTIES)
def test_declaration(name: str) -> None:
    choice = PENALTIES[name]
    assert choice.source in references()
    assert choice.make.unit in ("nat", "1")
    assert choice.make.separable is (name != "nearest_centre")
    chosen = of_strength(name, 0.3)
    assert chosen_from(PENALTIES, settings_of(PENALTIES, chosen)) == chosen
    documented = choice.make.__doc__
    assert all(f"{field.name}:" in documented for field in dataclasses.fields(choice.make))


@pytest.mark.parametrize("name", PENALTY_TWINS)
@pytest.mark.parametrize("strength", [None, 0.7])
def test_twin(name: str, strength: float | None) -> None:
    drawn, y = batch()
    arrays = [t.numpy() for t in (drawn.logits, drawn.features, drawn.weight, drawn.bias, y)]
    setting = STRENGTH.get(name, "strength")
    chosen = PENALTIES[name].make() if strength is None else of_strength(name, strength)
    settings = {} if strength is None else {setting: strength}
    REFERENCE.check(chosen(drawn, y), PENALTY_TWINS[name](*arrays, **settings))


@pytest.mark.parametrize(
    ("stages", "pooling", "taken"),
    [
        (("*",), "mean", ("first", "second")),
        (("first",), "mean", ("first",)),
        (("first",), "none", ("first",)),
        (("second", "first"), "none", ("second", "first")),
    ],
)
def test_twin_of_nearest_centre(stages: tuple[str, ...], pooling: str, taken: tuple[str, ...]) -> None:
    drawn, y = batch()
    layers = []
    for name in taken:
        rows = drawn.layers[name].numpy()
        maps = rows.reshape(len(y), rows.shape[1], -1)
        layers.append(maps.mean(2) if pooling == "mean" else maps.reshape(len(y), -1))
    chosen = NearestCentre(strength=0.3, stages=stages, pooling=pooling)
    assert chosen.layers == stages
    REFERENCE.floor(1.0).check(chosen(drawn, y), reference_nearest_centre(layers, y.numpy(), strength=0.3))


@pytest.mark.parametrize("name", PENALTIES)
def test_strength_is_a_factor_and_none_is_nothing(name: str) -> None:
    drawn, y = batch()
    IDENTITY.check(of_strength(name, 0.6)(drawn, y), 2 * of_strength(name, 0.3)(drawn, y))
    EXACT.check(of_strength(name, 0.0)(drawn, y).abs(), torch.zeros(len(y), dtype=torch.float64))


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient(name: str) -> None:
    """Autograd against finite differences, in features, head and a layer."""
    drawn, y = batch(8, 4, 3)
    chosen = of_strength(name, 0.3)

    def penalised(h, weight, bias, layer):
        return chosen(outputs(h, weight, bias, {"layer": layer, "last": h}), y).sum()

    given_parts = (drawn.features, drawn.weight, drawn.bias, drawn.layers["first"])
    parts = [part.detach().requires_grad_() for part in given_parts]
    assert torch.autograd.gradcheck(penalised, parts)


@pytest.mark.parametrize("name", PENALTIES)
def test_float32(name: str) -> None:
    drawn, y = batch()
    exact = PENALTIES[name].make()(drawn, y)
    rounded = PENALTIES[name].make()(in_float32(drawn), y)
    assert rounded.dtype == torch.float32
    PRECISION.at(len(y)).floor(float(exact.abs().max())).check(rounded, exact)


@pytest.mark.parametrize("name", PENALTIES)
@given(seed=st.integers(0, 2**20))
def test_order_of_samples_and_names_of_classes(name: str, seed: int) -> None:
    drawn, y = batch(seed=seed)
    g = torch.Generator().manual_seed(seed)
    order, new = torch.randperm(len(y), generator=g), torch.randperm(4, generator=g)
    mixed = changed(drawn, lambda t: t[order])
    renamed = Outputs(mixed.logits[:, new.argsort()], mixed.features, drawn.weight, drawn.bias, mixed.layers)
    chosen = PENALTIES[name].make()
    IDENTITY.floor(1.0).check(chosen(renamed, new[y[order]]), chosen(drawn, y)[order])


@pytest.mark.parametrize("name", PENALTIES)
def test_separable_penalties_are(name: str) -> None:
    drawn, y = batch()
    chosen = PENALTIES[name].make()
    part, whole = chosen(changed(drawn, lambda t: t[:6]), y[:6]), chosen(drawn, y)[:6]
    assert torch.allclose(part, whole, rtol=1e-12) is chosen.separable


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("scale", [0.0, 1e6])
def test_extreme_logits(name: str, scale: float) -> None:
    drawn, y = batch()
    h = (drawn.features * scale).float().requires_grad_()
    penalties = PENALTIES[name].make()(outputs(h, drawn.weight.float(), None, {"last": h}), y)
    penalties.sum().backward()
    assert bool(penalties.isfinite().all())
    assert bool(h.grad.isfinite().all())


def test_confidence_lies_between_certainty_and_none() -> None:
    z = torch.tensor([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]], dtype=torch.float64)
    found = ConfidencePenalty(strength=2.0)(Outputs(z, z, z), torch.tensor([0, 0]))
    REFERENCE.check(found, [-2 * math.log(3), 0.0])


def test_feature_decay_does_nothing_behind_a_neck_that_normalises(generator: torch.Generator) -> None:
    """A constant without gradient: what its documentation warns of."""
    x = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    h = torch.nn.functional.normalize(x)
    decay = FeatureDecay(decay_features=0.4)(outputs(h, torch.eye(5).double()), torch.zeros(6).long())
    decay.sum().backward()
    IDENTITY.check(decay, torch.full((6,), 0.2, dtype=torch.float64))
    IDENTITY.floor(1e-6).check(x.grad, torch.zeros(6, 5))


def test_nearest_centre_is_nothing_at_collapse_and_for_a_class_of_one() -> None:
    y = torch.tensor([0, 0, 1, 1, 1, 2])
    collapsed = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[y]
    drawn = outputs(collapsed, torch.eye(4).double(), None, {"last": collapsed})
    IDENTITY.floor(1e-6).check(NearestCentre()(drawn, y), torch.zeros(6))
    apart = collapsed + torch.arange(6.0).double()[:, None]
    found = NearestCentre()(outputs(apart, torch.eye(4).double(), None, {"last": apart}), y)
    assert float(found[5]) == 0.0
    assert bool((found[[0, 1, 2, 4]] > 0).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogitPenalty(strength=-1.0), "strength must be a finite number of at least 0, got -1.0"),
        (lambda: ConfidencePenalty(strength=-1.0), "strength must be a finite number of at least 0, got -1.0"),
        (lambda: FeatureDecay(decay_features=-1.0), "decay_features must be a finite number of at least 0, got -1.0"),
        (lambda: NearestCentre(strength=-1.0), "strength must be a finite number of at least 0, got -1.0"),
        (lambda: NearestCentre(stages=()), r"stages must be at least one name of a child of the body, or \*, got \(\)"),
        (lambda: NearestCentre(stages="1"), "stages must be at least one name of a child of the body"),
        (lambda: NearestCentre(pooling="max"), "pooling must be one of mean, none, tokens, first_token, got 'max'"),
    ],
)
def test_bad_settings(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_nearest_centre_of_tokens() -> None:
    """The mean is over the axis that is said, and never over features."""
    generator = torch.Generator().manual_seed(0)
    tokens, z, y = torch.randn(6, 5, 4, generator=generator), torch.zeros(6, 2), torch.arange(6) % 2
    seen = Outputs(z, z, z, layers={"block": tokens}, axes={"block": "last"})
    for pooling, rows in (("tokens", tokens.mean(1)), ("first_token", tokens[:, 0])):
        alone = Outputs(z, z, z, layers={"block": rows})
        EXACT.check(NearestCentre(pooling=pooling)(seen, y), NearestCentre()(alone, y))
    with pytest.raises(InputError, match=r"block gives .* pooling must be tokens or first_token"):
        NearestCentre()(seen, y)
