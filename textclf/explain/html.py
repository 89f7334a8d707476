"""Explanations as HTML: without scripts and external resources, with all texts and names escaped."""

import html
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from textclf.explain.explanation import Explanation

# Classes that are shown, and words in the table of a class.
_MAX_CLASSES = 6
_MAX_WORDS = 10
# Shades of a colour, and the smallest share of the largest value that gets one.
_SHADES = 4
_MIN_SHARE = 0.05

_STYLE = """
.explained { line-height: 1.7; }
.explained .read { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.explained .read span { border-radius: .2em; }
.explained .f1 { background: rgb(31 111 209 / .14); } .explained .f2 { background: rgb(31 111 209 / .26); }
.explained .f3 { background: rgb(31 111 209 / .38); } .explained .f4 { background: rgb(31 111 209 / .5); }
.explained .a1 { background: rgb(200 80 20 / .14); } .explained .a2 { background: rgb(200 80 20 / .26); }
.explained .a3 { background: rgb(200 80 20 / .38); } .explained .a4 { background: rgb(200 80 20 / .5); }
.explained .a1, .explained .a2, .explained .a3, .explained .a4 { text-decoration: underline dotted; }
.explained .unread { color: #5b6472; border-bottom: 1px dashed #5b6472; }
.explained .note { color: #5b6472; }
.explained table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.explained th, .explained td { text-align: left; padding: .2em .8em; border-bottom: 1px solid #8a94a3; }
.explained td.number, .explained th.number { text-align: right; }
@media (prefers-color-scheme: dark) {
.explained .unread, .explained .note { color: #a3acb9; }
}
"""
_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 2rem auto; max-width: 50rem; padding: 0 1rem; background: #fff; color: #1d2430;
font: 16px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #e6e9ee; } }
section + section { border-top: 1px solid #8a94a3; margin-top: 2rem; }
"""


def page(explanations: Iterable[Explanation], title: str = "Explanations") -> Iterator[str]:
    """The parts of a page with all explanations, in their order."""
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_PAGE_STYLE}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n"
    )
    for number, explanation in enumerate(explanations, start=1):
        yield _section(explanation, f"Text {number}", level=2)
    yield "</main>\n</body>\n</html>\n"


def fragment(explanation: Explanation) -> str:
    """One explanation for a notebook, with its style."""
    return f"<style>{_STYLE}</style>\n{_section(explanation, 'Explanation', level=3)}"


def _section(explanation: Explanation, title: str, level: int) -> str:
    order = _shown_classes(explanation)
    parts = [
        f'<section class="explained">\n<h{level}>{html.escape(title)}: {html.escape(explanation.label)}</h{level}>\n',
        f"<p>{html.escape(_facts(explanation))}</p>\n",
    ]
    for position, column in enumerate(order):
        name = explanation.class_names[column]
        summary = f"Words for and against {name} (probability {explanation.probabilities[name]:.3f})"
        parts.append(
            f"<details{' open' if position == 0 else ''}>\n<summary>{html.escape(summary)}</summary>\n"
            f'<p class="read" dir="auto">{_coloured(explanation, column)}</p>\n'
            f"{_table(explanation, column)}</details>\n"
        )
    if len(order) < len(explanation.class_names):
        left_out = len(explanation.class_names) - len(order)
        parts.append(f'<p class="note">{left_out} classes with lower probabilities are not shown.</p>\n')
    if explanation.unseen:
        parts.append('<p class="note">The model did not read the words with a dashed line.</p>\n')
    if not explanation.complete:
        parts.append(
            '<p class="note">The evaluations ended early: some neighbouring words share the value of their group.</p>\n'
        )
    parts.append("</section>\n")
    return "".join(parts)


def _shown_classes(explanation: Explanation) -> list[int]:
    """Columns of the classes with the largest probabilities; the predicted class first."""

    def rank(column: int) -> tuple[bool, float]:
        name = explanation.class_names[column]
        return name != explanation.label, -explanation.probabilities[name]

    columns = sorted(range(len(explanation.class_names)), key=rank)
    return columns[:_MAX_CLASSES]


def _facts(explanation: Explanation) -> str:
    unit = "probability" if explanation.unit == "probability" else "calibrated logit"
    return (
        f"Predicted {explanation.label}{explanation.stage_in_words}. Values are in the unit {unit}; "
        f"absent words: {explanation.baseline}; evaluations: {explanation.evaluations}."
    )


def _coloured(explanation: Explanation, column: int) -> str:
    """The text; each word has a shade of its value."""
    values = explanation.values[:, column]
    shades = shades_of(values)
    parts: list[str] = []
    position = 0
    unread = iter([*explanation.unseen, (len(explanation.text) + 1,) * 2])
    gap_start, gap_end = next(unread)
    for (start, end), value, shade in zip(explanation.spans, values.tolist(), shades.tolist(), strict=True):
        while gap_end <= start:
            gap_start, gap_end = next(unread)
        parts.append(html.escape(explanation.text[position:start]))
        word = html.escape(explanation.text[start:end])
        if gap_start <= start < gap_end:
            parts.append(f'<span class="unread">{word}</span>')
        elif shade:
            parts.append(f'<span class="{"f" if shade > 0 else "a"}{abs(shade)}" title="{value:+.3f}">{word}</span>')
        else:
            parts.append(f'<span title="{value:+.3f}">{word}</span>')
        position = end
    parts.append(html.escape(explanation.text[position:]))
    return "".join(parts)


def shades_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """A shade for each value, by its share of the largest: -4 … 4, 0 for a share below 5%: int64 [words]."""
    largest = np.abs(values).max(initial=0.0)
    if not largest:
        return np.zeros(len(values), np.int64)
    shares = np.abs(values) / largest
    shades = np.where(shares < _MIN_SHARE, 0, np.ceil(shares * _SHADES))
    return np.asarray(shades * np.sign(values), np.int64)


def _table(explanation: Explanation, column: int) -> str:
    rows = [
        f'<tr><td dir="auto">{html.escape(explanation.words[word])}</td>'
        f'<td class="number">{explanation.values[word, column]:+.4f}</td></tr>\n'
        for speaking in strongest(explanation.values[:, column], _MAX_WORDS)
        for word in speaking
    ]
    return (
        '<table>\n<thead><tr><th scope="col">word</th><th scope="col" class="number">value</th></tr></thead>\n<tbody>\n'
        f'<tr><td>(without words)</td><td class="number">{explanation.base_values[column]:.4f}</td></tr>\n'
        f"{''.join(rows)}</tbody>\n</table>\n"
    )


def strongest(values: NDArray[np.float64], max_words: int) -> tuple[list[int], list[int]]:
    """Positions of the words with the largest values above 0, and of those with the lowest below 0."""
    order = np.argsort(-values, kind="stable")
    above = order[values[order] > 0][:max_words]
    below = order[::-1][values[order[::-1]] < 0][:max_words]
    return above.tolist(), below.tolist()
