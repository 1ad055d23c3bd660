"""Encoded images of a table to batches of pixels, by several threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from collapselab.core import extras
from collapselab.core.errors import InputError

Colour = Literal["grey", "rgb"]

# Eight-bit modes of Pillow, by what they show.
_GREY = ("1", "L", "LA")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")

# Images decoded together when all are: few enough that their files fit beside their pixels.
_PART = 1024


@dataclass(frozen=True)
class Form:
    """What every image of a set is brought to.

    Attributes:
        colour: ``grey`` for one channel, ``rgb`` for three.
        height: Pixels.
        width: Pixels.
        convert: Whether an image of the other colour is converted; otherwise it is refused.
        resize: Whether an image of another size is brought to this one, which is square then: scaled, bilinearly with
            antialiasing, until its shorter side fits, of which the middle is taken. Otherwise it is refused.
    """

    colour: Colour
    height: int
    width: int
    convert: bool
    resize: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, channels first."""
        return (1 if self.colour == "grey" else 3, self.height, self.width)

    @classmethod
    def of(cls, first: Any, *, colour: Colour | None, size: int | None) -> "Form":
        """What is asked for, or else what the first image is like.

        Args:
            first: A Pillow image.
            colour: Colour asked for.
            size: Height and width asked for.

        Returns:
            The form.
        """
        width, height = first.size if size is None else (size, size)
        return cls(colour or shown(first, 0), height, width, convert=colour is not None, resize=size is not None)

    def pixels(self, image: Any, at: int) -> Tensor:
        """An image in this form.

        Args:
            image: A Pillow image.
            at: Its row in the table, for messages.

        Returns:
            (c, h, w), uint8.

        Raises:
            InputError: If it is of another colour or size and may not be changed.
        """
        found = shown(image, at)
        if found != self.colour and not self.convert:
            raise InputError(
                f"colour must be given for images of both kinds, got image {at} {found} after {self.colour}"
            )
        image = image.convert("L" if self.colour == "grey" else "RGB")
        if image.size != (self.width, self.height):
            image = self._resized(image, at)
        values = torch.from_numpy(np.array(image))
        return values[None] if values.ndim == 2 else values.permute(2, 0, 1)

    def _resized(self, image: Any, at: int) -> Any:
        width, height = image.size
        if not self.resize:
            first = f"the first has {self.height} x {self.width}"
            raise InputError(f"size must be given for images of several sizes, got {height} x {width} at {at}; {first}")
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2  # the filter sees what lies outside of the box as well
        bilinear = extras.require("PIL.Image", extra="hf", purpose="resizing images").Resampling.BILINEAR
        return image.resize((self.width, self.height), bilinear, box=(left, top, left + side, top + side))


def opened(decoder: Any, file: Any, at: int) -> Any:
    """An image from its file.

    Args:
        decoder: Feature of datasets that decodes one file.
        file: What the table holds.
        at: Its row in the table, for messages.

    Returns:
        A Pillow image.

    Raises:
        InputError: If there is none, or the file is damaged or of no known kind.
    """
    if file is None:  # which datasets would give back as it is
        raise InputError(
            f"every image must be a complete file of a known kind, got none at {at}: the table is empty there"
        )
    try:
        return decoder.decode_example(file)
    except (OSError, SyntaxError, TypeError, ValueError) as error:  # Pillow has a SyntaxError for damaged PNG files
        raise InputError(f"every image must be a complete file of a known kind, got none at {at}: {error}") from error


def shown(image: Any, at: int) -> Colour:
    """Whether an image is grey or coloured.

    Args:
        image: A Pillow image.
        at: Its row in the table, for messages.

    Returns:
        Its colour.

    Raises:
        InputError: If its numbers do not have eight bits.
    """
    if image.mode not in _GREY + _COLOURED:
        raise InputError(f"images must have eight bits a channel, got mode {image.mode} at {at}")
    return "grey" if image.mode in _GREY else "rgb"


@dataclass(frozen=True, eq=False)
class Images:
    """Images of a table of the package datasets, decoded when they are asked for.

    Attributes:
        table: The table; the images in it are files, not yet decoded.
        column: Name of the column.
        decoder: Feature of datasets that decodes one file.
        rows: (n,) rows of the table.
        form: What each image is brought to.
    """

    table: Any
    column: str
    decoder: Any
    rows: Tensor
    form: Form

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images, then the shape of one."""
        return (len(self.rows), *self.form.shape)

    @property
    def num_bytes(self) -> int:
        """Size of all images once decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def subset(self, rows: Tensor) -> "Images":
        """Some of the images, still to be decoded.

        Args:
            rows: Indices (m,), or a mask (n,).

        Returns:
            New images.
        """
        return Images(self.table, self.column, self.decoder, self.rows[rows.cpu()], self.form)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Decode some images, with as many threads as torch computes with.

        Args:
            rows: Indices (m,).

        Returns:
            (m, c, h, w), uint8.
        """
        where = self.rows[rows].tolist()
        files: Sequence[Any] = self.table[where][self.column]
        out = torch.empty(len(where), *self.form.shape, dtype=torch.uint8)

        def fill(mine: range) -> None:
            for i in mine:
                out[i] = self.form.pixels(opened(self.decoder, files[i], where[i]), where[i])

        threads = min(torch.get_num_threads(), len(where))
        if threads <= 1:
            fill(range(len(where)))
            return out
        with ThreadPoolExecutor(threads) as pool:  # Pillow decodes without the interpreter's lock
            for _ in pool.map(fill, [range(first, len(where), threads) for first in range(threads)]):
                pass  # raises what a thread has raised
        return out

    def decoded(self) -> Tensor:
        """All images.

        Returns:
            (n, c, h, w), uint8.
        """
        out = torch.empty(self.shape, dtype=torch.uint8)
        for part in torch.arange(len(self.rows)).split(_PART):
            out[part] = self[part]
        return out
