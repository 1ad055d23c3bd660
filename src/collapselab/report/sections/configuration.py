"""The configuration in force and where the record comes from."""

import shlex

from collapselab.records import Provenance
from collapselab.records.flat import flattened
from collapselab.report.sections._section import Section
from collapselab.report.view import View
from collapselab.report.words import duration, plain


def configuration(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if the record has neither configuration nor provenance.
    """
    run = view.run
    origin = (
        run.provenance if run is not None else next((m.provenance for m in view.latest.values() if m.provenance), None)
    )
    if origin is None:
        return None
    config = [] if run is None else [(name, plain(value)) for name, value in flattened(run.config).items()]
    facts = [] if run is None else [("recipe", run.name), ("run folder", view.folder or "")]
    facts += origin_facts(origin)
    if run is not None:
        facts += [("wall time", duration(run.seconds)), ("times started or resumed", str(run.sessions))]
    title = "Configuration and origin" if run is not None else "Origin"
    words = {"config": config, "facts": facts, "command": shlex.join(origin.command)}
    return Section(
        "configuration", title, "Configuration" if run is not None else "Origin", "configuration.html.j2", words
    )


def origin_facts(origin: Provenance) -> list[tuple[str, str]]:
    """Provenance as names and texts.

    Args:
        origin: The record.

    Returns:
        What it says, absent things left out.
    """
    commit = origin.git_commit
    if commit is not None and origin.git_dirty:
        commit = f"{commit}, with changes that were not committed"
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    facts = {
        "seed": origin.seed,
        "device": origin.device,
        "data type of the network": origin.dtype,
        "threads": origin.threads,
        "collapselab": origin.collapselab,
        "git commit": commit,
        "Python": origin.python,
        "packages": packages or None,
        "platform": origin.platform,
        "created": origin.created,
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]
