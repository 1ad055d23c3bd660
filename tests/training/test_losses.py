"""Losses beside their slow twins, and what every loss must satisfy."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from collapselab.core.cite import references
from collapselab.core.errors import InputError, UnknownName
from collapselab.evidence import ClassStats, LabelledFeatures
from collapselab.metrics.coding import coding_rate_reduction
from collapselab.training import LOSSES, Classifier, Samples, Splits, Training
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.losses import Loss, Outputs
from collapselab.training.losses._features import FeatureLoss
from collapselab.training.losses.cosine_softmax import CosineSoftmax
from collapselab.training.losses.cross_entropy import CrossEntropy
from collapselab.training.losses.dot_regression import DotRegression
from collapselab.training.losses.focal import Focal
from collapselab.training.losses.info_nce import InfoNCE
from collapselab.training.losses.label_smoothing import LabelSmoothing
from collapselab.training.losses.mcr2 import CodingRateReduction
from collapselab.training.losses.mean_squared_error import MeanSquaredError
from collapselab.training.losses.rescaled_mse import RescaledSquaredError
from collapselab.training.losses.supervised_contrastive import SupervisedContrastive
from collapselab.training.optimisers import SGD
from collapselab.training.penalties.nearest_centre import NearestCentre
from collapselab.training.plan import Plan
from collapselab.training.schedules import StepSchedule
from tolerances import EXACT, IDENTITY, PRECISION, REFERENCE
from training.loss_problems import SETTINGS, batch, changed, in_float32, outputs, without_probe
from training.reference_losses import TWINS

FEATURE_LOSSES = [name for name in LOSSES if issubclass(LOSSES[name].make, FeatureLoss)]
ORDERED = ("info_nce",)  # the partner of a sample is decided by the order of the batch


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(14, 5, 4), (9, 12, 3), (30, 3, 5)])
def test_twin(name: str, shape: tuple[int, int, int]) -> None:
    """One number a sample, equal to the twin's, with default and with other settings."""
    given_outputs, y = batch(*shape)
    arrays = [t.numpy() for t in (given_outputs.logits, given_outputs.features, given_outputs.weight)]
    arrays += [given_outputs.bias.numpy(), y.numpy()]
    for settings in ({}, SETTINGS.get(name, {})):
        losses = without_probe(name, **settings)(given_outputs, y)
        assert losses.shape == y.shape
        assert losses.dtype == torch.float64
        REFERENCE.floor(1.0).check(losses, TWINS[name](*arrays, **settings))


@pytest.mark.parametrize("name", LOSSES)
def test_declaration(name: str) -> None:
    choice = LOSSES[name]
    assert choice.source in references()
    assert choice.make.unit in ("nat", "1")
    assert choice.make().layers == ()
    assert choice.make().head_role == ("probe" if name in FEATURE_LOSSES else "joint")
    assert choice.make.separable is (name not in FEATURE_LOSSES)
    assert choice.make.weighable is (name != "mcr2")
    chosen = choice.make(**SETTINGS.get(name, {}))
    assert chosen_from(LOSSES, settings_of(LOSSES, chosen)) == chosen
    documented = choice.make.__doc__
    assert all(f"{field.name}:" in documented for field in dataclasses.fields(choice.make))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name: str) -> None:
    """Autograd against finite differences, in features, weight and bias."""
    chosen = without_probe(name, **SETTINGS.get(name, {}))
    drawn, y = batch(9, 4, 3)
    parts = [part.detach().requires_grad_() for part in (drawn.features, drawn.weight, drawn.bias)]
    assert torch.autograd.gradcheck(lambda h, w, b: chosen(outputs(h, w, b), y).sum(), parts)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_where_features_are_many_and_samples_few(name: str) -> None:
    """The other side of determinants."""
    chosen = without_probe(name, **SETTINGS.get(name, {}))
    drawn, y = batch(12, 2, 3)
    h = drawn.features.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda h: chosen(outputs(h, drawn.weight), y).sum(), [h])


@pytest.mark.parametrize("name", LOSSES)
def test_float32(name: str) -> None:
    drawn, y = batch(20, 6, 4)
    chosen = without_probe(name)
    exact = chosen(drawn, y)
    rounded = chosen(in_float32(drawn), y)
    assert rounded.dtype == torch.float32
    # Features of norm 1 over a temperature of 0.1 are logits of up to 10: their rounding is that of the loss.
    PRECISION.at(20).floor(max(10.0, float(exact.abs().max()))).check(rounded, exact)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ORDERED])
@given(seed=st.integers(0, 2**20))
def test_order_of_samples(name: str, seed: int) -> None:
    """Each sample keeps its loss."""
    drawn, y = batch(seed=seed)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chosen = without_probe(name)
    IDENTITY.floor(1.0).check(chosen(changed(drawn, lambda t: t[order]), y[order]), chosen(drawn, y)[order])


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 2**20))
def test_relabelling(name: str, seed: int) -> None:
    """Names of classes do not matter: `new[k]` is the name of what was class k."""
    drawn, y = batch(seed=seed)
    new = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    old = new.argsort()
    renamed = Outputs(drawn.logits[:, old], drawn.features, drawn.weight[old], drawn.bias[old])
    chosen = LOSSES[name].make()
    IDENTITY.floor(1.0).check(chosen(renamed, new[y]), chosen(drawn, y))


@pytest.mark.parametrize("name", LOSSES)
def test_separable_losses_are(name: str) -> None:
    """The loss of a sample is the same in a part of the batch; of the others it is not."""
    drawn, y = batch()
    chosen = without_probe(name)
    part = chosen(changed(drawn, lambda t: t[:6]), y[:6])
    if chosen.separable:
        IDENTITY.check(part, chosen(drawn, y)[:6])
    else:
        assert not torch.allclose(part, chosen(drawn, y)[:6])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e3, 1e6])
def test_extreme_features(name: str, dtype: torch.dtype, scale: float) -> None:
    """Losses and gradients stay finite with huge logits of either sign, tiny ones, and features that are all zero."""
    drawn, y = batch()
    parts = [(part * scale).to(dtype).requires_grad_() for part in (drawn.features, drawn.weight)]
    losses = LOSSES[name].make()(outputs(*parts), y)
    losses.sum().backward()
    assert bool(losses.isfinite().all())
    assert all(bool(part.grad.isfinite().all()) for part in parts if part.grad is not None)


@pytest.mark.parametrize("name", LOSSES)
def test_one_sample(name: str) -> None:
    drawn, y = batch()
    h = drawn.features[:1].clone().requires_grad_()
    loss = without_probe(name)(outputs(h, drawn.weight, drawn.bias), y[:1])
    loss.sum().backward()
    assert bool(loss.isfinite().all())
    assert bool(h.grad.isfinite().all())


@pytest.mark.parametrize("name", ["supervised_contrastive", "info_nce"])
def test_a_sample_without_partner_adds_nothing(name: str) -> None:
    drawn, y = batch()
    losses = without_probe(name)(drawn, y)
    alone = torch.bincount(y)[y] == 1
    assert int(alone.sum()) == 1
    EXACT.check(losses[alone], torch.zeros(1, dtype=torch.float64))
    assert bool((losses[~alone] > 0).all())


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_probe(name: str) -> None:
    """It adds the cross-entropy of the head, gives the head its gradient and leaves that of the features alone."""
    drawn, y = batch()

    def gradients(*, probe: bool):
        parts = [part.detach().requires_grad_() for part in (drawn.features, drawn.weight, drawn.bias)]
        chosen = LOSSES[name].make(probe=probe)
        losses = chosen(outputs(*parts), y)
        losses.sum().backward()
        return chosen, losses.detach(), [part.grad for part in parts]

    with_it, total, (h, w, b) = gradients(probe=True)
    without, alone, (h_alone, w_alone, b_alone) = gradients(probe=False)
    assert (with_it.head_role, without.head_role) == ("probe", "untrained")
    IDENTITY.check(total - alone, CrossEntropy()(drawn, y))
    EXACT.check(h, h_alone)
    assert w_alone is None
    assert b_alone is None
    weight, bias = drawn.weight.clone().requires_grad_(), drawn.bias.clone().requires_grad_()
    CrossEntropy()(outputs(drawn.features, weight, bias), y).sum().backward()
    IDENTITY.floor(1.0).check(w, weight.grad)
    IDENTITY.floor(1.0).check(b, bias.grad)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_drawn(name: str) -> None:
    """The same bits twice, whatever the global generator says."""
    drawn, y = batch()
    state = torch.get_rng_state()
    chosen = LOSSES[name].make()
    EXACT.check(chosen(drawn, y), chosen(drawn, y))
    EXACT.check(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "chosen",
    [choice.make() for choice in LOSSES.values()] + [LOSSES[name].make(probe=False) for name in FEATURE_LOSSES],
    ids=repr,
)
def test_trains(chosen: Loss, generator: torch.Generator) -> None:
    """A few epochs on batches of which the last is short: all moves but a head that nothing trains."""
    x, y = torch.randn(33, 4, generator=generator), torch.arange(33) % 3
    data = Splits(Samples(x, y), Samples(x, y), 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Classifier(nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 3))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    plan = Plan(
        epochs=3,
        batch_size=8,
        drop_last=False,
        loss=chosen,
        optimiser=SGD(learning_rate=0.01),
        schedule=StepSchedule(()),
        penalty=NearestCentre(),
    )
    losses = [p.loss for p in Training(network, data, plan, order=generator, device=torch.device("cpu")).steps()]
    assert all(math.isfinite(loss) for loss in losses if loss is not None)
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved >= {"body.0.weight", "body.0.bias"}
    assert ("head.weight" in moved) is (chosen.head_role != "untrained")


def test_squared_errors_of_torch() -> None:
    """`mse` is K / 2 times what torch calls so, `mean_squared_error` is it, and `rescaled_mse` begins there."""
    drawn, y = batch()
    theirs = torch.nn.functional.mse_loss(drawn.logits, torch.nn.functional.one_hot(y, 4).double())
    IDENTITY.check(LOSSES["mse"].make()(drawn, y).mean(), 4 / 2 * theirs)
    IDENTITY.check(MeanSquaredError()(drawn, y).mean(), theirs)
    IDENTITY.check(RescaledSquaredError(kappa=1.0, target=1.0)(drawn, y).mean(), theirs)


def test_what_reduces_to_cross_entropy() -> None:
    drawn, y = batch()
    expected = CrossEntropy()(drawn, y)
    IDENTITY.check(LabelSmoothing(smoothing=0.0)(drawn, y), expected)
    IDENTITY.check(Focal(gamma=0.0)(drawn, y), expected)
    unit = outputs(*(torch.nn.functional.normalize(part) for part in (drawn.features, drawn.weight)))
    IDENTITY.check(CosineSoftmax(temperature=1.0)(drawn, y), CrossEntropy()(unit, y))


def test_temperature_divides() -> None:
    """Two unit class vectors at a right angle, and a feature on the first: cosines 1 and 0."""
    h, w = torch.tensor([[3.0, 0.0]]).double(), torch.eye(2).double() * 7
    loss = CosineSoftmax(temperature=0.25)(outputs(h, w), torch.tensor([0]))
    REFERENCE.check(loss, [math.log1p(math.exp(-4.0))])


def test_focal_keeps_its_digits_where_the_probability_rounds_to_one() -> None:
    """At a margin of 60 it is e^(-60 (1 + gamma)), not 0."""
    z = torch.tensor([[60.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = Focal(gamma=0.5)(Outputs(z, z, z), torch.tensor([0]))
    loss.sum().backward()
    REFERENCE.check(loss, [math.exp(-90.0)])
    REFERENCE.check(z.grad, [[-1.5 * math.exp(-90.0), 1.5 * math.exp(-90.0)]])


def test_gradient_of_dot_regression_pulls_and_never_pushes(generator: torch.Generator) -> None:
    """Yang et al. (2022): -(1 - cos) w_y at full norm; other rows of the head get nothing."""
    h = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64)) * math.sqrt(2.5)
    w = torch.nn.functional.normalize(torch.randn(3, 5, generator=generator, dtype=torch.float64)) * 2
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    h.requires_grad_()
    w.requires_grad_()
    DotRegression(energy_head=4.0, energy_features=2.5)(outputs(h, w), y).sum().backward()
    cosines = torch.nn.functional.cosine_similarity(h, w[y])
    IDENTITY.check(h.grad, -(1 - cosines)[:, None] * w[y])
    EXACT.check(w.grad[2], torch.zeros(5, dtype=torch.float64))


def test_info_nce_is_supervised_contrastive_on_average_over_orders() -> None:
    """Every order of five samples: the partner of each is every other one of its class equally often."""
    drawn, _ = batch(5, 3, 4)
    y = torch.tensor([0, 0, 0, 1, 1])
    chosen, total = InfoNCE(probe=False), torch.zeros(5, dtype=torch.float64)
    orders = list(itertools.permutations(range(5)))
    for order in map(torch.tensor, orders):
        total[order] += chosen(changed(drawn, lambda t, order=order: t[order]), y[order])
    IDENTITY.check(total / len(orders), SupervisedContrastive(probe=False)(drawn, y))


@pytest.mark.parametrize("shape", [(14, 5, 4), (9, 12, 3), (60, 3, 5)])
def test_mcr2_is_minus_the_metric(shape: tuple[int, int, int]) -> None:
    """The same batch as evidence: the measured coding rate reduction."""
    drawn, y = batch(*shape)
    features = LabelledFeatures.of(drawn.features, y, num_classes=shape[2])
    measured = coding_rate_reduction(ClassStats.of(features), features)
    IDENTITY.check(CodingRateReduction(probe=False)(drawn, y), -measured.expand(len(y)))


def test_mcr2_says_when_features_are_lost() -> None:
    drawn, y = batch()
    drawn.features[3, 2] = torch.nan
    assert bool(CodingRateReduction(probe=False)(drawn, y).isnan().all())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rescaled_mse", {"kappa": 0.0}, "kappa must be a finite number above 0, got 0.0"),
        ("rescaled_mse", {"target": -1}, "target must be a finite number above 0, got -1"),
        ("label_smoothing", {"smoothing": 1.0}, "smoothing must be a finite number of at least 0 and below 1, got 1.0"),
        ("label_smoothing", {"smoothing": -0.1}, "at least 0 and below 1, got -0.1"),
        ("focal", {"gamma": -1.0}, "gamma must be a finite number of at least 0, got -1.0"),
        ("cosine_softmax", {"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ("dot_regression", {"energy_head": 0}, "energy_head must be a finite number above 0, got 0"),
        ("dot_regression", {"energy_features": "much"}, "energy_features must be a finite number above 0, got 'much'"),
        ("supervised_contrastive", {"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        (
            "supervised_contrastive_with_self",
            {"temperature": -1},
            "temperature must be a finite number above 0, got -1",
        ),
        ("info_nce", {"temperature": float("inf")}, "temperature must be a finite number above 0, got inf"),
        ("mcr2", {"epsilon_squared": 0}, "epsilon_squared must be a finite number above 0, got 0"),
    ],
)
def test_bad_settings(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LOSSES[name].make(**settings)


def test_unknown_loss() -> None:
    with pytest.raises(UnknownName, match="no loss is called 'cross-entropy'; did you mean 'cross_entropy'"):
        LOSSES["cross-entropy"]
