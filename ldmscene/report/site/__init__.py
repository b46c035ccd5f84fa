"""The report as a folder of static pages."""

from ldmscene.report.site.write import write_site

__all__ = ["write_site"]
