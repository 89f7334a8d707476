"""An audit as one self-contained HTML page with the texts to review."""

from textclf.report.audit_report import AuditReport, advice, problems, verdict
from textclf.report.audit_text import counts
from textclf.report.html_page import render_page

# More rows than a person reads on a page; the review file has them all.
_MAX_ROWS = 200
_MAX_CHARS = 600


def audit_page(report: AuditReport) -> str:
    """The report as HTML; all texts and names are escaped."""
    largest = max(count for part in report.parts for count in part.classes.values())
    return render_page(
        "audit_page.html.jinja",
        report=report,
        verdict=verdict(report),
        problems=problems(report),
        advice=advice(report),
        counts=counts(report),
        rows=report.rows[:_MAX_ROWS],
        largest=max(1, largest),
        shortened=_shortened,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]} …"
