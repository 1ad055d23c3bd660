"""Images through the package datasets: tiny local files, decoded in the test one after the other."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from collapselab.core.cite import references
from collapselab.core.errors import InputError, MissingExtra
from collapselab.training._choice import chosen_from, settings_of
from collapselab.training.data import DATA, Samples
from collapselab.training.data._known import KNOWN
from collapselab.training.data.hub import Hub
from tolerances import EXACT, Relative

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")

ROUNDED = Relative("float32 inputs", 1e-6).floor(100)
# Pillow rounds the coefficients of its filter, which it finds for the whole image or for a box of it.
ONE_LEVEL = Relative("one grey level", 0.0, atol=1.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own, and no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield tmp_path / "cache"
    datasets.enable_progress_bars()


def pixels(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def table(images: list[Any], labels: list[Any], *, names: dict[str, Any] | None = None) -> Any:
    """A table with the columns picture and kind."""
    kind = datasets.ClassLabel(names=["ant", "bee"]) if names is None else names["kind"]
    features = datasets.Features(picture=datasets.Image(), kind=kind)
    return datasets.Dataset.from_dict({"picture": images, "kind": labels}, features=features)


def coloured(n: int, *, size: int = 6, seed: int = 0) -> tuple[Any, np.ndarray]:
    arrays = pixels(n, size, size, 3, seed=seed)
    return table([Image.fromarray(a) for a in arrays], [i % 2 for i in range(n)]), arrays


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder of parquet files with 12 images for training and 6 for testing."""
    path = tmp_path / "tiny"
    path.mkdir()
    train, train_pixels = coloured(12)
    test, test_pixels = coloured(6, seed=1)
    train.to_parquet(path / "train-00000.parquet")
    test.to_parquet(path / "test-00000.parquet")
    return path, train_pixels, test_pixels


def taken(samples: Samples) -> Tensor:
    return samples.take(torch.arange(len(samples)))[0]


def standardised(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """(n, h, w, c) to (n, c, h, w): each channel by its mean and deviation over the training images."""
    out = np.empty((len(values), values.shape[3], *values.shape[1:3]))
    for c in range(values.shape[3]):
        channel = training[..., c].astype(np.float64)
        out[:, c] = (values[..., c] - channel.mean()) / channel.std()
    return out


@pytest.mark.parametrize("memory_gb", [4.0, 0.0])
def test_parquet_folder(folder: tuple[Path, np.ndarray, np.ndarray], memory_gb: float, generator) -> None:
    path, train, test = folder
    splits = Hub(path=str(path), memory_gb=memory_gb).load(generator)
    assert (splits.num_classes, splits.shape) == (2, (3, 6, 6))
    assert splits.train.in_memory == splits.test.in_memory == (memory_gb > 0)
    assert splits.train.y.tolist() == [i % 2 for i in range(12)]
    ROUNDED.check(taken(splits.train), standardised(train, train))
    ROUNDED.check(taken(splits.test), standardised(test, train))


def test_decoded_on_demand_or_beforehand_is_the_same(folder: tuple[Path, np.ndarray, np.ndarray], generator) -> None:
    path = str(folder[0])
    beforehand, on_demand = (
        Hub(path=path, memory_gb=gb, samples_per_class=4, size=4, colour="grey").load(torch.Generator().manual_seed(7))
        for gb in (4.0, 0.0)
    )
    rows = torch.tensor([5, 0, 5, 2])
    for one, other in ((beforehand.train, on_demand.train), (beforehand.test, on_demand.test)):
        for a, b in zip(one.take(rows), other.take(rows), strict=True):
            EXACT.check(a, b)
        for (xa, ya), (xb, yb) in zip(one.batches(4), other.batches(4), strict=True):
            EXACT.check(xa, xb)
            EXACT.check(ya, yb)


def test_several_threads(folder: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as torch computes with; here more than there are images, and an error in one of them."""
    one, several = [], []
    for threads, found in ((1, one), (3, several), (40, several)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        splits = Hub(path=str(folder[0]), memory_gb=0.0).load(torch.Generator().manual_seed(0))
        found.append(taken(splits.train))
    for found in several:
        EXACT.check(found, one[0])
    mixed = table([Image.fromarray(pixels(1, 4, 4, 3)[0])] * 3 + [Image.fromarray(pixels(1, 5, 5, 3)[0])], [0, 1, 0, 1])
    mixed.to_parquet(folder[0].parent / "mixed.parquet")
    with pytest.raises(InputError, match="size must be given for images of several sizes, got 5 x 5 at 3"):
        Hub(path=str(folder[0].parent / "mixed.parquet"), samples_per_class=1).load(torch.Generator().manual_seed(0))


def test_size_decides(folder: tuple[Path, np.ndarray, np.ndarray], generator: torch.Generator) -> None:
    num_bytes = 18 * 3 * 6 * 6
    assert Hub(path=str(folder[0]), memory_gb=num_bytes / 1e9).load(generator).train.in_memory
    assert not Hub(path=str(folder[0]), memory_gb=(num_bytes - 1) / 1e9).load(generator).train.in_memory


def test_saved_by_datasets_and_a_single_file(tmp_path: Path, generator: torch.Generator) -> None:
    train, arrays = coloured(10)
    datasets.DatasetDict(train=train, validation=train).save_to_disk(tmp_path / "saved")
    splits = Hub(path=str(tmp_path / "saved")).load(generator)
    ROUNDED.check(taken(splits.test), standardised(arrays, arrays))
    train.save_to_disk(tmp_path / "alone")
    train.to_parquet(tmp_path / "all.parquet")
    for path in ("alone", "all.parquet"):
        splits = Hub(path=str(tmp_path / path), samples_per_class=3).load(generator)
        assert torch.bincount(splits.train.y).tolist() == [3, 3]
        assert torch.bincount(splits.test.y).tolist() == [2, 2]


def test_folder_of_images(tmp_path: Path, generator: torch.Generator) -> None:
    values = pixels(8, 5, 4)
    for i, (part, name) in enumerate((p, n) for p in ("train", "test") for n in ("cat", "cow") for _ in range(2)):
        place = tmp_path / "images" / part / name
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values[i]).save(place / f"{i}.png")
    splits = Hub(path=str(tmp_path / "images")).load(generator)
    assert (splits.num_classes, splits.shape) == (2, (1, 5, 4))
    assert splits.train.y.tolist() == splits.test.y.tolist() == [0, 0, 1, 1]
    ROUNDED.check(taken(splits.test), standardised(values[4:, :, :, None], values[:4, :, :, None]))


def test_from_the_cache_of_the_hub(folder: tuple[Path, np.ndarray, np.ndarray], cache: Path, generator) -> None:
    """A set that was downloaded before, as datasets keeps it, without network."""
    Hub(path=str(folder[0])).load(generator)
    (made,) = {file.parent for file in cache.rglob("*-train.arrow")}
    kept = cache / "acme___bugs" / "default" / "0.0.0" / "0123456789abcdef"
    kept.mkdir(parents=True)
    for file in made.iterdir():
        shutil.copy(file, kept / file.name.replace("parquet-", "bugs-").replace("tiny-", "bugs-"))
    splits = Hub(path="acme/bugs").load(generator)
    ROUNDED.check(taken(splits.train), standardised(folder[1], folder[1]))


def test_offline_and_not_in_the_cache(generator: torch.Generator) -> None:
    for path in ("cifar10", "acme/bugs", "bugs"):
        with pytest.raises(
            InputError, match=r"path must be one of mnist, .* in its cache or within reach; got .*Offline"
        ):
            Hub(path=path).load(generator)


@pytest.mark.parametrize("path", ["./nowhere", "/no/such/folder", "gone.parquet", "~/no/such/folder"])
def test_local_and_not_there(path: str, generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="path must be a file or a folder that exists, got"):
        Hub(path=path).load(generator)


def test_no_code_of_a_data_set_is_run(tmp_path: Path, generator: torch.Generator) -> None:
    place = tmp_path / "scripted"
    place.mkdir()
    (place / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="path must be"):
        Hub(path=str(place)).load(generator)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_labels_that_are_numbers_or_words(tmp_path: Path, kind: str, generator: torch.Generator) -> None:
    words: list[Any] = [30, 10, 20, 10] if kind == "int64" else ["fly", "ant", "bee", "ant"]
    images = [Image.fromarray(a) for a in pixels(4, 3, 3)]
    made = table(images, words, names={"kind": datasets.Value(kind)})
    datasets.DatasetDict(train=made, test=made.select([2, 0])).save_to_disk(tmp_path / "saved")
    splits = Hub(path=str(tmp_path / "saved"), label="kind").load(generator)
    assert (splits.train.y.tolist(), splits.test.y.tolist(), splits.num_classes) == ([2, 0, 1, 0], [1, 2], 3)
    strange = table(images, [*words[:3], 99 if kind == "int64" else "moth"], names={"kind": datasets.Value(kind)})
    datasets.DatasetDict(train=made, test=strange).save_to_disk(tmp_path / "strange")
    with pytest.raises(InputError, match=r"labels of split test must lie in 0..2, got -1 at index 3"):
        Hub(path=str(tmp_path / "strange"), label="kind").load(generator)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # datasets leaves files open that are damaged
def test_files_that_are_no_images(tmp_path: Path, generator: torch.Generator) -> None:
    """Damaged, cut short, of another kind, or not there; the first one and a later one."""
    arrays = pixels(4, 40, 40)
    for kind in ("a", "b"):
        (tmp_path / "whole" / kind).mkdir(parents=True)
        for i in (0, 1):
            Image.fromarray(arrays[i]).save(tmp_path / "whole" / kind / f"{i}.png")
    content = (tmp_path / "whole" / "a" / "0.png").read_bytes()
    for name, bad in {"words": b"no image", "half": content[: len(content) // 2], "nothing": b""}.items():
        for place, file in enumerate(("a/0.png", "b/1.png")):
            path = tmp_path / f"{name}{place}"
            shutil.copytree(tmp_path / "whole", path)
            (path / file).write_bytes(bad)
            with pytest.raises(InputError, match=f"every image must be a complete file .*, got none at {3 * place}: "):
                Hub(path=str(path), samples_per_class=1).load(generator)
    path = tmp_path / "missing.parquet"
    table([None, *map(Image.fromarray, arrays[1:])], [0, 0, 1, 1]).to_parquet(str(path))
    with pytest.raises(InputError, match="every image must be a complete file of a known kind, got none at 0: "):
        Hub(path=str(path), samples_per_class=1).load(generator)
    with pytest.raises(InputError, match="image must be a column of images, got 'kind': "):
        Hub(path=str(path), samples_per_class=1, image="kind").load(generator)


def test_a_split_without_labels(tmp_path: Path, generator: torch.Generator) -> None:
    train, _ = coloured(4)
    hidden = table(list(train["picture"]), [-1] * 4)
    datasets.DatasetDict(train=train, test=hidden, validation=train).save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match=r"labels of split test must lie in 0..1, got -1 at index 0"):
        Hub(path=str(tmp_path / "saved")).load(generator)
    assert len(Hub(path=str(tmp_path / "saved"), test="validation").load(generator).test) == 4


def test_columns_are_found_or_named(tmp_path: Path, generator: torch.Generator) -> None:
    one, _ = coloured(4)
    two = one.add_column("coarse", [0, 0, 0, 1]).cast_column("coarse", datasets.ClassLabel(names=["x", "y"]))
    datasets.DatasetDict(train=two, test=two).save_to_disk(tmp_path / "saved")
    path = str(tmp_path / "saved")
    with pytest.raises(
        InputError, match="label must be given as one of the columns kind, coarse, got none and several"
    ):
        Hub(path=path).load(generator)
    assert Hub(path=path, label="coarse").load(generator).train.y.tolist() == [0, 0, 0, 1]
    assert Hub(path=path, label="kind", image="picture").load(generator).train.y.tolist() == [0, 1, 0, 1]
    for settings, message in (
        ({"label": "name"}, "label must be one of the columns picture, kind, coarse, got 'name'"),
        ({"label": "kind", "image": "img"}, "image must be one of the columns .*, got 'img'"),
        ({"label": "kind", "test": "dev"}, "test must be one of the splits train, test, got 'dev'"),
        ({"label": "kind", "train": "all"}, "train must be one of the splits train, test, got 'all'"),
    ):
        with pytest.raises(InputError, match=message):
            Hub(path=path, **settings).load(generator)


def test_middle_square_is_scaled(tmp_path: Path, generator: torch.Generator) -> None:
    """Against Pillow in two steps: scale the whole image until its shorter side fits, then cut the middle out."""
    shapes = [(9, 6), (6, 12), (6, 6), (18, 12), (2, 2)]
    images = [Image.fromarray(pixels(1, *shape, 3, seed=i)[0]) for i, shape in enumerate(shapes)]
    made = table(images, [0, 1, 0, 1, 0])
    datasets.DatasetDict(train=made, test=made).save_to_disk(tmp_path / "saved")
    path = str(tmp_path / "saved")
    with pytest.raises(InputError, match="size must be given for images of several sizes, got 6 x 12 at 1; the first"):
        Hub(path=path).load(generator)
    found = Hub(path=path, size=4).load(generator).train.x
    assert isinstance(found, Tensor)
    for image, array in zip(images, found, strict=True):
        scale = 4 / min(image.size)
        width, height = (round(scale * length) for length in image.size)
        left, top = (width - 4) // 2, (height - 4) // 2
        expected = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + 4, top + 4))
        ONE_LEVEL.check(array, np.array(expected).transpose(2, 0, 1))


def test_colours(tmp_path: Path, generator: torch.Generator) -> None:
    grey, rgb = Image.fromarray(pixels(1, 4, 4)[0]), Image.fromarray(pixels(1, 4, 4, 3)[0])
    mixed = table([rgb, grey], [0, 1])
    datasets.DatasetDict(train=mixed, test=mixed).save_to_disk(tmp_path / "saved")
    path = str(tmp_path / "saved")
    with pytest.raises(InputError, match="colour must be given for images of both kinds, got image 1 grey after rgb"):
        Hub(path=path).load(generator)
    as_rgb, as_grey = (Hub(path=path, colour=colour).load(generator).train.x for colour in ("rgb", "grey"))
    assert isinstance(as_rgb, Tensor)
    assert isinstance(as_grey, Tensor)
    EXACT.check(as_rgb[1], torch.from_numpy(np.array(grey)).expand(3, 4, 4))
    EXACT.check(as_grey[0, 0], torch.from_numpy(np.array(rgb.convert("L"))))
    deep = table([Image.fromarray(pixels(1, 4, 4)[0].astype(np.uint16))] * 4, [0, 1, 0, 1])
    deep.to_parquet(tmp_path / "deep.parquet")
    with pytest.raises(InputError, match="images must have eight bits a channel, got mode I;16 at 0"):
        Hub(path=str(tmp_path / "deep.parquet"), samples_per_class=1).load(generator)


def test_subsample_is_balanced_and_keeps_the_test_split(folder, generator: torch.Generator) -> None:
    path, train, test = folder
    splits = Hub(path=str(path), samples_per_class=2).load(generator)
    assert torch.bincount(splits.train.y).tolist() == [2, 2]
    assert len(splits.test) == len(test)
    again = Hub(path=str(path), samples_per_class=2).load(torch.Generator().manual_seed(0))
    EXACT.check(again.train.x, splits.train.x)
    other = Hub(path=str(path), samples_per_class=2).load(torch.Generator().manual_seed(1))
    assert not torch.equal(taken(other.train), taken(splits.train))
    assert len(Hub(path=str(path), samples_per_class=6).load(generator).train) == len(train)
    with pytest.raises(InputError, match="samples_per_class must be at most 6 here, got 7"):
        Hub(path=str(path), samples_per_class=7).load(generator)
    with pytest.raises(InputError, match="samples_per_class must be at most 5 here, got 6"):
        Hub(path=str(path), samples_per_class=6, test="train").load(generator)
    with pytest.raises(InputError, match="samples_per_class must be given without a split for testing; splits: t"):
        Hub(path=str(path), test="train").load(generator)


def test_given_mean_and_deviation(folder, generator: torch.Generator) -> None:
    path, train, _ = folder
    splits = Hub(path=str(path), mean=(0.5, 0.25, 0.0), sd=(0.5, 0.25, 1.0)).load(generator)
    values = train.transpose(0, 3, 1, 2) / 255
    expected = (values - np.array([0.5, 0.25, 0.0]).reshape(3, 1, 1)) / np.array([0.5, 0.25, 1.0]).reshape(3, 1, 1)
    ROUNDED.check(taken(splits.train), expected)
    with pytest.raises(InputError, match="mean must be one number for each of 3 channels, got"):
        Hub(path=str(path), mean=(0.5,), sd=(0.5,)).load(generator)


@pytest.mark.parametrize("name", KNOWN)
def test_short_names(name: str) -> None:
    known = KNOWN[name]
    assert known.source in references()
    assert name in (Hub.__doc__ or "")
    full = Hub(path=name)._completed()
    assert (full.path, full.image, full.label, full.colour) == (known.path, known.image, known.label, known.colour)
    assert (full.size, full.test, full.mean) == (known.size, known.test, known.mean)
    given = Hub(path=name, size=20, label="other", test="dev", colour="grey")._completed()
    assert (given.size, given.label, given.test, given.colour) == (20, "other", "dev", "grey")
    assert given.mean is None
    assert Hub(path=name, revision="abc", samples_per_class=3)._completed().revision == "abc"


def test_short_name_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator) -> None:
    """With the columns of CIFAR-100; what would come from the Hub comes from a folder."""
    images = [Image.fromarray(a) for a in pixels(4, 32, 32, 3)]
    features = datasets.Features(
        img=datasets.Image(),
        fine_label=datasets.ClassLabel(num_classes=4),
        coarse_label=datasets.ClassLabel(num_classes=2),
    )
    columns = {"img": images, "fine_label": [0, 1, 2, 3], "coarse_label": [1, 1, 0, 0]}
    made = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=made, test=made).save_to_disk(tmp_path / "saved")
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda path, *_args, **_more: (
            datasets.load_from_disk(tmp_path / "saved") if path == "uoft-cs/cifar100" else None
        ),
    )
    fine, coarse = (Hub(path=name).load(generator) for name in ("cifar100", "cifar100_coarse"))
    assert (fine.train.y.tolist(), fine.num_classes, fine.shape) == ([0, 1, 2, 3], 4, (3, 32, 32))
    assert (coarse.train.y.tolist(), coarse.num_classes) == ([1, 1, 0, 0], 2)


def test_settings_survive_json() -> None:
    chosen = Hub(path="cifar10", samples_per_class=5, mean=(0.1, 0.2, 0.3), sd=(1.0, 1.0, 1.0))
    assert chosen_from(DATA, json.loads(json.dumps(settings_of(DATA, chosen)))) == chosen


def test_global_generators_are_left_alone(folder, generator: torch.Generator) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    Hub(path=str(folder[0]), samples_per_class=2).load(generator)
    EXACT.check(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002


def test_missing_package(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"reading Hugging Face data sets needs datasets: .*collapselab\[hf\]"):
        Hub(path="cifar10").load(generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "path must be a name or a path, got ''"),
        ({"samples_per_class": 0}, "samples_per_class must be an integer of at least 1, got 0"),
        ({"size": 2.5}, "size must be an integer of at least 1, got 2.5"),
        ({"memory_gb": -1}, "memory_gb must be a finite number of at least 0, got -1"),
        ({"colour": "gray"}, "colour must be one of as_is, grey, rgb, got 'gray'"),
        ({"mean": (0.5,)}, "mean and sd must be given together"),
        ({"mean": (0.5,), "sd": (0.1, 0.2)}, "mean and sd must be given together"),
        ({"mean": (0.5,), "sd": (0.0,)}, "every entry of sd must be a finite number above 0, got 0.0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hub(**settings)
