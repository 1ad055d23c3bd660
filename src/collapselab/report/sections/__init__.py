"""The sections of a page, one file each, in the order they are shown."""

from collapselab.report.sections._section import Build, Choice, Panel, Section
from collapselab.report.sections.arms import arms
from collapselab.report.sections.between import between
from collapselab.report.sections.classes import classes
from collapselab.report.sections.collapse import collapse
from collapselab.report.sections.conditions import conditions
from collapselab.report.sections.configuration import configuration
from collapselab.report.sections.depth import depth
from collapselab.report.sections.distances import distances
from collapselab.report.sections.explorer import explorer
from collapselab.report.sections.geometry import geometry
from collapselab.report.sections.headline import headline
from collapselab.report.sections.imbalance import imbalance
from collapselab.report.sections.moving import moving
from collapselab.report.sections.picture import picture
from collapselab.report.sections.predicted import predicted
from collapselab.report.sections.table import table
from collapselab.report.sections.training import training
from collapselab.report.sections.undefined import undefined

SECTIONS: tuple[Build, ...] = (
    headline,
    picture,
    arms,
    collapse,
    training,
    moving,
    between,
    depth,
    geometry,
    distances,
    classes,
    imbalance,
    predicted,
    explorer,
    table,
    undefined,
    conditions,
    configuration,
)
"""What a page shows of a run, in this order."""

EXAMPLES: tuple[Build, ...] = (between, depth, geometry, classes)
"""What it shows besides of single arms, since it takes a figure for each training."""

__all__ = ["EXAMPLES", "SECTIONS", "Build", "Choice", "Panel", "Section"]
