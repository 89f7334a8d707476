"""An audit as text for a terminal: the verdict, the next steps, and the counts."""

from textclf.report.audit_report import AuditReport, advice, problems, verdict
from textclf.report.counted import counted
from textclf.report.versions import table


def describe_audit(report: AuditReport) -> str:
    """The verdict, other problems, the next steps, the counts and the notes; no text of the data set."""
    lines = [verdict(report), *(f"Also: {problem}." for problem in problems(report)[1:])]
    if found := advice(report):
        lines += ["", "Next steps:", *(f"  {number}. {step}" for number, step in enumerate(found, start=1))]
    return "\n".join([*lines, "", *table(list(counts(report))), *_notes(report)])


def counts(report: AuditReport) -> list[tuple[str, str]]:
    """Each check and what it found."""
    rows = [("texts", ", ".join(f"{part.texts:,} {part.name}" for part in report.parts))]
    sizes = sorted(report.class_counts.items(), key=lambda item: -item[1])
    if len(sizes) <= 4:
        rows.append(("classes", ", ".join(f"{name} {count:,}" for name, count in sizes)))
    else:
        (largest, upper), (smallest, lower) = sizes[0], sizes[-1]
        rows.append(("classes", f"{len(sizes)}, from {lower:,} training texts ({smallest}) to {upper:,} ({largest})"))
    if (errors := report.errors) is None:
        rows.append(("likely label errors", "not searched: too few texts"))
    else:
        rows.append(("likely label errors", f"{errors.found:,} of {counted(errors.searched, 'text')}"))
    repeats = counted(report.surplus, "text that is", "texts that are")
    rows += [
        (
            "contradictory labels",
            f"{counted(report.contradictions, 'text that occurs', 'texts that occur')} with different labels",
        ),
        ("repeats", f"{repeats} equal to another one, in {counted(report.equal_groups, 'group')}"),
        (
            "similar texts",
            f"{report.similar_texts:,} in {counted(report.similar_groups, 'group')}{_other_labels(report)}",
        ),
        *((f"{leak.inside} in {leak.of}", f"{leak.equal:,} equal, {leak.similar:,} similar") for leak in report.leaks),
        ("outliers", "not searched: no embeddings" if report.outliers is None else f"{report.outliers:,}"),
        ("blank", f"{report.blank:,}, and {report.short:,} of one or two wordpieces"),
        (f"over {report.max_length:,}", ", ".join(f"{part.truncated:.1%} of {part.name}" for part in report.parts)),
    ]
    for pair in report.pairs[:3]:
        rows.append(("confused", f"{pair.first} and {pair.second}: {counted(pair.texts, 'text')} ({pair.share:.1%})"))
    return rows


def _other_labels(report: AuditReport) -> str:
    count = report.similar_contradictions
    return f"; {count:,} of them in groups with different labels" if count else ""


def _notes(report: AuditReport) -> list[str]:
    return ["", *report.notes] if report.notes else []
