"""Random changes to inputs each time they are seen, for a whole batch at once and on the device that it is on."""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn for the n samples of a batch; None where nothing is asked for.

    Attributes:
        moves: (n, 2) whole pixels by which the window of the crop lies lower and further right.
        flips: (n,) whether left and right change places.
        centres: (n, 2) pixel at the centre of the square that is cut out.
        turns: (n,) places by which a signal moves to the right.
        noise: (n, ...) standard normal numbers.
    """

    moves: Tensor | None = None
    flips: Tensor | None = None
    centres: Tensor | None = None
    turns: Tensor | None = None
    noise: Tensor | None = None

    def part(self, rows: Tensor | slice) -> "Draws":
        """What was drawn for some of the samples.

        Args:
            rows: Which of the n.

        Returns:
            New draws.
        """
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return Draws(**{name: None if drawn is None else drawn[rows] for name, drawn in found.items()})

    def to(self, device: torch.device) -> "Draws":
        """The same draws on a device, without waiting for it.

        Args:
            device: Where to.

        Returns:
            New draws.
        """
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: None if drawn is None else _moved(drawn, device) for name, drawn in found.items()}
        return Draws(**moved)


def _moved(drawn: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda":
        return drawn.to(device)
    return drawn.pin_memory().to(device, non_blocking=True)  # from other memory the copy would wait for the device


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip, cut-out, shift and noise; nothing by default.

    In this order, on standardised inputs: what lies outside an image or is cut out of it becomes 0, the mean of the
    training data. Images (n, c, h, w) are cropped, flipped and cut; signals (n, c, length) are shifted; noise goes on
    both.

    Attributes:
        crop: Pixels added at each side before a window of the old size is cut out at random.
        padding: What is added: ``zero``, or ``reflect`` for the image mirrored at its outermost pixels.
        flip: Whether left and right change places with probability one half.
        cutout: Side in pixels of a square set to 0; its centre is anywhere in the image, so it may stick out.
        shift: Most places by which a signal moves either way; what leaves at one end comes in at the other.
        noise: Standard deviation of Gaussian noise added to each number.
    """

    crop: int = 0
    padding: Literal["zero", "reflect"] = "zero"
    flip: bool = False
    cutout: int = 0
    shift: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("crop", "cutout", "shift"):
            checks.whole(getattr(self, name), name, at_least=0)
        checks.real(self.noise, "noise", at_least=0)
        checks.one_of(self.padding, "padding", ("zero", "reflect"))
        checks.flag(self.flip, "flip")

    @property
    def none(self) -> bool:
        """Whether nothing is changed."""
        return not (self.crop or self.flip or self.cutout or self.shift or self.noise)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Change each input of a batch at random.

        Args:
            x: Inputs (n, ...), on any device.
            generator: On the CPU: the same draws on every device.

        Returns:
            New inputs of the same shape, dtype and device; x itself where nothing is to be changed.
        """
        return x if self.none else self.apply(x, self.draw(tuple(x.shape), generator).to(x.device))

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Draw what `apply` needs.

        Args:
            shape: Of the batch.
            generator: On the CPU.

        Returns:
            Draws on the CPU. A setting that is off draws nothing.

        Raises:
            InputError: If the inputs are not what the settings are for.
        """
        self.check(shape)
        n, (height, width) = shape[0], shape[-2:]

        def whole(low: int, high: int, *size: int) -> Tensor:
            return torch.randint(low, high + 1, (n, *size), generator=generator)

        return Draws(
            moves=whole(-self.crop, self.crop, 2) if self.crop else None,
            flips=whole(0, 1).bool() if self.flip else None,
            centres=torch.stack([whole(0, height - 1), whole(0, width - 1)], 1) if self.cutout else None,
            turns=whole(-self.shift, self.shift) if self.shift else None,
            noise=torch.randn(shape, generator=generator) if self.noise else None,
        )

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """Change each input of a batch as drawn.

        Args:
            x: Inputs (n, ...).
            draws: What was drawn for them, where they are.

        Returns:
            New inputs.
        """
        if draws.moves is not None or draws.flips is not None:
            x = self._window(x, draws)
        if draws.centres is not None:
            x = x * (~self._cut(x, draws.centres)).to(x.dtype)[:, None]
        if draws.turns is not None:
            length = x.shape[-1]
            source = (torch.arange(length, device=x.device) - draws.turns[:, None]) % length
            x = x.gather(2, source[:, None].expand(x.shape))
        return x if draws.noise is None else x + self.noise * draws.noise.to(x.dtype)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse inputs that the settings are not for.

        Args:
            shape: Of a batch.

        Raises:
            InputError: If they are images and signals are needed, or the other way round, or too small.
        """
        if (self.crop or self.flip or self.cutout) and len(shape) != 4:
            raise InputError(f"crop, flip and cutout must be off except for images (n, c, h, w), got shape {shape}")
        if self.shift and len(shape) != 3:
            raise InputError(f"shift must be 0 except for signals (n, c, length), got shape {shape}")
        if self.crop and self.padding == "reflect" and self.crop >= min(shape[2:]):
            raise InputError(
                f"crop must be at most {min(shape[2:]) - 1} with reflect, got {self.crop} for shape {shape}"
            )

    def _window(self, x: Tensor, draws: Draws) -> Tensor:
        """Crop and flip: the flip is of the cropped window, and one look-up does both."""
        height, width = x.shape[2:]
        n, device = x.shape[0], x.device
        rows = torch.arange(height, device=device).expand(n, height)
        columns = torch.arange(width, device=device).expand(n, width)
        if draws.flips is not None:
            columns = torch.where(draws.flips[:, None], width - 1 - columns, columns)
        if draws.moves is not None:
            rows, columns = rows + draws.moves[:, :1], columns + draws.moves[:, 1:]
        inside = None
        if draws.moves is not None and self.padding == "zero":
            known = [((at >= 0) & (at < size)).to(x.dtype) for at, size in ((rows, height), (columns, width))]
            inside = known[0][:, None, :, None] * known[1][:, None, None, :]
            rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        elif draws.moves is not None:
            rows, columns = _reflected(rows, height), _reflected(columns, width)
        source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
        found = x.flatten(2).gather(2, source.expand(-1, x.shape[1], -1)).view(x.shape)
        return found if inside is None else found.mul_(inside)  # much faster on the CPU than filling where it is 0

    def _cut(self, x: Tensor, centres: Tensor) -> Tensor:
        """(n, h, w) True in the squares, from half a side before the centre on."""
        marks = []
        for axis, size in enumerate(x.shape[2:]):
            after = torch.arange(size, device=x.device) - (centres[:, axis, None] - self.cutout // 2)
            marks.append((after >= 0) & (after < self.cutout))
        return marks[0][:, :, None] & marks[1][:, None, :]


def _reflected(at: Tensor, size: int) -> Tensor:
    """Places up to size - 1 outside of 0..size-1, mirrored at the first and the last, which are not doubled."""
    return (size - 1) - ((size - 1) - at.abs()).abs()
