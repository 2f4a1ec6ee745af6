"""The report: one page from the marts, for somebody who has no dashboard yet."""

from python_scoring.report.page import write_report

__all__ = ["write_report"]
