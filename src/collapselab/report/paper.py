"""The four faces of collapse as one figure for a paper."""

import io
import os
from pathlib import Path
from typing import Any

from collapselab.core.errors import InputError
from collapselab.core.extras import require
from collapselab.records import write_bytes
from collapselab.report.arms import lines_of
from collapselab.report.axes import epoch_axis, epoch_place, value_scale
from collapselab.report.faces import Face
from collapselab.report.opening import open_run
from collapselab.report.palette import themed
from collapselab.report.view import View

_KINDS = (".svg", ".pdf", ".png")
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}


def nc_figure(run_folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Draw NC1 to NC4 of a run, train beside test, four panels in a row.

    Args:
        run_folder: Folder of the run.
        out: Where to write; the suffix ``.svg``, ``.pdf`` or ``.png`` says what.

    Returns:
        Where the figure is.

    Raises:
        InputError: If the folder holds no run with a series, or the suffix is another one.
    """
    path = Path(out)
    if path.suffix not in _KINDS:
        raise InputError(f"out must end in one of {', '.join(_KINDS)}, got {str(path)!r}")
    view = open_run(run_folder)
    drawn = [(face, name) for face, name in view.faces if lines_of(view, lambda one, name=name: one.curves(name))]
    if not drawn:
        raise InputError(f"{run_folder} holds a run without a series of NC1 to NC4: there is nothing to draw")
    require("matplotlib", extra="figures", purpose="a figure for a paper")
    # The object interface leaves the user's pyplot, its backend and its open figures alone.
    figures = require("matplotlib.figure", extra="figures", purpose="a figure for a paper")
    figure = figures.Figure(figsize=(2.6 * len(drawn), 2.5), layout="constrained")
    for at, (face, name) in enumerate(drawn, start=1):
        _panel(figure.add_subplot(1, len(drawn), at), view, face, name)
    figure.axes[0].legend(frameon=False, fontsize=7)
    content = io.BytesIO()
    # Without a date the same run gives the same bytes.
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(content, format=path.suffix[1:], metadata=undated, dpi=200)
    write_bytes(path, content.getvalue())
    return path


def _panel(axes: Any, view: View, face: Face, name: str) -> None:
    lines, target = lines_of(view, lambda one: one.curves(name)), view.declarations[name].at_collapse
    scale = value_scale([value for line in lines for value in line.curve.values], target)
    for line in lines:
        x, y = [epoch_place(at) for at in line.curve.moments], [scale.place(v) for v in line.curve.values]
        style: dict[str, Any] = {"color": themed(line.colour), "linestyle": _DASHES[line.dash]}
        style |= {"linewidth": 0.5, "alpha": 0.4} if line.faint else {"linewidth": 1, "marker": "o", "markersize": 2}
        axes.plot(x, y, label="_" if line.faint else line.name, **style)
    ticks = epoch_axis(max(line.curve.moments[-1] for line in lines), view.unit)
    axes.set_xscale("log")
    axes.set_xticks(ticks["tickvals"], ticks["ticktext"])
    axes.set_yscale("log" if scale.logarithmic else "linear")
    axes.set_ylim(scale.lowest, scale.highest)
    if scale.logarithmic:
        axes.set_yticks(scale.axis["tickvals"], scale.axis["ticktext"])
    axes.minorticks_off()
    if target is not None and scale.shows(target):
        axes.axhline(scale.place(target), color=themed("@target"), linestyle=(0, (6, 3)), linewidth=0.8)
    for epoch, dash in ((view.phase.first_zero, "--"), (view.phase.last_above, ":")):
        if epoch is not None and view.phase.reached:
            axes.axvline(epoch_place(epoch), color=themed("@mark"), linestyle=dash, linewidth=0.8)
    axes.set_title(f"{face.code}, {face.name}", fontsize=8)
    axes.set_xlabel(view.unit, fontsize=8)
    axes.tick_params(labelsize=7)
