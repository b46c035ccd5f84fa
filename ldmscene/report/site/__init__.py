"""The report as a folder of static pages."""

from ldmscene.report.site.room import samples_that_fit
from ldmscene.report.site.write import write_site

__all__ = ["samples_that_fit", "write_site"]
