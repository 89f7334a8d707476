"""A drift report as one self-contained HTML file with charts and without scripts."""

from dataclasses import dataclass

from textclf.report.drift_report import DriftReport, Histogram
from textclf.report.drift_terms import EFFECTS, TITLES, percent
from textclf.report.html_page import render_page
from textclf.stats.drift_tests.drift_results import FamilyResult

# Size of a chart in SVG units.
WIDTH, HEIGHT = 480, 160
_MAX_CLASSES = 20


@dataclass(frozen=True)
class Bar:
    """A pair of bars: the reference's at `x`, and to its right that of the latest texts, as high as these numbers."""

    x: float
    width: float
    reference: float
    latest: float
    title: str


@dataclass(frozen=True)
class EffectLine:
    """An effect as a bar: its length and the position of the minimum effect, in percent of the longest bar."""

    family: FamilyResult
    length: float
    min_effect: float


@dataclass(frozen=True)
class ClassRow:
    """A class with its shares.

    Attributes:
        name: name of the class.
        reference, latest: shares of the predictions.
        known: true share in the reference.
        prior: estimated true share among the latest texts.
        low, high: ends of the 95% interval of the estimate. Each value is None if it is not known.
    """

    name: str
    reference: float
    latest: float
    known: float | None
    prior: float | None
    low: float | None
    high: float | None


def drift_page(report: DriftReport) -> str:
    """The report as HTML; all names are escaped."""
    return render_page(
        "drift_page.html.jinja",
        report=report,
        compared=report.compared,
        results=report.figures,
        titles=TITLES,
        effects=EFFECTS,
        width=WIDTH,
        height=HEIGHT,
        effect_lines=effect_lines(report),
        lengths=None if report.lengths is None else bars_of(report.lengths, "{:,.0f} to {:,.0f} tokens"),
        length_ticks=[] if report.lengths is None else ticks_of(report.lengths, "{:,.0f}"),
        scores=None if report.scores is None else bars_of(report.scores, "{:.2f} to {:.2f}"),
        score_ticks=[] if report.scores is None else ticks_of(report.scores, "{:.2f}"),
        score_name=f"P({report.class_names[1]})" if len(report.class_names) == 2 else "P(predicted class)",
        classes=class_rows(report),
        words=list(zip(report.words, report.figures.words, strict=True)),
    )


def bars_of(histogram: Histogram, title: str) -> list[Bar]:
    """A pair of bars for each bin, scaled to the height of the chart; `title` formats the edges of the bin."""
    step = WIDTH / len(histogram.reference)
    scale = HEIGHT / max(*histogram.reference, *histogram.latest)
    bars = []
    for at, (reference, latest) in enumerate(zip(histogram.reference, histogram.latest, strict=True)):
        edges = title.format(*histogram.edges[at : at + 2])
        shares = f"{percent(reference)} of the reference, {percent(latest)} of the latest texts"
        bars.append(Bar(at * step + 1, step / 2 - 1, reference * scale, latest * scale, f"{edges}: {shares}"))
    return bars


def ticks_of(histogram: Histogram, form: str) -> list[tuple[float, str]]:
    """Positions and labels along the axis, for about every fourth edge."""
    bins = len(histogram.edges) - 1
    return [(at * WIDTH / bins, form.format(histogram.edges[at])) for at in range(0, bins + 1, max(1, bins // 4))]


def effect_lines(report: DriftReport) -> list[EffectLine]:
    """The families on one scale: each effect divided by its minimum effect; an AUC counts from 0.5, no effect."""
    shares = [(family, _share_of_min_effect(family)) for family in report.figures.families]
    widest = max([1.5, *(share for _, share in shares)])
    return [EffectLine(family, 100 * share / widest, 100 / widest) for family, share in shares]


def class_rows(report: DriftReport) -> list[ClassRow]:
    """The classes in order, or the _MAX_CLASSES whose shares moved most if there are more."""
    mix, prior = report.figures.class_mix, report.prior
    if mix is None:
        return []
    unknown = (None,) * len(mix.latest)
    estimated = [
        unknown if prior is None or (values := getattr(prior, name)) is None else values
        for name in ("reference", "latest", "latest_low", "latest_high")
    ]
    rows = [ClassRow(*row) for row in zip(report.class_names, mix.reference, mix.latest, *estimated, strict=True)]
    if len(rows) > _MAX_CLASSES:
        rows.sort(key=lambda row: -abs(row.latest - row.reference))
    return rows[:_MAX_CLASSES]


def _share_of_min_effect(family: FamilyResult) -> float:
    none = 0.5 if family.test == "words" else 0.0
    if family.floor <= none:
        return 1.0 if family.effect > none else 0.0
    return max(0.0, (family.effect - none) / (family.floor - none))
