"""Figures and pages from one value, `ReportData`.

Every figure is one call and gives matplotlib's own Axes or Figure back; `write_site` makes a folder of
static pages that opens from `file://`.
"""

from ldmscene.report.animation import animate
from ldmscene.report.curves import curves
from ldmscene.report.data import ReportData
from ldmscene.report.figures import write_figures
from ldmscene.report.heatmap import heatmap
from ldmscene.report.interventions import Intervention, effects
from ldmscene.report.pictures import four_panels, seven_rows
from ldmscene.report.saving import save
from ldmscene.report.site import samples_that_fit, write_site
from ldmscene.report.transfer import transfer

__all__ = [
    "Intervention",
    "ReportData",
    "animate",
    "curves",
    "effects",
    "four_panels",
    "heatmap",
    "samples_that_fit",
    "save",
    "seven_rows",
    "transfer",
    "write_figures",
    "write_site",
]
