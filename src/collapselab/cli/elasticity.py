"""`collapselab elasticity`: how far a step on a sample of one class moves those of others, at one moment."""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from collapselab.cli._answer import Answer, show
from collapselab.cli._elastic import data_of_file, load, model_of
from collapselab.cli._elasticity_text import elasticity_text
from collapselab.cli._parsing import parsed, parser_of
from collapselab.core.errors import InputError
from collapselab.records import RunFolder, as_json, write_arrays, write_bytes

if TYPE_CHECKING:
    import torch

    from collapselab.experiments.elastic import Measured

# Numbers of the gradients of all samples from which on a line says that it takes a while.
_MANY = 50_000_000

_DESCRIPTION = """How far a small step on a sample of one class moves what a network says of samples of its own and of
other classes: similarities of gradients between a few samples of each class, exact, in float64. Of the network that a
run ended with, by the data of the run or those of a file; or of any network by those of a file. A network is named like
those of train, with --weights FILE.safetensors, or is what package.module:function returns, called without arguments:
importing it runs its code, as any import does. Files of torch.save and torch.export are not read, since reading them
can run code that nobody asked for."""


def answer(arguments: list[str]) -> Answer:
    """Measure, and write what was asked for.

    Args:
        arguments: What came after the verb.

    Returns:
        The record, and a table of it.
    """
    asked = parsed(_parser(), _positions_first(arguments))
    of_run = RunFolder(asked.what).exists()
    _require_fitting(asked, of_run=of_run)
    _require_files(asked)
    found = _of_run(asked) if of_run else _of_model(asked)
    written = _written(found, out=asked.out, arrays=asked.arrays, report=asked.report)
    rows = {
        name: [row.model_dump() for row in one.rows(found.record.classes)]
        for name, one in found.record.similarities.items()
    }
    document = found.record.model_dump(mode="json") | {"rows": rows, "written": written}
    return Answer(document, "\n".join([elasticity_text(found.record), *(f"written: {path}" for path in written)]))


def _positions_first(arguments: list[str]) -> list[str]:
    """What is not a flag nor its value, first: argparse takes an optional DATA only right after MODEL."""
    plain, flags, rest = [], [], iter(arguments)
    for one in rest:
        if not one.startswith("-"):
            plain.append(one)
            continue
        flags.append(one)
        if one not in ("--help", "-h") and "=" not in one:
            flags.extend(itertools.islice(rest, 1))
    return [*plain, *flags]


def _parser() -> ArgumentParser:
    parser = parser_of("elasticity", _DESCRIPTION)
    parser.add_argument(
        "what", type=str, metavar="RUN|MODEL", help="folder of a run; name of a network; module:function"
    )
    parser.add_argument(
        "data", nargs="?", type=str, metavar="DATA", help=".npz or .safetensors with x (N, ...) and y (N,), or .parquet"
    )
    parser.add_argument("--arm", type=str, metavar="NAME", help="of a run that compares several trainings: which")
    parser.add_argument("--split", type=Literal["train", "test"], help="of a run's own data: which; train if not given")
    parser.add_argument(
        "--weights", type=str, metavar="FILE.safetensors", help="weights of MODEL; as made if not given"
    )
    parser.add_argument(
        "--network", type=str, metavar="SETTINGS", help="of MODEL by name, such as '{widths: [64, 32]}'; its defaults"
    )
    parser.add_argument("--samples-per-class", type=int, default=10, metavar="N", help="samples of each class")
    parser.add_argument(
        "--seed", type=int, metavar="S", help="decides which samples; those of a run's own numbers if not given, or 0"
    )
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda or cuda:INDEX")
    parser.add_argument("--report", type=str, metavar="FILE.html", help="write a page with heat-maps as well")
    parser.add_argument("--arrays", type=str, metavar="FILE.safetensors", help="write all pairs of samples as well")
    parser.add_argument("--out", type=str, metavar="FILE.json", help="write the record as well")
    return parser


def _require_fitting(asked: Namespace, *, of_run: bool) -> None:
    """Refuse flags that are of another kind of network."""
    if asked.seed is not None and asked.seed < 0:
        raise InputError(f"--seed: expected a number from 0, got {asked.seed}")
    if asked.samples_per_class < 2:
        raise InputError(f"--samples-per-class: expected at least 2, got {asked.samples_per_class}")
    if of_run:
        foreign = [flag for flag in ("weights", "network") if asked[flag] is not None]
        if foreign:
            raise InputError(f"--{foreign[0]}: expected MODEL with DATA, got the run {asked.what}, which has its own")
        if asked.data is not None and asked.split is not None:
            raise InputError(f"--split: expected the data of the run, got those of {asked.data}")
        return
    if Path(asked.what).is_dir():
        RunFolder(asked.what).read()  # says what is missing
    if asked.data is None:
        raise InputError(f"DATA must be given beside a network, got {asked.what!r} alone, which is no run folder")
    for flag in ("arm", "split"):
        if asked[flag] is not None:
            raise InputError(f"--{flag}: expected a run folder, got the network {asked.what}")


def _require_files(asked: Namespace) -> None:
    """Refuse what cannot be written before anything is measured."""
    for flag in ("report", "arrays", "out"):
        if asked[flag] is not None and Path(asked[flag]).is_dir():
            raise InputError(f"--{flag}: expected a file to write, got the folder {asked[flag]}")
    if asked.arrays is not None and Path(asked.arrays).suffix != ".safetensors":
        raise InputError(f"--arrays: expected FILE.safetensors, got {asked.arrays}")


def _device(name: str) -> "torch.device":
    from collapselab.training.environment import find_device

    device = find_device(name)
    if device.type == "mps":
        raise InputError("--device: expected one that computes in float64, got mps")
    return device


def _of_run(asked: Namespace) -> "Measured":
    from collapselab.experiments.elastic import elasticity_of_run
    from collapselab.training.environment import computing

    device = _device(asked.device)
    with computing(device=device):
        return elasticity_of_run(
            asked.what,
            arm=asked.arm,
            split=asked.split or "train",
            samples_per_class=asked.samples_per_class,
            seed=asked.seed,
            device=device,
            data=None if asked.data is None else data_of_file(asked.data),
            data_name=None if asked.data is None else Path(asked.data).name,
            tell=_tell,
        )


def _of_model(asked: Namespace) -> "Measured":
    from collapselab.experiments.elastic import Samples, drawn_rows, measured
    from collapselab.training.environment import computing

    device, seed = _device(asked.device), asked.seed or 0
    x, y = data_of_file(asked.data)
    with computing(device=device):
        rows = drawn_rows(y, asked.samples_per_class, seed=seed, what=f"DATA: {asked.data}")
        kind, network = model_of(
            asked.what, settings=asked.network, shape=tuple(x.shape[1:]), k=int(y.max()) + 1, seed=seed
        )
        if asked.weights is not None:
            load(network, asked.weights)
        return measured(
            network.to(device),
            Samples(x[rows].to(device), y[rows].to(device), rows),
            seed=seed,
            tell=_tell,
            kind=kind,
            model=asked.what,
            weights="as made" if asked.weights is None else Path(asked.weights).name,
            data=Path(asked.data).name,
        )


def _tell(samples: int, parameters: int) -> None:
    """A line for what may take long."""
    if samples * parameters >= _MANY:
        show(f"gradients of {samples:,} samples by {parameters:,} parameters: this may take a while", sys.stderr)


def _written(found: "Measured", *, out: str | None, arrays: str | None, report: str | None) -> list[str]:
    """Paths of the files that were asked for."""
    written = []
    if out is not None:
        write_bytes(Path(out), (as_json(found.record.model_dump(mode="json")) + "\n").encode())
        written.append(out)
    if arrays is not None:
        write_arrays(Path(arrays), found.arrays, metadata={"schema_version": "1"})
        written.append(arrays)
    if report is not None:
        from collapselab.report import write_elasticity_report

        written.append(str(write_elasticity_report(found.record, report)))
    return written
