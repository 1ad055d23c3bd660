"""Heads and necks: what every one of them promises, and the geometry of the fixed ones beside slow twins."""

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from collapselab.core.cite import references
from collapselab.core.errors import InputError
from collapselab.evidence import feature_tap
from collapselab.geometry import one_versus_rest_distances
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.heads import (
    HEADS,
    Cosine,
    Cube,
    FixedHead,
    Head,
    Learnable,
    Neck,
    Orthoplex,
    SimplexETF,
    SoftmaxCode,
)
from collapselab.training.networks import Classifier
from collapselab.training.networks.mlp import MLP
from collapselab.training.plan import parameter_groups
from tolerances import EXACT, IDENTITY, REFERENCE

GRAM = 1e-12  # closed forms of order 1 in float64: rounding of a few sums of d products
FITTING = [(9, 10), (10, 10), (16, 10), (5, 2), (4, 5), (7, 3)]  # (d, K)
FIXED: list[FixedHead] = [
    SimplexETF(),
    SimplexETF(orientation="blocks"),
    SimplexETF(orientation="random"),
    Orthoplex(),
    Orthoplex(orientation="random"),
    Cube(),
    Cube(orientation="random"),
    SoftmaxCode(),
    SoftmaxCode(orientation="random"),
]


def reference_simplex(k: int) -> np.ndarray:
    """Cosine -1/(K-1) between any two (Zhu et al. 2021, definition of a simplex ETF)."""
    gram = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            gram[i, j] = 1.0 if i == j else -1.0 / (k - 1)
    return gram


def reference_orthoplex(k: int) -> np.ndarray:
    """+e_1, ..., +e_m, -e_1, ... with m = ceil(K/2)."""
    m = math.ceil(k / 2)
    gram = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            if i % m == j % m:
                gram[i, j] = 1.0 if i // m == j // m else -1.0
    return gram


def reference_cube(k: int) -> np.ndarray:
    """1 - 2 (number of differing binary digits) / ceil(log2 K)."""
    digits = math.ceil(math.log2(k))
    gram = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            differing = sum(((i >> place) & 1) != ((j >> place) & 1) for place in range(digits))
            gram[i, j] = 1.0 - 2.0 * differing / digits
    return gram


TWINS: dict[type, Callable[[int], np.ndarray]] = {
    SimplexETF: reference_simplex,
    Orthoplex: reference_orthoplex,
    Cube: reference_cube,
    SoftmaxCode: reference_simplex,  # K <= d+1; the others are tested with the geometry
}


def h_of(n: int, d: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Features from a seed of their own."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def trained(module: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("d", "k"), FITTING)
@pytest.mark.parametrize("bias", [True, False])
def test_contract(name: str, d: int, k: int, bias: bool) -> None:
    """A linear layer in the default dtype whose weight is the one that acts, and which features can learn through."""
    choice = HEADS[name]
    assert choice.source in references()
    head = choice.make(bias=bias).build(d, k)
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (d, k)
    assert head.weight.shape == (k, d)
    assert head.weight.dtype == torch.float32
    assert (head.bias is not None) is bias
    h = h_of(6, d).requires_grad_()
    z = head(h)
    torch.testing.assert_close(z, h @ head.weight.T + (head.bias if bias else 0))
    z.square().sum().backward()
    assert h.grad is not None
    assert float(h.grad.norm()) > 0
    if bias:
        assert head.bias.requires_grad
        assert head.bias.grad is not None


@pytest.mark.parametrize("name", HEADS)
def test_settings_survive_json(name: str) -> None:
    made = HEADS[name].make()
    assert chosen_from(HEADS, json.loads(json.dumps(settings_of(HEADS, made)))) == made


@pytest.mark.parametrize("name", HEADS)
def test_state_round_trip_copy_and_casts(name: str) -> None:
    make = HEADS[name].make(bias=True)
    head, other = make.build(6, 5), make.build(6, 5)
    h = h_of(4, 6)
    other.load_state_dict(head.state_dict())
    EXACT.check(other(h), head(h))
    EXACT.check(copy.deepcopy(head)(h), head(h))
    for dtype in (torch.float64, torch.bfloat16):
        cast = copy.deepcopy(head).to(dtype)
        assert cast.weight.dtype == dtype
        assert cast.weight.requires_grad == head.weight.requires_grad
        torch.testing.assert_close(cast(h.to(dtype)).float(), head(h), rtol=0.02, atol=0.02)  # bfloat16 has 8 bits


@pytest.mark.parametrize("head", FIXED, ids=repr)
@pytest.mark.parametrize(("d", "k"), FITTING)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_gram_matrix_is_exact(head: FixedHead, d: int, k: int, scale: float) -> None:
    expected = TWINS[type(head)](k)
    rows = head.rows(d, k)
    assert (rows.dtype, rows.shape) == (torch.float64, (k, d))
    np.testing.assert_allclose((rows @ rows.T).numpy(), expected, rtol=0, atol=GRAM)
    weight = with_scale(head, scale).build(d, k).double().weight
    np.testing.assert_allclose((weight @ weight.T).numpy() / scale**2, expected, rtol=0, atol=GRAM)


def with_scale(head: FixedHead, scale: float) -> FixedHead:
    """The same head with class vectors of another length."""
    return chosen_from(HEADS, settings_of(HEADS, head) | {"scale": scale})  # pyright: ignore[reportReturnType]


@given(k=st.integers(2, 20), extra=st.integers(0, 15), seed=st.integers(0, 2**31), name=st.sampled_from(sorted(HEADS)))
def test_gram_matrix_does_not_depend_on_the_orientation(k: int, extra: int, seed: int, name: str) -> None:
    if not issubclass(HEADS[name].make, FixedHead):
        return
    torch.manual_seed(seed)
    fixed, turned = HEADS[name].make(), HEADS[name].make(orientation="random")
    d = k - 1 + extra
    a, b = fixed.rows(d, k), turned.rows(d, k)
    np.testing.assert_allclose((a @ a.T).numpy(), (b @ b.T).numpy(), rtol=0, atol=GRAM)


def test_random_orientation_comes_from_the_global_generator() -> None:
    for make in (SimplexETF, Orthoplex, Cube, SoftmaxCode):
        built = []
        for seed in (5, 5, 6):
            torch.manual_seed(seed)
            built.append(make(orientation="random").build(12, 10).weight)
        assert torch.equal(built[0], built[1])
        assert not torch.allclose(built[0], built[2])


def test_fixed_orientation_draws_nothing() -> None:
    for make in (SimplexETF, Orthoplex, Cube, SoftmaxCode):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        made = make().rows(4, 4 if make is not SoftmaxCode else 10)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(made, make().rows(4, len(made)))


def test_axes_of_a_simplex() -> None:
    """sqrt(K/(K-1)) (I - 11'/K), and zeros for the features beyond."""
    k, d = 4, 6
    expected = np.zeros((k, d))
    for i in range(k):
        for j in range(k):
            expected[i, j] = math.sqrt(k / (k - 1)) * ((i == j) - 1 / k)
    REFERENCE.floor(1.0).check(SimplexETF().rows(d, k), expected)


@pytest.mark.parametrize(("d", "k"), [(10, 10), (11, 10), (64, 10), (7, 3)])
def test_blocks_of_a_simplex_fit_into_the_orthant(d: int, k: int) -> None:
    """Every feature has signal, and shifting the class vectors by one and the same vector makes them non-negative."""
    rows = SimplexETF(orientation="blocks").rows(d, k)
    assert bool((rows.abs().max(0).values > 0).all())
    owners = rows.argmax(0)
    sizes = torch.bincount(owners, minlength=k)
    assert int(sizes.max() - sizes.min()) <= 1
    shifted = rows - rows.min(0).values
    assert bool((shifted >= 0).all())
    off_axis = shifted.clone()
    off_axis[owners, torch.arange(d)] = 0
    assert float(off_axis.max()) < 1e-15


@pytest.mark.parametrize("name", HEADS)
def test_what_is_trained(name: str) -> None:
    """A fixed head saves its K d weights, and keeps a bias on request."""
    make = HEADS[name].make
    for bias in (True, False):
        weights = 0 if issubclass(make, FixedHead) else 7 * 5
        assert trained(make(bias=bias).build(7, 5)) == weights + (5 if bias else 0)


def test_training_leaves_a_fixed_head_alone() -> None:
    network = MLP(widths=(12, 8)).build((1, 4, 4), 5, head=SimplexETF(bias=True))
    before = network.head.weight.clone()
    optimiser = torch.optim.SGD(parameter_groups(network, "all"), lr=0.1, momentum=0.9, weight_decay=0.1)
    stage = network.body.get_submodule(next(name for name, _ in network.body.named_children()))
    moved = copy.deepcopy(stage)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(h_of(10, 16).view(10, 1, 4, 4)), torch.arange(10) % 5).backward()
        optimiser.step()
    EXACT.check(network.head.weight, before)
    assert float(network.head.bias.detach().abs().max()) > 0
    assert any(not torch.equal(a, b) for a, b in zip(stage.parameters(), moved.parameters(), strict=True))


def test_a_cast_of_loaded_weights_keeps_what_was_loaded() -> None:
    a, b = (SimplexETF(orientation="random").build(6, 4) for _ in range(2))
    a.load_state_dict(b.state_dict())
    EXACT.check(a.double().weight, b.weight.double())


def test_moving_through_a_coarse_dtype_loses_nothing() -> None:
    head = SimplexETF().build(10, 10)
    np.testing.assert_allclose(
        (head.bfloat16().double().weight @ head.weight.T).detach().numpy(), reference_simplex(10), rtol=0, atol=GRAM
    )


def test_fixed_heads_on_the_meta_device() -> None:
    assert SimplexETF().build(6, 4).to("meta").double().weight.is_meta


# In a process of its own that ends without tearing down: threads of gloo may wait for the interpreter while it waits
# for them.
PARALLEL = """
import os, sys, torch
from torch import nn
from collapselab.training.heads import HEADS
from collapselab.training.networks.mlp import MLP

torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
for name in HEADS:
    network = MLP(widths=(12, 8)).build((1, 4, 4), 5, head=HEADS[name].make())
    parallel = nn.parallel.DistributedDataParallel(network)
    nn.functional.cross_entropy(parallel(torch.rand(10, 1, 4, 4)), torch.arange(10) % 5).backward()
    print(name, all((p.grad is not None) == p.requires_grad for p in network.parameters()), flush=True)
os._exit(0)
"""


def test_heads_in_distributed_data_parallel(tmp_path: Path) -> None:
    """It takes every head, trained or not, and every trained weight gets its gradient."""
    command = [sys.executable, "-c", PARALLEL, str(tmp_path / "meet")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n")[:-1] == [f"{name} True" for name in HEADS], done.stderr


@pytest.mark.parametrize("name", HEADS)
def test_the_tap_finds_the_head_behind_a_neck(name: str) -> None:
    network = MLP(widths=(12, 8)).build((1, 4, 4), 5, head=HEADS[name].make(), neck=Neck(linear=6, normalise=True))
    tap = feature_tap(network)
    tap.probe((torch.zeros(4, 1, 4, 4), torch.tensor([0, 1, 2, 3])))
    assert tap.layer.name == "head"
    assert tap.layer.num_features == 6


def test_cosine_head_keeps_the_length_of_its_rows() -> None:
    head = Cosine(scale=5.0).build(6, 4)
    IDENTITY.times(1e3).check(head.weight.norm(dim=1), torch.full((4,), 5.0))  # float32
    optimiser = torch.optim.SGD(head.parameters(), lr=1.0, weight_decay=0.1)
    before = head.weight.detach().clone()
    head(h_of(3, 6)).square().sum().backward()
    optimiser.step()
    IDENTITY.times(1e3).check(head.weight.norm(dim=1), torch.full((4,), 5.0))
    assert float((head.weight.detach() - before).abs().max()) > 0.1
    with torch.no_grad():
        head.parametrizations["weight"].original.zero_()  # pyright: ignore
    EXACT.check(head.weight.detach(), torch.zeros(4, 6))


# ------------------------------------------------------------------------------------------- classes to come


@pytest.mark.parametrize("make", [SimplexETF, Orthoplex, Cube, SoftmaxCode])
def test_reserved_classes_have_logits_and_no_samples(make: Callable[..., FixedHead]) -> None:
    head = make(reserve=12).build(12, 5)
    assert head.out_features == 12
    EXACT.check(head.weight, make().build(12, 12).weight)
    y = torch.arange(10) % 5
    h = h_of(10, 12).requires_grad_()
    nn.functional.cross_entropy(head(h), y).backward()
    assert h.grad is not None
    pushed = (head(h).softmax(1)[:, 5:] @ head.weight[5:]) / 10  # away from the reserved ones, as from all others
    present = (head(h).softmax(1)[:, :5] - nn.functional.one_hot(y, 5)) @ head.weight[:5] / 10
    torch.testing.assert_close(h.grad, (pushed + present).detach())


# ------------------------------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SimplexETF().build(8, 10), "num_features must be at least 9 for 10 classes .*, got 8"),
        (lambda: SimplexETF(orientation="blocks").build(8, 10), "num_features must be at least 9"),
        (lambda: SimplexETF(orientation="random").build(8, 10), "num_features must be at least 9"),
        (lambda: SimplexETF(reserve=20).build(18, 10), "num_features must be at least 19 for 20 classes .*, got 18"),
        (lambda: SimplexETF(reserve=9).build(18, 10), "reserve must be at least 10, the number of classes, got 9"),
        (lambda: Orthoplex().build(4, 9), "num_features must be at least 5 for 10 classes .*, got 4"),
        (lambda: Cube().build(3, 10), "num_features must be at least 4 for 16 classes .*, got 3"),
        (lambda: SoftmaxCode().build(1, 3), "num_features must be at least 2 for 3 classes .*, got 1"),
        (lambda: SimplexETF().build(3, 1), "num_classes must be an integer of at least 2, got 1"),
        (lambda: SimplexETF(scale=0), "scale must be a finite number above 0, got 0"),
        (lambda: SimplexETF(bias="yes"), "bias must be true or false, got 'yes'"),  # pyright: ignore
        (lambda: Learnable(bias="no"), "bias must be true or false, got 'no'"),  # pyright: ignore
        (lambda: SimplexETF(reserve=1.5), "reserve must be an integer of at least 2, got 1.5"),  # pyright: ignore
        (lambda: SimplexETF(orientation="up"), "orientation must be one of axes, blocks, random, got 'up'"),  # pyright: ignore
        (lambda: Cube(orientation="blocks"), "orientation must be one of axes, random, got 'blocks'"),  # pyright: ignore
        (lambda: SoftmaxCode(starts=0), "starts must be an integer of at least 1, got 0"),
        (lambda: Cosine(scale=-1), "scale must be a finite number above 0, got -1"),
        (lambda: Cosine(bias=1), "bias must be true or false, got 1"),  # pyright: ignore
        (lambda: Neck(linear=0), "linear must be an integer of at least 1, got 0"),
        (lambda: Neck(centre="median"), "centre must be one of none, mean, batch_norm, got 'median'"),  # pyright: ignore
        (lambda: Neck(normalise=1), "normalise must be true or false, got 1"),  # pyright: ignore
        (lambda: Neck(radius=0), "radius must be a finite number above 0, got 0"),
    ],
)
def test_refusals(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


# ------------------------------------------------------------------------------------------- necks


def neck_of(**settings: Any) -> nn.Module:
    """A neck for 6 features."""
    module, _ = Neck(**settings).build(6)
    assert module is not None
    return module


def test_no_neck_by_default() -> None:
    assert Neck().build(6) == (None, 6)
    network = MLP(widths=(12, 8)).build((1, 4, 4), 5, neck=Neck())
    assert isinstance(network.neck, nn.Identity)


@pytest.mark.parametrize("head", [Learnable(), SimplexETF()], ids=repr)
def test_a_linear_layer_changes_what_the_head_gets(head: Head) -> None:
    network: Classifier = MLP(widths=(12, 8)).build((1, 4, 4), 5, head=head, neck=Neck(linear=5))
    h = network.features(h_of(20, 16).view(20, 1, 4, 4)).detach()
    assert h.shape == (20, 5)
    assert float(h.min()) < 0 < float(h.max())
    assert network.head.in_features == 5


def test_features_of_one_length() -> None:
    h = h_of(10, 6, torch.float64)
    found = neck_of(normalise=True, radius=2.5)(h)
    expected = np.array([[2.5 * x / math.sqrt(sum(v * v for v in row)) for x in row] for row in h.tolist()])
    REFERENCE.check(found, expected)


def test_zero_features_stay_zero_and_keep_a_gradient_of_their_size() -> None:
    h = torch.cat([torch.zeros(1, 6), h_of(2, 6)]).requires_grad_()
    found = neck_of(normalise=True, radius=2.0)(h)
    EXACT.check(found[0].detach(), torch.zeros(6))
    found.sum().backward()
    assert h.grad is not None
    EXACT.check(h.grad[0], torch.full((6,), 2.0))
    assert bool(h.grad.isfinite().all())


@pytest.mark.parametrize("centre", ["none", "mean", "batch_norm"])
def test_no_width_and_no_variance_give_no_nan(centre: str) -> None:
    module = neck_of(centre=centre, normalise=True)
    for mode in (True, False):
        module.train(mode)
        assert bool(module(torch.ones(4, 6)).isfinite().all())
    for part in module.children():
        if not isinstance(part, nn.BatchNorm1d) and not hasattr(part, "running_mean"):
            assert part(torch.zeros(4, 0)).shape == (4, 0)


def test_centring_against_batch_normalisation() -> None:
    """The same running mean as torch's, and no division."""
    ours, theirs = neck_of(centre="mean"), nn.BatchNorm1d(6, affine=False)
    for seed in range(3):
        h = torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)) + 4
        torch.testing.assert_close(ours(h), h - h.mean(0))
        theirs(h)
    running = dict(ours.named_buffers())["centre.running_mean"]
    torch.testing.assert_close(running, theirs.running_mean)
    ours.eval()
    h = h_of(5, 6)
    torch.testing.assert_close(ours(h), h - running)
    again = neck_of(centre="mean").eval()
    again.load_state_dict(ours.state_dict())
    EXACT.check(again(h), ours(h))


def test_batch_norm_has_nothing_to_learn() -> None:
    module = neck_of(centre="batch_norm")
    assert trained(module) == 0
    found = module(h_of(50, 6) * 3 + 1)
    torch.testing.assert_close(found.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.var(0, unbiased=False), torch.ones(6), rtol=1e-4, atol=0)


def test_everything_in_order() -> None:
    module, width = Neck(linear=4, centre="mean", normalise=True).build(6)
    assert width == 4
    assert module is not None
    assert [name for name, _ in module.named_children()] == ["linear", "centre", "normalise"]
    h = h_of(10, 6)
    z = module.get_submodule("linear")(h)
    torch.testing.assert_close(module(h), nn.functional.normalize(z - z.mean(0)))


def test_dot_regression_pulls_alone() -> None:
    """Yang et al. (2022): at full norm the gradient is -(1 - cos) w_y, on a fixed head behind normalised features."""
    from collapselab.training.losses import Outputs
    from collapselab.training.losses.dot_regression import DotRegression

    head = SimplexETF().build(10, 5).double()
    h = neck10(h_of(8, 10, torch.float64)).requires_grad_()
    y = torch.arange(8) % 5
    DotRegression()(Outputs(head(h), h, head.weight), y).sum().backward()
    rows = head.weight[y]
    REFERENCE.check(h.grad, -(1 - (rows * h).sum(1, keepdim=True)).detach() * rows)


def neck10(h: Tensor) -> Tensor:
    """Ten features of length 1."""
    module, _ = Neck(normalise=True).build(10)
    assert module is not None
    return module(h).detach()


def test_a_random_code_is_as_good_as_a_fixed_one() -> None:
    torch.manual_seed(0)
    for orientation in ("fixed", "random"):
        rows = SoftmaxCode(orientation=orientation).rows(3, 12)
        assert float(one_versus_rest_distances(rows).min()) == pytest.approx(1 - 1 / math.sqrt(5), abs=1e-8)


def test_reserved_classes_leave_the_duality_of_the_present_ones_as_it_is() -> None:
    from collapselab import measure
    from collapselab.evidence import LabelledFeatures, LinearHead

    head = SimplexETF(reserve=12).build(12, 5).double()
    features = LabelledFeatures.of(h_of(60, 12, torch.float64), torch.arange(60) % 5, num_classes=5)
    names = ["nc3_duality", "nc3_cosine", "minority_cosine_weights"]
    all_rows = measure(features, metrics=names, head=head)
    present = measure(features, metrics=names, head=LinearHead.of(head.weight.detach()[:5]))
    IDENTITY.check([all_rows[name] for name in names], [present[name] for name in names])
