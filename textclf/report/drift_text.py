"""A drift report as text for a terminal or a log."""

from textclf.report.drift_report import DriftReport
from textclf.report.drift_terms import EFFECTS, TITLES
from textclf.report.versions import table


def describe_drift(report: DriftReport) -> str:
    """The sentence and notes, the compared samples, and a line for each family."""
    compared = report.compared
    span = f", {compared.since or 'the beginning'} to {compared.until or 'now'}"
    span = span if compared.since or compared.until else ""
    lines = [
        report.sentence,
        *report.notes,
        "",
        f"latest     {_drawn(compared.texts, compared.found)}: {compared.source}{span}",
        f"reference  {_drawn(compared.reference_texts, compared.reference_found)}: {compared.reference}",
        f"model      {compared.model} {compared.version}",
        *(
            f"           {rows:,} texts that {version} predicted were not compared"
            for version, rows in compared.other_versions.items()
        ),
    ]
    if report.figures.families:
        rows = [("", "effect", "minimum", "adjusted p", "", "unit of the effect")]
        for family in report.figures.families:
            title, unit = TITLES.get(family.name, family.name), EFFECTS.get(family.test, "")
            verdict = "ALARM" if family.is_alarm else "negligible" if family.is_negligible else "-"
            numbers = f"{family.effect:.3f}", f"{family.floor:.3f}", f"{family.adjusted_p:.2g}"
            rows.append((title, *numbers, verdict, unit))
        lines += ["", *table(rows)]
    return "\n".join(lines)


def _drawn(texts: int, found: int) -> str:
    noun = "text" if found == 1 else "texts"
    return f"{texts:,} {noun}" if texts >= found else f"{texts:,} of {found:,} {noun}"
