"""`collapselab cite`: BibTeX of what a metric, a recipe or a run rests on."""

from pathlib import Path

from collapselab.cli._answer import Answer
from collapselab.cli._catalogue import KINDS, PARTS, sources_of
from collapselab.cli._parsing import parsed, parser_of
from collapselab.core.cite import bibtex, references
from collapselab.core.errors import InputError
from collapselab.records import RunFolder
from collapselab.records.flat import flattened


def answer(arguments: list[str]) -> Answer:
    """Collect the sources of some names.

    Args:
        arguments: What came after the verb.

    Returns:
        Each entry once, in the order first named.
    """
    parser = parser_of("cite", "BibTeX of what a metric, a recipe or a run rests on.")
    parser.add_argument(
        "names", nargs="+", type=str, metavar="NAME", help="of anything that collapselab list shows, or a run folder"
    )
    keys = {name: _keys(name) for name in parsed(parser, arguments).names}
    used = list(dict.fromkeys(key for found in keys.values() for key in found))
    text = bibtex(used)
    entries = [{"key": key, "line": references()[key].line, "bibtex": references()[key].bibtex} for key in used]
    return Answer({"keys": keys, "entries": entries, "bibtex": text}, text)


def _keys(name: str) -> list[str]:
    if "/" in name or Path(name).is_dir():
        return _keys_of_run(RunFolder(name))
    return sources_of(name)


def _keys_of_run(folder: RunFolder) -> list[str]:
    """Sources of the claim, of what the network was made of, and of every metric that had a value in the run."""
    run, rows = folder.read(), folder.observations()
    found = [run.claim.source]
    config = flattened(run.config)
    for kind, field in PARTS.items():
        entries = KINDS[kind]()
        name = config.get(field)
        if isinstance(name, str) and name in entries:
            found.append(entries[name].source)
    for row in rows:
        declared = {**run.declarations, **row.result.declarations}
        valued = [name for name, one in row.result.measurements.items() if one.undefined is None]
        valued += [name for name, one in row.result.per_class.items() if one.undefined is None]
        found += [declared[name].source for name in valued if name in declared]
    unknown = next((key for key in found if key not in references()), None)
    if unknown is not None:
        raise InputError(f"{folder.run_file} names the source {unknown!r}, which this version does not have")
    return list(dict.fromkeys(found))
