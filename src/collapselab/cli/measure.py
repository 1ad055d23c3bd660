"""`collapselab measure`: collapse metrics of a file of features."""

from pathlib import Path

from collapselab.cli._answer import Answer
from collapselab.cli._measured import measured_text
from collapselab.cli._parsing import parsed, parser_of
from collapselab.core.errors import InputError
from collapselab.records import Measurements, as_json, write_bytes

_DESCRIPTION = """Collapse metrics of a file of features: .npz or .safetensors with arrays h (N, d) and y (N,), and
perhaps weight (K, d) and bias (K,) of the classifier; or .parquet with columns y and h, or h_0, h_1, ..."""


def answer(arguments: list[str]) -> Answer:
    """Measure the features of a file.

    Args:
        arguments: What came after the verb.

    Returns:
        The record, and a table of it.
    """
    parser = parser_of("measure", _DESCRIPTION)
    parser.add_argument("features", type=str, metavar="FEATURES", help="the file")
    parser.add_argument("--head", type=str, metavar="FILE", help=".npz or .safetensors with weight and perhaps bias")
    parser.add_argument("--metrics", type=str, metavar="A,B", help="names of metrics; all if not given")
    parser.add_argument("--num-classes", type=int, metavar="K", help="classes, seen or not")
    parser.add_argument("--ignore-index", type=int, metavar="I", help="leave out samples with this label")
    parser.add_argument("--split", type=str, metavar="NAME", help="name of the data for the record, such as test")
    parser.add_argument("--report", type=str, metavar="FILE.html", help="write a page about the measurement as well")
    parser.add_argument("--out", type=str, metavar="FILE.json", help="write the record as well")
    asked = parsed(parser, arguments)
    names = None if asked.metrics is None else _names(asked.metrics)
    measured = _measured(
        asked.features, names, head=asked.head, split=asked.split, k=asked.num_classes, ignored=asked.ignore_index
    )
    written = _written(measured, asked.features, out=asked.out, report=asked.report)
    text = measured_text(asked.features, measured)
    document = measured.model_dump(mode="json") | {"written": written}
    return Answer(document, "\n".join([text, *(f"written: {path}" for path in written)]))


def _names(listed: str) -> list[str]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if not names:
        raise InputError(f"--metrics: expected names with commas between them, got {listed!r}")
    return names


def _measured(
    path: str, names: list[str] | None, *, head: str | None, split: str | None, k: int | None, ignored: int | None
) -> Measurements:
    from collapselab.evidence.files import read_features
    from collapselab.measuring import measure
    from collapselab.metrics import REGISTRY

    for name in names or ():
        REGISTRY[name]  # an unknown name is said before a large file is read
    file = read_features(path, head=head, num_classes=k, ignore_index=ignored)
    return measure(file, metrics=names, split=split)


def _written(measured: Measurements, path: str, *, out: str | None, report: str | None) -> list[str]:
    """Paths of the files that were asked for."""
    written = []
    if out is not None:
        write_bytes(Path(out), (as_json(measured.model_dump(mode="json")) + "\n").encode())
        written.append(out)
    if report is not None:
        from collapselab.report import write_measurements_report

        written.append(str(write_measurements_report(measured, report, title=Path(path).name)))
    return written
