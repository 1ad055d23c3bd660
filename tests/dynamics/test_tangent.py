"""The tangent kernel against one gradient after another, within any budget, and what it refuses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.dynamics import (
    all_logits,
    own_logit,
    own_residual,
    single_logit,
    tangent_blocks,
    tangent_kernel,
    tangent_norms,
)
from collapselab.dynamics._elasticity import layers
from collapselab.dynamics._elasticity.gradients import Differentiation
from collapselab.dynamics._elasticity.layers import Layer
from tolerances import PRECISION, REFERENCE

Read = Callable[[Tensor, Tensor], Tensor]


class Tangled(nn.Module):
    """A weight that acts twice, one that acts elsewhere too, a convolution, and a layer on several rows a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.maps = nn.Conv1d(1, 2, 3)
        self.rows = nn.Linear(3, 3)
        self.last = nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.twice(torch.relu(self.twice(x))))
        h = h + self.maps(h[:, None]).mean((1, 2))[:, None]
        h = h + self.rows(h.view(-1, 3)).view(-1, 6)
        return self.last(torch.relu(h)) + 0.1 * x[:, :3] @ self.last.weight[:, :3].T


class Pictures(nn.Module):
    """Convolutions on many places and on few, with strides, padding and dilation, and a layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(1, 2, (2, 1), padding=(2, 1))
        self.wide = nn.Conv2d(2, 9, 3, stride=2, padding=2, dilation=2, bias=False)
        self.last = nn.Conv2d(9, 5, 1)
        self.last.weight.requires_grad_(False)
        self.circular = nn.Conv2d(5, 5, 3, padding=1, padding_mode="circular")
        self.grouped = nn.Conv2d(5, 5, 1, groups=5)
        self.tokens = nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.wide(torch.relu(self.grow(x.view(-1, 1, 2, 3)))))
        h = self.grouped(torch.tanh(self.circular(self.last(h))))
        return self.head(torch.relu(self.tokens(h.flatten(2).mT)).mean(1))


def two_layers(outputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, outputs))


def partly_frozen() -> nn.Module:
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5, bias=False), nn.Linear(5, 3))
    network[0].weight.requires_grad_(False)
    network[3].bias.requires_grad_(False)
    return network


def shared() -> nn.Module:
    network = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3))
    network[2].weight = network[0].weight
    return network


class Overwrites(nn.Module):
    """Changes its inputs in place, as a ReLU does that saves memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(2).add_(1))


def made_again() -> nn.Module:
    """Its first layer makes its weight of another parameter before each call."""
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 3))


def made(make: Callable[[], nn.Module], n: int = 7) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    network = make().double().eval()
    return network, torch.randn(n, 6, dtype=torch.float64), torch.arange(n) % 3


def reference_gradients(network: nn.Module, x: Tensor, y: Tensor, read: Read) -> Tensor:
    """One backward pass a sample."""
    leaves = [p for p in network.parameters() if p.requires_grad]
    found = []
    for one, label in zip(x, y, strict=True):
        parts = torch.autograd.grad(read(network(one[None].clone())[0], label), leaves, materialize_grads=True)
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


@pytest.mark.parametrize("make", [two_layers, Tangled, Pictures, partly_frozen, shared, Overwrites, made_again])
@pytest.mark.parametrize("read", [own_logit, own_residual])
def test_kernel_is_that_of_single_gradients(make: Callable[[], nn.Module], read: Read) -> None:
    network, x, y = made(make)
    gradients = reference_gradients(network, x, y, read)
    wanted = gradients @ gradients.T
    close = REFERENCE.floor(float(wanted.abs().max()))
    size = 8 * gradients.shape[1]
    for budget in (2**28, 8 * 49 + 7 * size, 8 * 49 + 1):  # all at once, two or three, one by one
        found = tangent_kernel(network, x, y, read=read, budget=budget)
        close.check(found, wanted)
        assert not found.requires_grad
    found = tangent_kernel(network, x[:3], y[:3], other=x[2:], other_y=y[2:], read=read, budget=8 * 15 + 7 * size)
    close.check(found, wanted[:3, 2:])
    close.check(tangent_norms(network, x, y, read=read, budget=7 * size), wanted.diagonal())


class Elsewhere(nn.Module):
    """A weight that acts outside its layer too, for inputs whose first entry is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        more = nn.functional.linear(x, self.first.weight)[:, :3]
        return self.last(input=torch.tanh(self.first(input=x))) + torch.relu(x[:, :1]) * more


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Backbone(nn.Module):
    """A layer that trains, but runs where no gradients are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = torch.tanh(self.first(x))
        return self.last(h)


def hooked() -> nn.Module:
    network = two_layers()
    network[0].register_forward_hook(lambda _m, args, output: torch.where(args[0][:, :1] > 0, 3 * output, output))
    return network


def replaced() -> nn.Module:
    network = two_layers()
    first, plain = network[0], network[0].forward
    first.forward = lambda x: torch.where(x[:, :1] > 0, 3, 1) * plain(x)
    return network


@pytest.mark.parametrize("make", [Elsewhere, hooked, replaced, Backbone], ids=lambda make: make.__name__)
def test_one_sample_does_not_hide_what_others_do(make: Callable[[], nn.Module]) -> None:
    network, x, y = made(make)
    x[:, 0] = torch.tensor([-1.0, 1, 1, 2, 1, 1, 1])
    gradients = reference_gradients(network, x, y, own_residual)
    found = tangent_kernel(network, x, y, read=own_residual)
    wanted = gradients @ gradients.T
    REFERENCE.floor(float(wanted.abs().max())).check(found, wanted)


@pytest.mark.parametrize("make", [Tied, Elsewhere], ids=lambda make: make.__name__)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_shared_weights_in_half_precision(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    network, x, y = made(make)
    network, x = network.to(dtype), x.to(dtype)
    found = tangent_kernel(network, x, y, read=own_residual).double()
    gradients = reference_gradients(network.double(), x.double(), y, own_residual)
    wanted = gradients @ gradients.T
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 8 * torch.finfo(dtype).eps


def test_blocks_are_products_of_jacobians() -> None:
    network, x, _ = made(Tangled, n=3)
    leaves = [p for p in network.parameters() if p.requires_grad]
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(z, leaves, retain_graph=True, materialize_grads=True)])
        for one in x
        for z in network(one[None])[0]
    ]
    jacobian = torch.stack(rows).view(3, 3, -1)
    REFERENCE.floor(10).check(tangent_blocks(network, x), torch.einsum("ikp,jlp->ikjl", jacobian, jacobian))


@pytest.mark.parametrize("make", [two_layers, Tangled, Pictures, partly_frozen])
def test_all_logits_give_the_trace_of_blocks(make: Callable[[], nn.Module]) -> None:
    network, x, _ = made(make, n=5)
    wanted = torch.einsum("ikjk->ij", tangent_blocks(network, x))
    close = REFERENCE.floor(float(wanted.abs().max()))
    for budget in (2**28, 8 * 25 + 1):
        close.check(tangent_kernel(network, x, read=all_logits, budget=budget), wanted)
    close.check(tangent_norms(network, x, read=all_logits), wanted.diagonal())


def test_residual_reading_gives_the_direct_estimate() -> None:
    network, x, y = made(two_layers)
    blocks, k = tangent_blocks(network, x), 3
    residuals = torch.eye(k, dtype=torch.float64)[y] - 1 / k
    wanted = torch.einsum("ik,ikjl,jl->ij", residuals, blocks, residuals) / ((k - 1) / k)
    REFERENCE.floor(10).check(tangent_kernel(network, x, y, read=own_residual), wanted)


def test_linear_layers_are_not_multiplied_out() -> None:
    """A budget that is enough for inputs and outputs of the layers, and far too small for one gradient."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 1)), torch.randn(20, 500)
    seen: list[int] = []
    network[1].register_forward_hook(lambda *_: seen.append(1))
    tangent_kernel(network, x, budget=400_000)
    assert len(seen) == 3, "two looks at one sample, and one pass over all"


def test_convolutions_are_kept_as_outer_products_too() -> None:
    network, x, y = made(Pictures)
    places = Differentiation.of(network, x[:1], y[0], read=own_logit).places
    assert set(places) == {"grow", "wide", "last", "tokens", "head"}
    assert set(Differentiation.of(made(Tangled)[0], x[:1], y[0], read=own_logit).places) == set()


@pytest.mark.parametrize(("places", "channels"), [(2, 30), (30, 2)])
def test_both_ways_to_multiply_layers(places: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few places and many channels go row by row, also in parts, many places and few channels are multiplied out."""
    monkeypatch.setattr(layers, "_AT_ONCE", 50)
    layer, generator = nn.Linear(channels, channels).double(), torch.Generator().manual_seed(0)
    inputs = torch.randn(5, places, channels, generator=generator, dtype=torch.float64)
    outputs = torch.randn(5, 2, places, channels, generator=generator, dtype=torch.float64)
    kept = Layer(layer, inputs, outputs)
    gradients = torch.cat([torch.einsum("nrto,nti->nroi", outputs, inputs).flatten(1), outputs.sum(2).flatten(1)], 1)
    wanted = gradients @ gradients.T
    REFERENCE.floor(100).check(kept.inner(kept), wanted)
    REFERENCE.check(kept.squared(), wanted.diagonal())


def test_float32_is_near_float64() -> None:
    network, x, y = made(two_layers, n=20)
    wanted = tangent_kernel(network, x, y, read=own_residual)
    found = tangent_kernel(network.float(), x.float(), y, read=own_residual)
    assert found.dtype == torch.float32
    PRECISION.at(50).floor(float(wanted.abs().max())).check(found, wanted)


def test_the_network_is_left_as_it_was() -> None:
    network, x, y = made(Tangled)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tangent_kernel(network, x, y, read=own_logit)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert all(not module._forward_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


class Chooses(nn.Module):
    """Looks at the data to decide what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else self.layer(-x)


class Recurrent(nn.Module):
    """What vmap cannot map, in words that do not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[..., None])[0][:, -1, :1]


class Detached(nn.Module):
    """Has parameters that the logits do not follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).detach()


X = torch.ones(2, 6)


def read_as(read: Read) -> Tensor:
    return tangent_kernel(nn.Linear(6, 2), X, torch.zeros(2).long(), read=read)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tangent_kernel(Chooses(), X),
            "must be one that torch.func.vmap maps over samples, got Chooses: .*data",
        ),
        (
            lambda: tangent_kernel(Recurrent().double(), X.double()),
            "must be one that torch.func.vmap maps over samples, got Recurrent: (?!.*vmap)",
        ),
        (lambda: tangent_kernel(Detached(), X), "must give logits that depend on what it trains, got Detached"),
        (
            lambda: tangent_kernel(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 1)), X),
            "must treat samples one by one, got batch normalisation in train mode: 0",
        ),
        (
            lambda: tangent_kernel(nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False)).eval(), X),
            "batch normalisation without running statistics: 0",
        ),
        (lambda: tangent_kernel(nn.Sequential(nn.Dropout(), nn.Linear(6, 1)), X), "Sequential: vmap: called random"),
        (lambda: tangent_kernel(lambda x: x, X), r"network must be a torch.nn.Module, got function"),  # pyright: ignore
        (lambda: tangent_blocks(lambda x: x, X), r"network must be a torch.nn.Module, got function"),  # pyright: ignore
        (lambda: tangent_kernel(nn.Linear(6, 1).requires_grad_(False), X), "parameters that require gradients"),
        (lambda: tangent_kernel(nn.Linear(6, 2), X), "got single_logit for a network with 2"),
        (lambda: tangent_kernel(nn.Linear(6, 1), X, torch.zeros(2).long(), read=own_residual), "got own_residual"),
        (lambda: tangent_kernel(nn.Linear(6, 2), X, read=own_logit), "y must be given unless what is read is single"),
        (
            lambda: tangent_kernel(nn.Linear(6, 2), X, torch.zeros(2).long(), other=X, read=own_logit),
            "other_y must be given",
        ),
        (lambda: tangent_kernel(nn.Linear(6, 1), X[:0]), "inputs must be a tensor of at least one sample"),
        (lambda: tangent_kernel(nn.Linear(6, 1), X, budget=16), "more than the 16 bytes of a kernel of 2 x 2 numbers"),
        (lambda: tangent_kernel(nn.Linear(6, 2), X, torch.zeros(3).long(), read=own_logit), "y must be one per row"),
        (
            lambda: tangent_kernel(nn.Linear(6, 2), X, torch.tensor([0, 2]), read=own_logit),
            r"y must lie in 0\.\.1, got 2",
        ),
        (lambda: tangent_norms(nn.Linear(6, 2), X, torch.tensor([0, 2]), read=own_residual), r"y must lie in 0\.\.1"),
        (
            lambda: tangent_kernel(
                nn.Linear(6, 2), X, torch.zeros(2).long(), other=X, other_y=torch.tensor([0, -1]), read=own_residual
            ),
            r"other_y must lie in 0\.\.1, got -1 at index 1",
        ),
        (
            lambda: tangent_kernel(nn.Linear(6, 2), X, read=all_logits, other=X[:, None]),
            r"shape \(6,\) as x, got \(1, 6\)",
        ),
        (lambda: read_as(lambda z, _: torch.outer(z, z)), r"read must give one real number or a vector.*\(2, 2\)"),
        (lambda: read_as(lambda z, _: z[:0]), "read must give one real number or a vector"),
        (lambda: read_as(lambda z, _: z.argmax()), "read must give one real number or a vector.*int64"),
        (lambda: read_as(lambda z, _: z[0] * 1j), "read must give one real number or a vector.*complex"),
        (lambda: read_as(lambda z, _: 1.0), "read must give one real number or a vector.*float"),  # pyright: ignore
        (
            lambda: tangent_kernel(nn.Linear(6, 2, dtype=torch.complex64), X.cfloat(), read=all_logits),
            "network must have real parameters, got torch.complex64 for weight",
        ),
    ],
)
def test_refusals(call: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_other_errors_are_not_renamed() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        tangent_kernel(nn.Linear(5, 1), X)


def test_single_logit_of_one_output() -> None:
    torch.manual_seed(0)
    for network in (nn.Linear(6, 1), nn.Sequential(nn.Linear(6, 1), nn.Flatten(0))):
        REFERENCE.check(tangent_kernel(network.double(), X.double()), torch.full((2, 2), 7.0))
    assert single_logit(torch.ones(1), torch.tensor(0)).ndim == 0


def test_blocks_of_a_network_that_looks_at_batches_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    with pytest.raises(InputError, match="must treat samples one by one, got batch normalisation in train mode: 1"):
        tangent_blocks(network, torch.ones(4, 2))
