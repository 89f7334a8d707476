"""The verdict of a check in one sentence that a person understands: what differs, and whether that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from textclf.report.drift_terms import percent
from textclf.stats.drift_tests.drift_results import DriftResults, FamilyResult, TestResult, WordDrift

# A sentence names only so many words in each direction, and so many classes.
_MAX_WORDS = 4
_MAX_CLASSES = 3
# Medians closer than that are called alike: then the spread differs.
_SAME_LENGTH = 0.05
# The same of mean rates.
_SAME_RATE = 0.1
# A word is named if so many times as large a share of the texts have it on one side as on the other.
_TELLING_RATIO = 1.5
_FORM = {
    "unknown": ("words that the vocabulary does not know", "unknown wordpieces"),
    "continuation": ("words that fall into pieces, as misspelled, rare and foreign ones do", "continuing wordpieces"),
    "non_letter": ("digits, signs and punctuation", "characters other than letters"),
}


@dataclass(frozen=True)
class Differences:
    """What the sentence is made of.

    Attributes:
        figures: what compare() found.
        words: the names of figures.words.
        class_names: position is the class id.
        rates: see DriftReport.
        min_texts: that a verdict needs of each sample.
    """

    figures: DriftResults
    words: tuple[str, ...]
    class_names: tuple[str, ...]
    rates: dict[str, tuple[float, float]]
    min_texts: int


def verdict_sentence(differences: Differences) -> str:
    """The verdict, how many texts it rests on, and what differs; what differs negligibly is said to."""
    figures = differences.figures
    latest = _count(figures.latest_texts, "latest text")
    if not figures.enough:
        few = "there is" if figures.latest_texts == 1 else "there are"
        sample = (
            f"{few} {latest}"
            if figures.latest_texts < differences.min_texts
            else f"the reference has {_count(figures.reference_texts, 'text')}"
        )
        return f"Not enough data: {sample}, and a verdict needs {differences.min_texts:,}."
    alarms = [words for family in figures.families if family.is_alarm for words in _in_words(family, differences)]
    negligible = [
        f"{words} (effect {_figure(family.effect)}, floor {_figure(family.floor)})"
        for family in figures.families
        if family.is_negligible
        for words in _in_words(family, differences)
    ]
    rest = f"; significant but negligible: {'; '.join(negligible)}" if negligible else ""
    if alarms:
        return f"Drift: the {latest} differ from the training reference: {'; '.join(alarms)}{rest}."
    return f"No drift: the {latest} are like the {figures.reference_texts:,} of the training reference{rest}."


def audit_sentence(figures: DriftResults, min_audits: int, since: str | None, *, can_wait: bool) -> str | None:
    """Since when the random audits are, and what became of them; None without any.

    Args:
        figures: what compare() found.
        min_audits: that a test needs.
        since: ISO 8601; None where not known.
        can_wait: whether those that were not tested are kept for a later window.
    """
    if figures.labels is None or not figures.labels.audit_texts:
        return None
    audits = f"Random audits{'' if since is None else f' since {since}'}: {_count(figures.labels.audit_texts, 'label')}"
    if figures.tests_audits:
        return f"{audits}, tested."
    needs = f"a test needs {min_audits:,} of them, and enough texts"
    return f"{audits}, waiting for a later window: {needs}." if can_wait else f"{audits}, not tested: {needs}."


def _in_words(family: FamilyResult, differences: Differences) -> list[str]:
    """What a family found, by the tests that alarm, or else by the one that speaks for it."""
    alarms = {test.name: test for test in family.tests if test.is_alarm}
    tests = list(alarms.values()) or [test for test in family.tests if test.name == family.test]
    match family.name:
        case "length":
            return [_length(differences, test) for test in tests]
        case "form":
            return [_form(differences, test) for test in tests]
        case "score":
            # Where the mix of classes has moved, their logits have, too: that says nothing more.
            return [_score(differences, test) for test in ([alarms["classes"]] if "classes" in alarms else tests)]
        case "content":
            return [_content(differences, test) for test in tests]
        case "embedding":
            return [
                f"what they mean to the encoder has moved (MMD {_figure(test.effect)} of that of unlike samples)"
                for test in tests
            ]
        case "stages":
            return [f"the linear stage and the encoder disagree {_more_often(test)}" for test in tests]
        case "error":
            return [_error(differences, test) for test in tests[:1]]
        case name:
            return [_moved(name, test) for test in tests[:1]]


def _length(differences: Differences, test: TestResult) -> str:
    lengths = differences.figures.lengths
    if lengths is None:
        return _moved("their length", test)
    middle = min(range(len(lengths.levels)), key=lambda at: abs(lengths.levels[at] - 0.5))
    before, now = lengths.reference[middle], lengths.latest[middle]
    if abs(now - before) <= _SAME_LENGTH * before:
        return f"their lengths are spread otherwise (KS distance {_figure(test.effect)})"
    return f"they are {'longer' if now > before else 'shorter'} (median {before:,.0f} -> {now:,.0f} tokens)"


def _form(differences: Differences, test: TestResult) -> str:
    what, unit = _FORM[test.name]
    before, now = differences.rates[test.name]
    if abs(now - before) <= _SAME_RATE * before:
        return f"their shares of {unit} are spread otherwise (KS distance {_figure(test.effect)})"
    return f"they have {'more' if now > before else 'fewer'} {what} ({percent(before)} -> {percent(now)} {unit})"


def _score(differences: Differences, test: TestResult) -> str:
    names, mix = differences.class_names, differences.figures.class_mix
    if test.name == "classes" and mix is not None:
        moved = sorted(range(len(names)), key=lambda at: abs(mix.latest[at] - mix.reference[at]), reverse=True)
        shown = [1] if len(names) == 2 else moved[:_MAX_CLASSES]
        shares = ", ".join(f"{names[at]} {percent(mix.reference[at])} -> {percent(mix.latest[at])}" for at in shown)
        return f"the mix of predicted classes has moved ({shares})"
    of = "" if test.class_id is None else f" for {names[test.class_id]}"
    return f"the model's scores{of} have moved (KS distance {_figure(test.effect)})"


def _content(differences: Differences, test: TestResult) -> str:
    named = list(zip(differences.words, differences.figures.words, strict=True))
    more = _telling(named, lambda word: word.latest_share > _TELLING_RATIO * word.reference_share)
    less = _telling(named, lambda word: word.reference_share > _TELLING_RATIO * word.latest_share)
    parts = [f"{title}: {', '.join(words)}" for title, words in (("more", more), ("less", less)) if words]
    return f"they are told apart by their words (AUC {_figure(test.effect)}{''.join(f'; {part}' for part in parts)})"


def _telling(named: Iterable[tuple[str, WordDrift]], holds: Callable[[WordDrift], bool]) -> list[str]:
    """The first whole words of letters; pieces and signs are left to the table."""
    return [f"“{name}”" for name, word in named if name.isalpha() and len(name) > 1 and holds(word)][:_MAX_WORDS]


def _error(differences: Differences, test: TestResult) -> str:
    labels = differences.figures.labels
    if labels is None:
        return _moved("the error rate", test)
    now, before = labels.audit_errors / labels.audit_texts, labels.held_out_errors / labels.held_out_texts
    what = "errs more often of late" if test.name == "cusum" else "errs more often"
    return f"the model {what} ({percent(before)} held out -> {percent(now)} of {labels.audit_texts:,} audited texts)"


def _more_often(test: TestResult) -> str:
    return f"{'more' if test.statistic > 0 else 'less'} often (by {percent(test.effect)} of the texts)"


def _moved(what: str, test: TestResult) -> str:
    return f"{what} has moved (effect {_figure(test.effect)})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _figure(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
