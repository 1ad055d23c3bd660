"""Pages and figures made of records alone: a report is a view, it computes nothing and never needs torch."""

from collapselab.report.paper import nc_figure
from collapselab.report.write import (
    write_comparison,
    write_elasticity_report,
    write_measurements_report,
    write_prediction_report,
    write_report,
)

__all__ = [
    "nc_figure",
    "write_comparison",
    "write_elasticity_report",
    "write_measurements_report",
    "write_prediction_report",
    "write_report",
]
