"""Features from a file: the split, standardisation, two files, and what is refused."""

from pathlib import Path

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures, write_features
from collapselab.training.data import DATA
from collapselab.training.data.feature_dump import FeatureDump
from tolerances import EXACT, Relative

# float32 inputs: their mean and standard deviation are those of the float64 inputs up to rounding.
ROUNDED = Relative("float32 inputs", 1e-6)


def features(counts: list[int], d: int = 4) -> LabelledFeatures:
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    h = torch.arange(len(y) * d).double().reshape(-1, d) + 100 * y[:, None]
    return LabelledFeatures.of(h, y)


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "parquet"])
def test_split(suffix: str, tmp_path: Path, generator: torch.Generator) -> None:
    path = str(tmp_path / f"features.{suffix}")
    given = features([20, 10, 2])
    write_features(path, given)
    splits = FeatureDump(path, test_part=0.3).load(generator)
    assert torch.bincount(splits.train.y).tolist() == [14, 7, 1]
    assert torch.bincount(splits.test.y).tolist() == [6, 3, 1]
    assert (splits.num_classes, splits.shape) == (3, (4,))
    assert splits.train.x.dtype == torch.float32
    ROUNDED.floor(1).check(splits.train.x.double().mean(), 0.0)
    ROUNDED.check(splits.train.x.double().std(correction=0), 1.0)
    # Rows rise with their index in the file: all are there, and their labels have stayed with them.
    merged, y = torch.cat([splits.train.x, splits.test.x])[:, 0], torch.cat([splits.train.y, splits.test.y])
    EXACT.check(y[merged.argsort()], given.y)
    again = FeatureDump(path, test_part=0.3).load(torch.Generator().manual_seed(0))
    EXACT.check(again.train.x, splits.train.x)
    other = FeatureDump(path, test_part=0.3).load(torch.Generator().manual_seed(1))
    assert not torch.equal(other.train.x, splits.train.x)


def test_two_files(tmp_path: Path, generator: torch.Generator) -> None:
    train, test = str(tmp_path / "train.npz"), str(tmp_path / "test.npz")
    write_features(train, features([5, 5, 5]))
    write_features(test, features([3, 1, 0]))
    splits = FeatureDump(train, test).load(generator)
    assert (len(splits.train), splits.test.y.sort().values.tolist(), splits.num_classes) == (15, [0, 0, 0, 1], 3)


def test_what_does_not_fit(tmp_path: Path, generator: torch.Generator) -> None:
    path, narrow, more = (str(tmp_path / f"{name}.npz") for name in ("all", "narrow", "more"))
    write_features(path, features([3, 1]))
    write_features(narrow, features([3, 3], d=2))
    write_features(more, features([3, 3, 3]))
    with pytest.raises(InputError, match="must have 2 samples of each class to keep one for testing, got 1 of 1"):
        FeatureDump(path).load(generator)
    with pytest.raises(InputError, match=r"narrow.npz must have 4 features like .*all.npz, got 2"):
        FeatureDump(path, narrow).load(generator)
    with pytest.raises(InputError, match=r"more.npz: labels must lie in 0..1, got 2"):
        FeatureDump(path, more).load(generator)
    with pytest.raises(InputError, match="no file"):
        FeatureDump(str(tmp_path / "none.npz")).load(generator)


def test_one_class(tmp_path: Path, generator: torch.Generator) -> None:
    path = str(tmp_path / "one.npz")
    write_features(path, LabelledFeatures.of(torch.ones(4, 2), torch.zeros(4).long(), num_classes=1))
    with pytest.raises(InputError, match="must have at least 2 classes, got 1"):
        FeatureDump(path).load(generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "path must name a file of features, got ''"),
        ({"path": "a.npz", "test_path": ""}, "test_path must name a file of features, got ''"),
        ({"path": "a.npz", "test_part": 0}, "test_part must be a finite number above 0"),
        ({"path": "a.npz", "test_part": 1.0}, "test_part must be a finite number above 0 and below 1, got 1.0"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureDump(**settings)  # pyright: ignore[reportArgumentType]


def test_it_is_listed() -> None:
    assert DATA["feature_dump"].make is FeatureDump
