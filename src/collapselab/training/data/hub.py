"""Images from the Hugging Face Hub or from local files, through the package datasets."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import preserved_randomness
from collapselab.training.data._images import Form, Images, opened
from collapselab.training.data._known import KNOWN
from collapselab.training.data._rows import balanced_rows, most_per_class
from collapselab.training.data._samples import Samples, Scaling, Splits
from collapselab.training.data._spec import DataSet, dataset
from collapselab.training.data._tables import column_of, labels_of, open_tables, package

# Training images from which the mean and the standard deviation of a set that is not held in memory are taken.
_CALIBRATION = 4096


@dataset("hub", label="Hugging Face images", source="lhoest2021")
@dataclass(frozen=True)
class Hub(DataSet):
    """Images by their name on the Hugging Face Hub, or from a local folder or parquet file.

    Short names stand for sets of the field, with their columns, colour, size and test split: mnist, fashion_mnist,
    kmnist, cifar10, cifar100 (fine labels), cifar100_coarse, mini_imagenet (timm's hundred classes, 84 x 84 here) and
    imagenet (224 x 224; needs an account that has accepted its terms). Any setting that is given goes first. No code
    that comes with a data set is run. Offline, a set must be local or in the cache of an earlier download.

    Pixels are kept as bytes and standardised when they are used, each channel by its mean and standard deviation over
    the training images.

    Attributes:
        path: A short name; a name on the Hub, such as ``uoft-cs/cifar10``; or a folder of parquet files, of images in
            one folder a class, or as datasets saves it; or a parquet file. A local one that is called like a short
            name is written ``./mnist``.
        image: Column of the images; by default the only one of that kind.
        label: Column of the labels; by default the only one of the kind of class labels.
        train: Split for training.
        test: Split for testing; by default the first there is of test, validation, valid and val. Without any,
            ``samples_per_class`` must be given and all other images of the training split are for testing.
        samples_per_class: Training images of each class, drawn at random; by default all.
        size: Height and width: images are scaled until the shorter side has it, and the middle is taken; by default
            they stay as they are and must be of one size.
        colour: ``grey`` or ``rgb`` to bring all images to it; ``as_is`` for what they are, which must be one of both.
        mean: Of each channel from 0 to 1, with ``sd``; by default that of the training images, of 4096 of them where
            they are not held in memory.
        sd: Standard deviation of each channel from 0 to 1.
        memory_gb: Largest size of all images, as bytes, at which they are decoded beforehand and held in memory;
            above it they are decoded each time they are used, by as many threads as torch computes with.
        configuration: Which of several configurations of a set on the Hub.
        revision: Commit, tag or branch on the Hub, for data that stays the same.
    """

    comes_along: ClassVar[bool] = False

    path: str = "mnist"
    image: str | None = None
    label: str | None = None
    train: str = "train"
    test: str | None = None
    samples_per_class: int | None = None
    size: int | None = None
    colour: Literal["as_is", "grey", "rgb"] = "as_is"
    mean: tuple[float, ...] | None = None
    sd: tuple[float, ...] | None = None
    memory_gb: float = 4.0
    configuration: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if not isinstance(self.path, str) or not self.path:
            raise InputError(f"path must be a name or a path, got {self.path!r}")
        for name in ("samples_per_class", "size"):
            if getattr(self, name) is not None:
                checks.whole(getattr(self, name), name, at_least=1)
        checks.real(self.memory_gb, "memory_gb", at_least=0)
        checks.one_of(self.colour, "colour", ("as_is", "grey", "rgb"))
        if (self.mean is None) != (self.sd is None) or len(self.mean or ()) != len(self.sd or ()):
            raise InputError(f"mean and sd must be given together, one for each channel, got {self.mean}, {self.sd}")
        for value in self.mean or ():
            checks.real(value, "every entry of mean", at_least=0)
        for value in self.sd or ():
            checks.real(value, "every entry of sd", above=0)

    def load(self, generator: torch.Generator) -> Splits:
        """The images as (n, c, height, width).

        Args:
            generator: Decides which images are used, where not all are.

        Returns:
            Both splits on the CPU.
        """
        wanted = self._completed()
        with preserved_randomness():  # datasets draws names of temporary files
            return wanted._load(generator)

    def _completed(self) -> "Hub":
        """With what is known of a short name filled in where nothing was given."""
        known = KNOWN.get(self.path)
        if known is None:
            return self
        filled = {
            name: getattr(known, name)
            for name in ("image", "label", "test", "size", "mean", "sd")
            if getattr(self, name) is None
        }
        colour = known.colour if self.colour == "as_is" else self.colour
        if len(filled.get("mean") or ()) != (1 if colour == "grey" else 3):
            filled |= {"mean": self.mean, "sd": self.sd}  # known for the set's own colour only
        return dataclasses.replace(self, path=known.path, colour=colour, **filled)

    def _load(self, generator: torch.Generator) -> Splits:
        tables = open_tables(self.path, configuration=self.configuration, revision=self.revision)
        names = self._split_names(tuple(tables))
        chosen = [(name, tables[name]) for name in names]
        features = chosen[0][1].features
        label = column_of(features, package().ClassLabel, given=self.label, name="label")
        labels, num_classes = labels_of(chosen, label)
        rows = self._rows(labels, num_classes, generator)
        images = self._images([chosen[0][1], chosen[-1][1]], rows)
        y = [labels[0][rows[0]], labels[-1][rows[1]]]
        return self._splits(images, y, num_classes, generator)

    def _split_names(self, known: tuple[str, ...]) -> list[str]:
        """The split for training and that for testing; the first alone where the second is to be held out of it."""
        test = self.test
        if test is None:
            test = next((name for name in ("test", "validation", "valid", "val") if name in known), None)
        for name, value in (("train", self.train), ("test", test)):
            if value is not None and value not in known:
                raise InputError(f"{name} must be one of the splits {', '.join(known)}, got {value!r}")
        if test in (None, self.train) and self.samples_per_class is None:
            raise InputError(f"samples_per_class must be given without a split for testing; splits: {', '.join(known)}")
        return [self.train] if test in (None, self.train) else [self.train, test]

    def _rows(self, labels: list[Tensor], num_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows used of the table for training and of that for testing."""
        everything = [torch.arange(len(y)) for y in labels]
        if not all(len(rows) for rows in everything):
            raise InputError(f"every split must hold images, got {' and '.join(str(len(y)) for y in labels)}")
        if self.samples_per_class is None:
            return everything[0], everything[1]
        held_out = len(labels) == 1
        most = most_per_class(labels[0], num_classes, spare=held_out)
        if self.samples_per_class > most:
            raise InputError(f"samples_per_class must be at most {most} here, got {self.samples_per_class}")
        drawn, others = balanced_rows(labels[0], per_class=self.samples_per_class, generator=generator)
        return drawn.sort().values, others.sort().values if held_out else everything[1]

    def _images(self, tables: list[Any], rows: tuple[Tensor, Tensor]) -> list[Images]:
        feature = package().Image
        column = column_of(tables[0].features, feature, given=self.image, name="image")
        try:
            files = [table.select_columns([column]).cast_column(column, feature(decode=False)) for table in tables]
        except (NotImplementedError, TypeError, ValueError) as error:  # what pyarrow raises has these as bases
            raise InputError(f"image must be a column of images, got {column!r}: {error}") from error
        place = int(rows[0][0])
        first = opened(feature(), files[0][place][column], place)
        form = Form.of(first, colour=None if self.colour == "as_is" else self.colour, size=self.size)
        return [Images(table, column, feature(), at, form) for table, at in zip(files, rows, strict=True)]

    def _splits(self, images: list[Images], y: list[Tensor], num_classes: int, generator: torch.Generator) -> Splits:
        fits = sum(part.num_bytes for part in images) <= self.memory_gb * 1e9
        x = [part.decoded() if fits else part for part in images]
        scaling = self._scaling(x[0], generator)
        return Splits(Samples(x[0], y[0], scaling), Samples(x[1], y[1], scaling), num_classes)

    def _scaling(self, x: Tensor | Images, generator: torch.Generator) -> Scaling:
        if self.mean is not None and self.sd is not None:
            if len(self.mean) != x.shape[1]:
                raise InputError(f"mean must be one number for each of {x.shape[1]} channels, got {self.mean}")
            return Scaling.from_numbers([255 * m for m in self.mean], [255 * s for s in self.sd], ndim=3)
        if isinstance(x, Tensor):
            return Scaling.of(x)
        return Scaling.of(x[torch.randperm(x.shape[0], generator=generator)[:_CALIBRATION]])
