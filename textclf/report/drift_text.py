"""A drift report as text for a terminal or a log."""

from textclf.report.drift_report import DriftReport
from textclf.report.drift_terms import EFFECTS, TITLES, percent
from textclf.report.versions import table
from textclf.stats.drift_tests.drift_results import LabelCounts
from textclf.stats.drift_tests.unsure_shares import UnsureShares

_MAX_CLASSES = 3


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
        *_label_lines(report.figures.labels),
        *_prior_lines(report),
        *_unsure_lines(report.unsure),
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


def _label_lines(labels: LabelCounts | None) -> list[str]:
    """Errors among the audits and among the other labels, and the labels that are not a class of the model."""
    if labels is None:
        return []
    lines = []
    unknown = "{:,} of these errors have a label that is not a class of the model"
    if labels.audit_interval is not None:
        low, high = labels.audit_interval
        interval = f"95% interval of the error rate {percent(low)} to {percent(high)}"
        lines.append(f"audits     {labels.audit_errors:,} errors in {labels.audit_texts:,} texts ({interval})")
    if labels.audit_unknown:
        lines.append(f"           {unknown.format(labels.audit_unknown)}")
    if labels.other_texts:
        lines.append(f"labels     {labels.other_errors:,} errors in {labels.other_texts:,} other labelled texts")
    if labels.other_unknown:
        lines.append(f"           {unknown.format(labels.other_unknown)}")
    return lines


def _prior_lines(report: DriftReport) -> list[str]:
    """The estimated true shares, for the classes whose shares moved most; for two classes only the second."""
    prior = report.prior
    if prior is None or prior.latest is None or prior.latest_low is None or prior.latest_high is None:
        return []
    rows = list(
        zip(report.class_names, prior.reference, prior.latest, prior.latest_low, prior.latest_high, strict=True)
    )
    shown = rows[1:] if len(rows) == 2 else sorted(rows, key=lambda row: -abs(row[2] - row[1]))[:_MAX_CLASSES]
    return [
        f"{'classes  ' if at == 0 else '         '}  {name}: {percent(before)} -> {percent(now)} "
        f"(estimated true share, 95% interval {percent(low)} to {percent(high)})"
        for at, (name, before, now, low, high) in enumerate(shown)
    ]


def _unsure_lines(shares: UnsureShares | None) -> list[str]:
    if shares is None:
        return []
    low, high = percent(shares.latest_low), percent(shares.latest_high)
    return [f"unsure     {percent(shares.reference)} -> {percent(shares.latest)} (95% interval {low} to {high})"]


def _drawn(texts: int, found: int) -> str:
    noun = "text" if found == 1 else "texts"
    return f"{texts:,} {noun}" if texts >= found else f"{texts:,} of {found:,} {noun}"
