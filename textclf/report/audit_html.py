"""An audit as one self-contained HTML page with the texts to review."""

from textclf.report.audit_report import AuditReport, advice, problems, verdict
from textclf.report.audit_text import counts
from textclf.report.excerpts import MAX_TEXT_CHARS, excerpt
from textclf.report.html_page import render_page

# More rows than a person reads on a page; the review file has them all.
_MAX_ROWS = 200


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
        shortened=lambda text: excerpt(text, MAX_TEXT_CHARS),
    )
