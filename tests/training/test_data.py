"""Data sets: split, balance, standardisation, randomness."""

import json
import random

import numpy as np
import pytest
import torch

from collapselab.core.cite import references
from collapselab.core.errors import InputError, UnknownName
from collapselab.training import DATA, Samples
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.data import balanced_split
from tolerances import EXACT, Relative

# float32 inputs: their mean and standard deviation are those of the float64 inputs up to rounding.
ROUNDED = Relative("float32 inputs", 1e-6)

# Those that need a file or a download have tests of their own, and so has the one without any other samples.
AT_HAND = [name for name, choice in DATA.items() if choice.make.comes_along and name != "one_hot"]


@pytest.mark.parametrize("name", AT_HAND)
def test_contract(name: str, generator: torch.Generator) -> None:
    """What every data set keeps: balance, disjoint and standardised splits, and no draw from a global generator."""
    choice = DATA[name]
    assert choice.summary.endswith(".")
    assert choice.source in references()
    make = choice.make
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002
    splits = make(samples_per_class=30).load(generator)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002
    EXACT.check(torch.get_rng_state(), before[2])
    assert splits.num_classes == make.num_classes
    EXACT.check(torch.bincount(splits.train.y), torch.full((splits.num_classes,), 30))
    assert splits.train.x.dtype == torch.float32
    assert splits.train.y.dtype == torch.int64
    ROUNDED.floor(1).check(splits.train.x.double().mean(), 0.0)
    ROUNDED.check(splits.train.x.double().std(correction=0), 1.0)
    assert splits.shape == tuple(splits.train.x.shape[1:]) == tuple(splits.test.x.shape[1:])
    assert len(splits.test) == splits.test.x.shape[0] > 0
    again = make(samples_per_class=30).load(torch.Generator().manual_seed(0))
    EXACT.check(again.train.x, splits.train.x)
    EXACT.check(again.test.y, splits.test.y)
    other = make(samples_per_class=30).load(torch.Generator().manual_seed(1))
    assert not torch.equal(other.train.x, splits.train.x)


@pytest.mark.parametrize("name", AT_HAND)
def test_no_training_sample_is_tested(name: str, generator: torch.Generator) -> None:
    splits = DATA[name].make(samples_per_class=30).load(generator)
    rows = torch.cat([splits.train.x, splits.test.x]).flatten(1)
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("name", AT_HAND)
def test_settings_round_trip(name: str) -> None:
    chosen = DATA[name].make(samples_per_class=7)
    assert chosen_from(DATA, json.loads(json.dumps(settings_of(DATA, chosen)))) == chosen


@pytest.mark.parametrize(
    ("name", "train", "test", "shape"),
    [
        ("digits", 1200, 597, (1, 8, 8)),
        ("mnist1d", 4000, 1000, (1, 40)),
        ("templates1d", 4000, 1000, (1, 40)),
        ("gaussian", 4000, 1000, (32,)),
        ("geomnist", 1440, 360, (1, 32, 32)),
        ("rings", 600, 200, (2,)),
        ("nuisance_blobs", 600, 200, (10,)),
        ("torus", 100, 100, (3,)),
        ("folded_boxes", 100, 100, (3,)),
    ],
)
def test_default_sizes(name: str, train: int, test: int, shape: tuple[int, ...], generator: torch.Generator) -> None:
    splits = DATA[name].make().load(generator)
    assert (len(splits.train), len(splits.test), splits.shape) == (train, test, shape)


def test_every_sample_is_in_one_split(generator: torch.Generator) -> None:
    x, y = torch.arange(60.0)[:, None], torch.arange(60) % 3
    splits = balanced_split(x, y, per_class=7, num_classes=3, generator=generator)
    assert torch.bincount(splits.train.y).tolist() == [7, 7, 7]
    assert torch.bincount(splits.test.y).tolist() == [13, 13, 13]
    # Undo the standardisation: the 60 numbers are all there, and their labels have stayed with them.
    merged = torch.cat([splits.train.x, splits.test.x]).flatten().double()
    ranks = merged.argsort().argsort()
    EXACT.check(ranks % 3, torch.cat([splits.train.y, splits.test.y]))


@pytest.mark.parametrize("name", AT_HAND)
@pytest.mark.parametrize("bad", [0, -1, 2.0, "many"])
def test_bad_samples_per_class(name: str, bad: object) -> None:
    with pytest.raises(InputError, match="samples_per_class must be an integer of at least 1"):
        DATA[name].make(samples_per_class=bad)  # pyright: ignore[reportArgumentType]


def test_too_many_samples_per_class(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"samples_per_class must be at most 173, .* got 174"):
        DATA["digits"].make(samples_per_class=174).load(generator)


def test_unknown_data_set() -> None:
    with pytest.raises(UnknownName, match="no data set is called 'digit'; did you mean 'digits'"):
        DATA["digit"]


def test_batches_are_the_same_in_every_pass() -> None:
    batches = Samples(torch.arange(10.0)[:, None], torch.arange(10)).batches(4)
    assert len(batches) == 3
    for _ in range(2):
        assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
