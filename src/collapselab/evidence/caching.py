"""Features a second time: kept in memory, in a memory map on disk, or computed again."""

import mmap
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

import torch
from torch import Tensor

from collapselab.core.errors import InputError, StorageError
from collapselab.evidence.features import CHUNK_ROWS, FeatureSource, LabelledFeatures, _trusted
from collapselab.evidence.stats import ClassStats

_DIFFERS = (
    "the second pass over the loader gave other features than the first: {}; give a loader without random augmentation,"
    " drop_last or sampling, or ask for features_again='memory' or 'memory-map'"
)


class FeatureCache:
    """Keeps a stream of features: in memory up to a budget, past it in a memory-mapped temporary file.

    The file has no name from the start (or goes with its handle), so that nothing is left behind even by a kill.
    Features are kept on the CPU, in the dtype they came in.

    Args:
        budget: Bytes of features kept in memory; None for no limit, 0 for the file at once.
        folder: Where the temporary file goes; by default the system's temporary folder.

    Example:
        >>> cache = FeatureCache(budget=None)
        >>> cache.append(torch.ones(3, 2), torch.tensor([0, 1, 1]))
        >>> [part.num_samples for part in cache.source(num_classes=2).chunks(rows=2)]
        [2, 1]
    """

    def __init__(self, budget: int | None, *, folder: str | None = None) -> None:
        self._budget = budget
        self._folder = folder
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._pending_rows = 0
        self._blocks: list[tuple[Tensor, Tensor]] = []
        self._file: IO[bytes] | None = None
        self._labels: list[Tensor] = []
        self._kind: tuple[torch.dtype, int] | None = None
        self._bytes = 0

    @property
    def how(self) -> Literal["memory", "memory-map"]:
        """Where the features are."""
        return "memory" if self._file is None else "memory-map"

    def append(self, h: Tensor, y: Tensor) -> None:
        """Keep a batch. The cache may hold on to the tensors: they must not change afterwards.

        Args:
            h: Features (n, d).
            y: Labels (n,).

        Raises:
            InputError: If dtype or width differ from the batches before.
        """
        kind = (h.dtype, h.shape[1])
        if self._kind not in (None, kind):
            raise InputError(f"features must keep dtype and width {self._kind}, got {kind}")
        self._kind = kind
        h, y = h.detach().cpu(), y.cpu()
        self._bytes += h.numel() * h.element_size()
        self._pending.append((h, y))
        self._pending_rows += h.shape[0]
        if self._pending_rows >= CHUNK_ROWS:
            self._settle()
        if self._file is None and self._budget is not None and self._bytes > self._budget:
            self._spill()

    def _settle(self) -> None:
        """Join small batches into one block, or write them to the file."""
        if not self._pending:
            return
        h = torch.cat([h for h, _ in self._pending])
        y = torch.cat([y for _, y in self._pending])
        self._pending, self._pending_rows = [], 0
        if self._file is None:
            self._blocks.append((h, y))
        else:
            self._write(h)
            self._labels.append(y)

    def _spill(self) -> None:
        self._settle()
        try:
            # Stays open until `close`: it has no name by which it could be opened again.
            self._file = tempfile.TemporaryFile(prefix="collapselab-", dir=self._folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _no_room(self._folder, error) from error
        blocks, self._blocks = self._blocks, []
        for h, y in blocks:
            self._write(h)
            self._labels.append(y)

    def _write(self, h: Tensor) -> None:
        assert self._file is not None  # opened by _spill
        raw: Any = h.contiguous().view(torch.uint8).numpy()
        view = memoryview(raw).cast("B")
        try:
            done = 0
            while done < len(view):
                done += self._file.write(view[done:]) or 0
        except OSError as error:
            self.close()
            raise _no_room(self._folder, error) from error

    def source(self, num_classes: int) -> FeatureSource:
        """What was kept so far; from a file, values are read when they are looked at.

        Args:
            num_classes: K.

        Returns:
            A source of the features, in the order they came.

        Raises:
            InputError: If nothing was kept.
        """
        self._settle()
        if self._file is None:
            if not self._blocks:
                raise InputError("features must have at least one row, got none")
            return _Blocks(tuple(self._blocks), num_classes)
        assert self._kind is not None  # something was spilled
        dtype, width = self._kind
        # ACCESS_COPY: torch asks for writable memory; nobody writes, and the file would stay as it is.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        h = torch.frombuffer(mapped, dtype=dtype).view(-1, width)
        return _trusted(h, torch.cat(self._labels), num_classes)

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give memory and disk back; sources handed out before stay readable while they are held."""
        self._pending, self._blocks, self._labels = [], [], []
        if self._file is not None:
            self._file.close()
            self._file = None


def _no_room(folder: str | None, error: OSError) -> StorageError:
    where = tempfile.gettempdir() if folder is None else folder
    return StorageError(
        f"cannot keep features in a temporary file in {where}: {error.strerror or error}; raise memory_budget,"
        " point TMPDIR at a larger disk, or ask for features_again='replay'"
    )


@dataclass(frozen=True)
class _Blocks:
    """Features in memory, in the blocks they were gathered in."""

    blocks: tuple[tuple[Tensor, Tensor], ...]
    num_classes: int

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[LabelledFeatures]:
        """The features from the beginning.

        Args:
            rows: Upper bound of the rows in a chunk.

        Yields:
            Views of the blocks.
        """
        for h, y in self.blocks:
            yield from _trusted(h, y, self.num_classes).chunks(rows)


class Replay:
    """Features computed again by a second pass, checked against the moments of the first.

    The order may differ, the samples may not: counts per class must agree, and so must the class means up to the
    rounding of the features (a shuffling loader puts other samples together, which moves the last bits).

    Args:
        again: Begins a pass; gives features (n, d) and labels (n,), ignored rows left out.
        stats: Moments of the first pass.
    """

    def __init__(self, again: Callable[[], Iterator[tuple[Tensor, Tensor]]], stats: ClassStats) -> None:
        self._again = again
        self._stats = stats
        self.num_classes = stats.num_classes

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[LabelledFeatures]:
        """The features from the beginning, by another pass over the loader.

        Args:
            rows: Upper bound of the rows in a chunk.

        Yields:
            The batches, split where they are longer.

        Raises:
            InputError: If the second pass gave other samples than the first.
        """
        device = self._stats.means.device
        counts = torch.zeros(self.num_classes, dtype=torch.int64, device=device)
        sums = torch.zeros(self.num_classes, self._stats.num_features, dtype=torch.float64, device=device)
        eps = 0.0
        for h, y in self._again():
            x, at = h.to(device).double(), y.to(device)
            if x.shape[1] != sums.shape[1] or bool((at >= self.num_classes).any() | (at < 0).any()):
                raise InputError(_DIFFERS.format("their width or labels changed"))
            counts += torch.bincount(at, minlength=self.num_classes)
            sums.index_add_(0, at, x)
            eps = max(eps, torch.finfo(h.dtype).eps)
            yield from _trusted(h, y.to(h.device), self.num_classes).chunks(rows)
        self._check(counts, sums, eps)

    def _check(self, counts: Tensor, sums: Tensor, eps: float) -> None:
        stats = self._stats
        first = torch.zeros_like(counts)
        first[stats.labels] = stats.counts
        if not torch.equal(first, counts):
            at = int((first != counts).nonzero()[0])
            raise InputError(_DIFFERS.format(f"class {at} had {int(first[at])} samples, then {int(counts[at])}"))
        means = sums[stats.labels] / stats.counts.double()[:, None]
        # Root mean square of a class's features: what their rounding is relative to.
        scale = (stats.means.square().sum(1) + stats.class_variances).sqrt()
        off = (means - stats.means).norm(dim=1)
        if bool((off > eps**0.5 * scale).any()):
            at = int(stats.labels[(off - eps**0.5 * scale).argmax()])
            raise InputError(_DIFFERS.format(f"the mean of class {at} moved"))
