"""1-d shapes: against the package's own transformations, sizes, templates, independence of the two splits."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.training.data._signals import Draws, random_templates, transformed
from collapselab.training.data.templates1d import Templates1d
from tolerances import EXACT, REFERENCE


def row(draws: Draws, i: int) -> Draws:
    return Draws(**{f.name: getattr(draws, f.name)[i : i + 1] for f in dataclasses.fields(draws)})


def twin(template: np.ndarray, draws: Draws, settings: Templates1d, padding: tuple[int, int]) -> np.ndarray:
    """One signal by the package's `transform`, its random numbers replaced by ours."""
    package = pytest.importorskip("mnist1d.transform")
    data = pytest.importorskip("mnist1d.data")
    low, high = padding
    args = data.ObjectView(data.get_dataset_args(as_dict=True) | {"padding": [low, high]})
    uniform = iter(
        [
            (int(draws.padding) - low + 0.5) / (high - low + 1),
            (float(draws.scaling) - 1) / (2 * settings.scaling) + 0.5,
            float(draws.shear) / settings.shear + 0.5,
        ]
    )
    normal = iter([draws.correlated[0].numpy() / args.corr_noise_scale, draws.noise[0].numpy() / args.iid_noise_scale])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "rand", lambda: next(uniform))
        patch.setattr(np.random, "choice", lambda _: int(draws.shift))
        patch.setattr(np.random, "randn", lambda *_: next(normal))
        return package.transform(template, np.linspace(-5, 5, 12) / 6, args)[0]


@pytest.mark.parametrize(
    ("settings", "padding"),
    [
        (Templates1d("mnist1d"), (36, 60)),
        (Templates1d(noise=0.1), (36, 36)),
        (Templates1d(padding=(3, 9), max_shift=20), (3, 9)),
    ],
)
def test_against_the_package(settings: Templates1d, padding: tuple[int, int], generator: torch.Generator) -> None:
    draws = settings.draw(40, generator)
    for shape in settings.shapes()[:3]:
        made = transformed(shape, draws)
        for i in range(40):
            expected = twin(shape.numpy(), row(draws, i), settings, padding)
            REFERENCE.floor(1).check(made[i], expected)


def test_draws_cover_their_ranges(generator: torch.Generator) -> None:
    draws = Templates1d("mnist1d", scaling=0.3, shear=0.5).draw(20000, generator)
    assert set(draws.padding.tolist()) == set(range(36, 61))
    assert set(draws.shift.tolist()) == set(range(48))
    assert 0.7 <= float(draws.scaling.min()) < 0.701
    assert 1.299 < float(draws.scaling.max()) <= 1.3
    assert -0.25 <= float(draws.shear.min()) < -0.249
    assert 0.249 < float(draws.shear.max()) <= 0.25
    assert set(Templates1d().draw(2000, generator).shift.tolist()) == set(range(13))


def test_without_any_noise_signals_of_a_class_are_equal(generator: torch.Generator) -> None:
    still = Templates1d(scaling=0.0, max_shift=0, shear=0.0, correlated_noise=0.0, noise=0.0, samples_per_class=5)
    splits = still.load(generator)
    for k in range(10):
        assert len(splits.train.x[splits.train.y == k].flatten(1).unique(dim=0)) == 1
    assert len(splits.train.x.flatten(1).unique(dim=0)) == 10


def test_random_templates() -> None:
    shapes = random_templates(100, 0)
    assert shapes.shape == (100, 12)
    REFERENCE.floor(1).check(shapes[:, [0, -1]], 0.0)
    REFERENCE.check(shapes.std(1, correction=0), 1 / 6)
    assert float(torch.pdist(shapes).min()) > 0.05  # no two classes the same
    EXACT.check(random_templates(30, 0), shapes[:30])
    assert not torch.equal(random_templates(30, 1), shapes[:30])


def test_random_templates_are_as_smooth_as_those_of_mnist1d() -> None:
    """Mean square of the steps between neighbouring points, in units of the variance."""
    rough = [
        float(s.diff(dim=1).square().mean()) * 36 for s in (random_templates(500, 0), Templates1d("mnist1d").shapes())
    ]
    assert 0.5 < rough[0] / rough[1] < 2


def test_templates_do_not_depend_on_the_generator(generator: torch.Generator) -> None:
    means = []
    for _ in range(2):  # the generator has moved on for the second
        x, y = (lambda s: (s.train.x, s.train.y))(Templates1d(samples_per_class=400, num_classes=4).load(generator))
        means.append(torch.stack([x[y == k].mean(0).flatten() for k in range(4)]))
    assert float((means[0] - means[1]).abs().max()) < 0.5 < float(torch.pdist(means[0]).min())


def test_test_signals_do_not_depend_on_how_many_are_for_training() -> None:
    few, many = (Templates1d(samples_per_class=n).load(torch.Generator().manual_seed(3)) for n in (10, 50))
    EXACT.check(few.test.y, many.test.y)
    a, b = (s.test.x.double().flatten() for s in (few, many))
    slope, offset = np.polyfit(a, b, 1)  # the same up to standardisation
    assert float((slope * a + offset - b).abs().max()) < 1e-5  # float32 inputs


def test_many_classes(generator: torch.Generator) -> None:
    splits = Templates1d(num_classes=100, samples_per_class=20, test_per_class=5).load(generator)
    assert torch.bincount(splits.train.y).tolist() == [20] * 100
    assert torch.bincount(splits.test.y).tolist() == [5] * 100


@pytest.mark.slow
def test_a_small_network_learns_the_task() -> None:
    """Ten classes, 150 signals each: nearly no test errors, while nearest class mean makes many."""
    splits = Templates1d(samples_per_class=150, test_per_class=60).load(torch.Generator().manual_seed(0))
    x, y = splits.train.take(torch.arange(len(splits.train)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv1d(1, 32, 5, stride=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 5, stride=2)]
        network = nn.Sequential(*layers, nn.BatchNorm1d(64), nn.ReLU(), nn.Flatten(), nn.Linear(448, 10))
    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for rows in torch.randperm(len(y), generator=generator).split(125):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    network.eval()
    with torch.no_grad():
        right = network(splits.test.x).argmax(1) == splits.test.y  # pyright: ignore[reportArgumentType]
    assert float(right.double().mean()) > 0.96
    means = torch.stack([x[y == k].mean(0).flatten() for k in range(10)])
    nearest = torch.cdist(splits.test.x.flatten(1), means).argmin(1)  # pyright: ignore[reportAttributeAccessIssue]
    assert float((nearest == splits.test.y).double().mean()) < 0.85


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"templates": "letters"}, "templates must be one of random, mnist1d, got 'letters'"),
        ({"templates": "mnist1d", "num_classes": 11}, "num_classes must be at most 10 with the templates of mnist1d"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2"),
        ({"test_per_class": 0}, "test_per_class must be an integer of at least 1"),
        ({"template_seed": -1}, "template_seed must be an integer of at least 0"),
        ({"padding": (5, 4)}, "most padding must be an integer of at least 5, got 4"),
        ({"padding": 36}, "padding must be two numbers, least and most, got 36"),
        ({"max_shift": -1}, "max_shift must be an integer of at least 0"),
        ({"noise": float("nan")}, "noise must be a finite number of at least 0"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Templates1d(**settings)  # pyright: ignore[reportArgumentType]
