"""A metric from stage to stage of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapselab.report.axes import value_scale
from collapselab.report.figures import Figure, axis, layout, target_marks
from collapselab.report.words import in_plot, number, significant


@dataclass(frozen=True)
class Profile:
    """A metric at some stages, at one moment of one training.

    Attributes:
        name: For the legend of the pointer.
        values: Stage to value; stages where it is undefined are left out.
        colour: Role.
        dash: Of the line.
        strength: From 0 to 1: early moments are drawn weaker.
        sign: Written at its end.
    """

    name: str
    values: Mapping[str, float]
    colour: str
    dash: str
    strength: float = 1.0
    sign: str = ""


def depth_figure(
    stages: Sequence[str], profiles: Sequence[Profile], *, title: str, target: float | None = None
) -> Figure:
    """One curve a moment, or one an arm, over the stages of a network.

    Args:
        stages: In the order of the forward pass.
        profiles: At least one with at least one value.
        title: Name of the vertical axis.
        target: Value at collapse, drawn as a line.

    Returns:
        A figure.
    """
    scale = value_scale([value for profile in profiles for value in profile.values.values()], target)
    shapes, notes = target_marks(scale, target)
    traces: list[dict[str, Any]] = []
    for profile in profiles:
        here = [stage for stage in stages if stage in profile.values]
        placed = [significant(scale.place(profile.values[stage])) for stage in here]
        signs = [""] * (len(here) - 1) + [profile.sign]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text" if profile.sign else "lines+markers",
                "name": in_plot(profile.name),
                "x": [stages.index(stage) for stage in here],
                "y": placed,
                "text": signs,
                "textposition": "middle right",
                "textfont": {"size": 12, "color": profile.colour},
                "hovertext": [f"{in_plot(stage)}: {number(profile.values[stage], 4)}" for stage in here],
                "hovertemplate": "%{hovertext}<extra>%{fullData.name}</extra>",
                "opacity": round(0.25 + 0.75 * profile.strength, 3),
                "cliponaxis": False,
                "line": {"color": profile.colour, "dash": profile.dash, "width": 2},
                "marker": {
                    "color": profile.colour,
                    "size": 5,
                    "symbol": "circle" if profile.dash == "solid" else "circle-open",
                },
            }
        )
    across = axis(
        title={"text": "stage of the network"},
        tickvals=list(range(len(stages))),
        ticktext=[in_plot(stage) for stage in stages],
        range=[-0.3, len(stages) - 1 + 0.45],
    )
    return {
        "data": traces,
        "layout": layout(
            xaxis=across, yaxis=axis(title={"text": title}, **scale.axis), shapes=shapes, annotations=notes
        ),
    }
