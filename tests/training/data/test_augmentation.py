"""Augmentation against a twin that looks at one sample and one pixel after the other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapselab.core.errors import InputError
from collapselab.training.data import Augmentation
from tolerances import EXACT, MONTE_CARLO


def twin(image: np.ndarray, setting: Augmentation, *, move=(0, 0), flip=False, centre=None) -> np.ndarray:
    """One image (c, h, w): pad, cut the window out, turn it round, cut the square out."""
    _, height, width = image.shape
    pad, mode = setting.crop, {"zero": "constant", "reflect": "reflect"}[setting.padding]
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode=mode)
    window = padded[:, pad + move[0] : pad + move[0] + height, pad + move[1] : pad + move[1] + width].copy()
    if flip:
        window = window[:, :, ::-1].copy()
    if centre is not None:
        top, left = (c - setting.cutout // 2 for c in centre)
        for i in range(top, top + setting.cutout):
            for j in range(left, left + setting.cutout):
                if 0 <= i < height and 0 <= j < width:
                    window[:, i, j] = 0
    return window


@given(
    crop=st.integers(0, 3),
    padding=st.sampled_from(["zero", "reflect"]),
    flip=st.booleans(),
    cutout=st.integers(0, 6),
    seed=st.integers(0, 2**20),
    channels=st.integers(1, 3),
)
def test_images_against_the_twin(crop: int, padding, flip: bool, cutout: int, seed: int, channels: int) -> None:
    setting = Augmentation(crop=crop, padding=padding, flip=flip, cutout=cutout)
    x = torch.randn(6, channels, 4, 5, generator=torch.Generator().manual_seed(seed))
    draws = setting.draw(tuple(x.shape), torch.Generator().manual_seed(seed))
    found = setting(x, torch.Generator().manual_seed(seed))
    for i in range(6):
        expected = twin(
            x[i].numpy(),
            setting,
            move=(0, 0) if draws.moves is None else draws.moves[i].tolist(),
            flip=draws.flips is not None and bool(draws.flips[i]),
            centre=None if draws.centres is None else draws.centres[i].tolist(),
        )
        EXACT.check(found[i], torch.from_numpy(expected))


def test_signals_against_the_twin(generator: torch.Generator) -> None:
    setting = Augmentation(shift=3, noise=0.25)
    x = torch.randn(7, 2, 10, generator=generator)
    draws = setting.draw(tuple(x.shape), torch.Generator().manual_seed(5))
    assert draws.turns is not None
    assert draws.noise is not None
    found = setting(x, torch.Generator().manual_seed(5))
    for i in range(7):
        for c in range(2):
            for j in range(10):
                expected = x[i, c, (j - int(draws.turns[i])) % 10] + 0.25 * draws.noise[i, c, j]
                EXACT.check(found[i, c, j], expected)


def test_every_draw_comes_equally_often(generator: torch.Generator) -> None:
    draws = Augmentation(crop=2, flip=True, cutout=3).draw((20_000, 1, 6, 9), generator)
    assert draws.moves is not None
    assert draws.flips is not None
    assert draws.centres is not None
    for axis, size in ((0, 6), (1, 9)):
        for value in range(-2, 3):
            MONTE_CARLO.check((draws.moves[:, axis] == value).double(), 1 / 5)
        for value in range(size):
            MONTE_CARLO.check((draws.centres[:, axis] == value).double(), 1 / size)
    MONTE_CARLO.check(draws.flips.double(), 0.5)
    turns = Augmentation(shift=1).draw((20_000, 1, 6), generator).turns
    assert turns is not None
    for value in (-1, 0, 1):
        MONTE_CARLO.check((turns == value).double(), 1 / 3)


def test_nothing_by_default(generator: torch.Generator) -> None:
    x = torch.randn(3, 1, 4, 4)
    before = generator.get_state()
    assert Augmentation().none
    assert Augmentation()(x, generator) is x
    EXACT.check(generator.get_state(), before)
    assert not any(Augmentation(**on).none for on in ({"crop": 1}, {"flip": True}, {"cutout": 1}, {"noise": 0.1}))


def test_the_input_stays_as_it_was(generator: torch.Generator) -> None:
    x = torch.randn(8, 3, 6, 6)
    before = x.clone()
    assert not torch.equal(Augmentation(crop=2, flip=True, cutout=2, noise=0.1)(x, generator), x)
    EXACT.check(x, before)


def test_parts_of_a_batch_are_changed_as_in_the_whole(generator: torch.Generator) -> None:
    """So that processes or pieces of a minibatch may share one draw."""
    setting = Augmentation(crop=2, flip=True, cutout=3, noise=0.5)
    x = torch.randn(10, 2, 8, 8)
    draws = setting.draw(tuple(x.shape), generator)
    whole = setting.apply(x, draws)
    for part in (slice(0, 4), slice(4, 10), torch.tensor([1, 7, 3])):
        EXACT.check(setting.apply(x[part], draws.part(part)), whole[part])


def test_global_generator_is_not_touched(generator: torch.Generator) -> None:
    before = torch.get_rng_state()
    Augmentation(crop=1, flip=True, cutout=1, noise=0.1)(torch.zeros(2, 1, 4, 4), generator)
    EXACT.check(torch.get_rng_state(), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_another_device() -> None:
    setting = Augmentation(crop=2, flip=True, cutout=3)
    x = torch.randn(10, 3, 8, 8)
    here = setting(x, torch.Generator().manual_seed(1))
    there = setting(x.cuda(), torch.Generator().manual_seed(1))
    EXACT.check(there.cpu(), here)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": -1}, "crop must be an integer of at least 0, got -1"),
        ({"cutout": 1.5}, "cutout must be an integer of at least 0, got 1.5"),
        ({"shift": True}, "shift must be an integer of at least 0, got True"),
        ({"noise": -0.1}, "noise must be a finite number of at least 0, got -0.1"),
        ({"padding": "edge"}, "padding must be one of zero, reflect, got 'edge'"),
        ({"flip": 1}, "flip must be true or false, got 1"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**settings)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"crop": 1}, (2, 1, 9), "crop, flip and cutout must be off except for images"),
        ({"flip": True}, (2, 9), "crop, flip and cutout must be off except for images"),
        ({"shift": 1}, (2, 1, 9, 9), "shift must be 0 except for signals"),
        ({"crop": 4, "padding": "reflect"}, (2, 1, 4, 9), "crop must be at most 3 with reflect, got 4"),
    ],
)
def test_inputs_that_do_not_fit(settings: dict, shape: tuple[int, ...], message: str, generator) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**settings)(torch.zeros(shape), generator)
