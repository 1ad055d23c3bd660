"""How far each metric is from its value at collapse, on one axis."""

from collections.abc import Mapping, Sequence

from collapselab.report.axes import value_scale
from collapselab.report.figures import Figure, axis, layout
from collapselab.report.palette import split_colour
from collapselab.report.words import in_plot, number, significant

_ROW, _REST = 24, 70


def distance_rows(names: Sequence[str], away: Mapping[str, Mapping[str, float]]) -> Figure:
    """One row a metric, one mark a split.

    Args:
        names: Metrics from top to bottom.
        away: Split to metric to the distance from the value at collapse.

    Returns:
        A figure as high as its rows need.
    """
    scale = value_scale([value for values in away.values() for value in values.values()], None)
    traces = []
    for split, values in away.items():
        here = [name for name in names if name in values]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": split,
                "x": [significant(scale.place(values[name])) for name in here],
                "y": [in_plot(name) for name in here],
                "text": [f"{in_plot(name)}: {number(values[name])}" for name in here],
                "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
                "marker": {
                    "color": split_colour(split),
                    "size": 9,
                    "symbol": "circle" if split == "train" else "diamond-open",
                    "line": {"width": 2},
                },
            }
        )
    small = {"family": "ui-monospace, monospace", "size": 11}
    down = {"type": "category", "range": [len(names) - 0.4, -0.6], "tickfont": small}
    across = axis(title={"text": "distance from the value at collapse"}, **scale.axis)
    height = _ROW * len(names) + _REST
    return {"data": traces, "layout": layout(xaxis=across, yaxis=axis(**down), height=height)}
