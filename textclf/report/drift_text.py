"""A drift report as text for a terminal or a log."""

from textclf.report.drift_report import DriftReport
from textclf.report.drift_terms import EFFECTS, TITLES


def describe_drift(report: DriftReport) -> str:
    """The sentence and notes, the compared samples, and a line for each family."""
    compared = report.compared
    span = (
        f", {compared.since or 'the beginning'} to {compared.until or 'now'}"
        if compared.since or compared.until
        else ""
    )
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
            verdict = "ALARM" if family.is_alarm else "negligible" if family.is_negligible else "-"
            rows.append(
                (
                    TITLES.get(family.name, family.name),
                    f"{family.effect:.3f}",
                    f"{family.floor:.3f}",
                    f"{family.adjusted_p:.2g}",
                    verdict,
                    EFFECTS.get(family.test, ""),
                )
            )
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines += [
            "",
            *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
        ]
    return "\n".join(lines)


def _drawn(texts: int, found: int) -> str:
    noun = "text" if found == 1 else "texts"
    return f"{texts:,} {noun}" if texts >= found else f"{texts:,} of {found:,} {noun}"
