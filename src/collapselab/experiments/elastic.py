"""Local elasticity of any network at one moment: similarities of samples and of classes, and the record of them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.random import generators
from collapselab.dynamics import all_logits, few_of_each, own_residual, single_logit, tangent_kernel
from collapselab.experiments.rebuilding import rebuilt
from collapselab.experiments.similarities import between_classes, declared_of, similarities_of
from collapselab.records import command_line, provenance
from collapselab.records.elasticity import Elasticity

# Samples of each class by default, as many as the quantity `local_elasticity` looks at.
PER_CLASS = 10

BUDGET = 2**30
"""Bytes that a kernel and the gradients may take together."""

Tell = Callable[[int, int], None]
"""Hears how many samples and how many parameters gradients are taken of."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples and where they are from.

    Attributes:
        x: Inputs (n, ...).
        y: Labels (n,).
        rows: Their places (n,) in the data.
    """

    x: Tensor
    y: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Held:
    """Inputs and labels in memory, taken as those of a run are."""

    x: Tensor
    y: Tensor

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some of them.

        Args:
            rows: Places (m,).

        Returns:
            Inputs (m, ...) and labels (m,).
        """
        return self.x[rows], self.y[rows]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found.

    Attributes:
        record: Matrices over classes and means.
        arrays: The matrices over samples: the tangent ``kernel`` (n, n) and, where they are defined,
            ``normalised_kernel``, ``relative_similarity`` and ``jacobian_similarity``; labels ``y`` (n,) and places
            ``rows`` (n,) in the data.
    """

    record: Elasticity
    arrays: Mapping[str, np.ndarray]


def elasticity_of_run(
    folder: "str | os.PathLike[str]",
    *,
    arm: str | None = None,
    split: Literal["train", "test"] = "train",
    samples_per_class: int = PER_CLASS,
    seed: int | None = None,
    device: torch.device | None = None,
    data: tuple[Tensor, Tensor] | None = None,
    data_name: str | None = None,
    tell: Tell | None = None,
) -> Measured:
    """Local elasticity of the network that a run ended with.

    Args:
        folder: A run folder whose training has ended.
        arm: Name of one of the trainings that the run compares.
        split: Which of the run's data.
        samples_per_class: Samples of each class.
        seed: Decides which; by default those that `local_elasticity` follows over the run.
        device: Where to compute.
        data: Other inputs (n, ...) and labels (n,), in place of those of the run.
        data_name: What they are called.
        tell: Hears how many samples and parameters there are, before they are gone through.

    Returns:
        The record and the arrays.

    Raises:
        InputError: If the run trains no network, has not ended, or has too few samples.
    """
    checks.one_of(split, "split", ("train", "test"))
    found = rebuilt(folder, arm=arm, device=device)
    training = found.training
    seed = training.seed if seed is None else seed
    of = getattr(training.data, split) if data is None else Held(*data)
    if not len(of.y):
        raise InputError(f"split must be one that the run has data of, got {split}")
    rows = drawn_rows(of.y, samples_per_class, seed=seed, what=data_name or f"the {split} split")
    x, y = of.take(rows.to(of.y.device))
    where = training.fabric.device
    return measured(
        training.network,
        Samples(x.to(where), y.to(where), rows),
        num_classes=training.data.num_classes,
        seed=seed,
        tell=tell,
        kind="run",
        model=f"{found.run.title} ({Path(folder).resolve().name})",
        arm=found.arm,
        weights="end of training",
        data=data_name or _data_of(found.run.config),
        split=split if data is None else None,
        notes=_notes(found.assumed),
    )


def _notes(assumed: tuple[str, ...]) -> tuple[str, ...]:
    settings = "the setting" if len(assumed) == 1 else "the settings"
    return (f"The run is older than {settings} {', '.join(assumed)}: taken at the default.",) if assumed else ()


def _data_of(config: Mapping[str, Any]) -> str:
    data = config.get("data")
    name = data.get("name") if isinstance(data, Mapping) else data
    return name if isinstance(name, str) else "data of the run"


def drawn_rows(y: Tensor, per_class: int, *, seed: int, what: str) -> Tensor:
    """Places of a few samples of each class that is there, class by class.

    Args:
        y: Labels (n,).
        per_class: How many of each; all of a class that has fewer.
        seed: Decides which.
        what: What the labels are of, for messages.

    Returns:
        Places (m,), on the CPU; the same that a `Sight` with this seed gives the quantity `local_elasticity`.

    Raises:
        InputError: If there is one class only, or a class has a single sample.
    """
    checks.whole(per_class, "samples_per_class", at_least=2)
    y = y.cpu()
    counts = torch.bincount(y, minlength=checks.classes_of(y, "y"))
    if int((counts > 0).sum()) < 2:
        raise InputError(f"{what} must have samples of at least two classes, got {int((counts > 0).sum())}")
    if bool((counts == 1).any()):
        label = int((counts == 1).nonzero()[0])
        raise InputError(f"{what} must have at least 2 samples of each class, got 1 of class {label}")
    (draw,) = generators(seed, "local elasticity")
    return few_of_each(y, per_class, generator=draw)


def measured(
    network: nn.Module,
    samples: Samples,
    *,
    num_classes: int | None = None,
    seed: int,
    budget: int = BUDGET,
    tell: Tell | None = None,
    **where: Any,
) -> Measured:
    """Local elasticity of a network by some samples, computed in float64.

    Args:
        network: Inputs to logits (n, k), or to one number a sample; left in eval mode and in float64.
        samples: At least two of each of at least two classes.
        num_classes: K; as many as there are logits by default.
        seed: What decided which samples, for the record.
        budget: Bytes that a kernel and the gradients may take together.
        tell: Hears how many samples and parameters there are, before they are gone through.
        where: Further fields of the record: ``kind``, ``model``, ``weights``, ``data`` ...

    Returns:
        The record and the arrays.

    Raises:
        InputError: If the network does not take such samples, or there are too many of them.
    """
    _require_room(len(samples.y), budget)
    network = network.eval().double()
    x = samples.x.double() if samples.x.is_floating_point() else samples.x
    logits = _logits(network, x)
    k = _classes(logits, samples.y, num_classes)
    reading = "single_logit" if logits == 1 else "own_residual"
    read = single_logit if logits == 1 else own_residual
    size = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if tell is not None:
        tell(len(x), size)
    kernel = tangent_kernel(network, x, samples.y, read=read, budget=budget).cpu()
    whole = None if logits == 1 else tangent_kernel(network, x, samples.y, read=all_logits, budget=budget).cpu()
    labels, place = samples.y.cpu().unique(return_inverse=True)
    matrices = similarities_of(kernel, whole)
    record = Elasticity(
        num_parameters=size,
        num_classes=k,
        classes=tuple(labels.tolist()),
        counts=tuple(torch.bincount(place).tolist()),
        seed=seed,
        reading=reading,
        similarities={name: between_classes(found, place, len(labels)) for name, found in matrices.items()},
        declarations=declared_of(reading),
        provenance=provenance(dtype="float64", device=str(x.device), seed=seed, command=command_line()),
        **where,
    )
    kept = {name: found.numpy() for name, found in matrices.items() if isinstance(found, Tensor)}
    kept = {"kernel": kept.pop("elasticity"), **kept}
    return Measured(record, kept | {"y": samples.y.cpu().numpy(), "rows": samples.rows.cpu().numpy()})


def _require_room(n: int, budget: int) -> None:
    most = int((budget / 48) ** 0.5)  # of two kernels, three similarities and gradients each a sixth
    if n > most:
        raise InputError(f"samples_per_class must make at most {most:,} samples of all classes together, got {n:,}")


def _logits(network: nn.Module, x: Tensor) -> int:
    """How many logits the network gives."""
    name = type(network).__name__
    try:
        with torch.no_grad():
            found = network(x[:2].clone())
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        words = " ".join(str(error).split())[:200]
        kind = f"inputs in {str(x.dtype).removeprefix('torch.')}"
        raise InputError(f"{name} must take {kind} of shape {tuple(x.shape[1:])}, it did not: {words}") from error
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
        got = checks.described(found) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"{name} must give logits (n, k), got {got} for 2 samples")
    checks.finite(found, "logits")
    return found.shape[1]


def _classes(logits: int, y: Tensor, num_classes: int | None) -> int:
    k = max(logits, int(y.max()) + 1) if num_classes is None else num_classes
    if logits > 1 and int(y.max()) >= logits:
        raise InputError(f"labels must lie in 0..{logits - 1} as the network has {logits} logits, got {int(y.max())}")
    return k
