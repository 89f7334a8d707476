"""The verdict of a drift check in one sentence: what differs, and whether that matters."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from textclf.report.drift_terms import percent
from textclf.stats.drift_tests.drift_results import DriftResults, FamilyResult, TestResult, WordDrift
from textclf.stats.drift_tests.label_shift import MIN_SINGULAR_VALUE, PriorEstimate

# Maximum number of words in each direction, and of classes, in a sentence.
_MAX_WORDS = 4
_MAX_CLASSES = 3
# Relative differences up to these count as equal medians and equal means; then only the distributions differ.
_SAME_LENGTH = 0.05
_SAME_RATE = 0.1
# A word is named if its share of the texts in one sample is more than this many times its share in the other.
_MIN_SHARE_RATIO = 1.5
_FORM = {
    "unknown": ("words outside the vocabulary", "unknown wordpieces"),
    "continuation": ("words split into several pieces (misspelled, rare or foreign)", "continuing wordpieces"),
    "non_letter": ("digits, signs and punctuation", "characters other than letters"),
}


@dataclass(frozen=True)
class Differences:
    """Input of the sentence.

    Attributes:
        results: results of compare().
        words: names of results.words.
        class_names: class names; the position is the class id.
        rates: see DriftReport.
        min_texts: minimum number of texts in each sample for a verdict.
    """

    results: DriftResults
    words: tuple[str, ...]
    class_names: tuple[str, ...]
    rates: dict[str, tuple[float, float]]
    min_texts: int


def verdict_sentence(differences: Differences) -> str:
    """The verdict, the number of texts, and all differences, including significant but negligible ones."""
    results = differences.results
    latest = _count(results.latest_texts, "latest text")
    if not results.enough:
        few = "there is" if results.latest_texts == 1 else "there are"
        sample = (
            f"{few} {latest}"
            if results.latest_texts < differences.min_texts
            else f"the reference has {_count(results.reference_texts, 'text')}"
        )
        return f"Not enough data: {sample}, and a verdict needs {differences.min_texts:,}."
    alarms = [words for family in results.families if family.is_alarm for words in _in_words(family, differences)]
    negligible = [
        f"{words} (effect {family.effect:.3f}, minimum {family.floor:.3f})"
        for family in results.families
        if family.is_negligible
        for words in _in_words(family, differences)
    ]
    rest = f"; significant but negligible: {'; '.join(negligible)}" if negligible else ""
    if alarms:
        return f"Drift: the {latest} differ from the training reference: {'; '.join(alarms)}{rest}."
    return f"No drift: the {latest} are like the {results.reference_texts:,} of the training reference{rest}."


def audit_sentence(results: DriftResults, min_audits: int, since: str | None, *, can_wait: bool) -> str | None:
    """The number of random audits and whether they were tested; None without audits.

    `since` is the time of the first audit, ISO 8601; `can_wait` is true if a later window tests audits that this one
    did not test.
    """
    if results.labels is None or not results.labels.audit_texts:
        return None
    audits = f"Random audits{'' if since is None else f' since {since}'}: {_count(results.labels.audit_texts, 'label')}"
    if results.tests_audits:
        run = results.audit_run
        earlier = 0 if run is None else run.audits - results.labels.audit_texts
        continues = f" The CUSUM continues that of {_count(earlier, 'earlier audit')}." if earlier > 0 else ""
        return f"{audits}, tested.{continues}"
    needs = f"a test needs {min_audits:,} of them, and enough texts"
    return f"{audits}, waiting for a later window: {needs}." if can_wait else f"{audits}, not tested: {needs}."


def audit_advice(results: DriftResults) -> str | None:
    """How to find out whether texts that drift have more errors; None without drift, or if audits were tested."""
    if results.tests_audits or not any(family.is_alarm for family in results.families):
        return None
    return (
        "Drift does not tell whether the model makes more errors. Label 200 random new texts on the page /review, or "
        "in a file (textclf sample --audit 200 --output audit.csv, then textclf labels import audit.csv). "
        "Both need PREDICTION_LOG_TEXT=1."
    )


def missing_prior_sentence(prior: PriorEstimate | None) -> str | None:
    """The reason why true class shares were not estimated; None if they were, or nothing was compared."""
    if prior is None or prior.latest is not None:
        return None
    if prior.singular_value is not None and prior.singular_value < MIN_SINGULAR_VALUE:
        return (
            f"The true shares of the classes were not estimated: the model confuses the classes too much. The smallest "
            f"singular value of its confusion matrix is {prior.singular_value:.3f}; an estimate needs "
            f"{MIN_SINGULAR_VALUE}."
        )
    return "The true shares of the classes were not estimated: the reference has no labels of the predicted classes."


def _in_words(family: FamilyResult, differences: Differences) -> list[str]:
    """Differences of a family: of the tests that alarm, or of the test that represents the family."""
    alarms = {test.name: test for test in family.tests if test.is_alarm}
    tests = list(alarms.values()) or [test for test in family.tests if test.name == family.test]
    match family.name:
        case "length":
            return [_length(differences, test) for test in tests]
        case "form":
            return [_form(differences, test) for test in tests]
        case "score":
            # Another class mix also moves the logits: name only the mix.
            return [_score(differences, test) for test in ([alarms["classes"]] if "classes" in alarms else tests)]
        case "content":
            return [_content(differences, test) for test in tests]
        case "embedding":
            return [
                f"their meaning (embeddings of the encoder) has moved (MMD {test.effect:.3f} of that of unlike samples)"
                for test in tests
            ]
        case "stages":
            return [f"the linear stage and the encoder disagree {_more_often(test)}" for test in tests]
        case "error":
            return [_error(differences, test) for test in tests[:1]]
        case name:
            return [_moved(name, test) for test in tests[:1]]


def _length(differences: Differences, test: TestResult) -> str:
    lengths = differences.results.lengths
    if lengths is None:
        return _moved("their length", test)
    middle = min(range(len(lengths.levels)), key=lambda at: abs(lengths.levels[at] - 0.5))
    before, now = lengths.reference[middle], lengths.latest[middle]
    if abs(now - before) <= _SAME_LENGTH * before:
        return f"the distribution of their lengths differs (KS distance {test.effect:.3f})"
    return f"they are {'longer' if now > before else 'shorter'} (median {before:,.0f} -> {now:,.0f} tokens)"


def _form(differences: Differences, test: TestResult) -> str:
    what, unit = _FORM[test.name]
    before, now = differences.rates[test.name]
    if abs(now - before) <= _SAME_RATE * before:
        return f"the distribution of their shares of {unit} differs (KS distance {test.effect:.3f})"
    return f"they have {'more' if now > before else 'fewer'} {what} ({percent(before)} -> {percent(now)} {unit})"


def _score(differences: Differences, test: TestResult) -> str:
    names, mix = differences.class_names, differences.results.class_mix
    if test.name == "classes" and mix is not None:
        moved = sorted(range(len(names)), key=lambda at: abs(mix.latest[at] - mix.reference[at]), reverse=True)
        shown = [1] if len(names) == 2 else moved[:_MAX_CLASSES]
        shares = ", ".join(f"{names[at]} {percent(mix.reference[at])} -> {percent(mix.latest[at])}" for at in shown)
        return f"the mix of predicted classes has moved ({shares})"
    of = "" if test.class_id is None else f" for {names[test.class_id]}"
    return f"the model's scores{of} have moved (KS distance {test.effect:.3f})"


def _content(differences: Differences, test: TestResult) -> str:
    named = list(zip(differences.words, differences.results.words, strict=True))
    more = _first_words(named, lambda word: word.latest_share > _MIN_SHARE_RATIO * word.reference_share)
    less = _first_words(named, lambda word: word.reference_share > _MIN_SHARE_RATIO * word.latest_share)
    parts = [f"{title}: {', '.join(words)}" for title, words in (("more", more), ("less", less)) if words]
    return f"their words differ (AUC {test.effect:.3f}{''.join(f'; {part}' for part in parts)})"


def _first_words(named: Iterable[tuple[str, WordDrift]], holds: Callable[[WordDrift], bool]) -> list[str]:
    """The first whole words for which `holds` is true; only the table of the report shows pieces and signs."""
    return [f"“{name}”" for name, word in named if name.isalpha() and len(name) > 1 and holds(word)][:_MAX_WORDS]


def _error(differences: Differences, test: TestResult) -> str:
    labels = differences.results.labels
    if labels is None:
        return _moved("the error rate", test)
    now, before = labels.audit_errors / labels.audit_texts, labels.held_out_errors / labels.held_out_texts
    errs = "has recently made more errors" if test.name == "cusum" else "makes more errors"
    return f"the model {errs} ({percent(before)} held out -> {percent(now)} of {labels.audit_texts:,} audited texts)"


def _more_often(test: TestResult) -> str:
    return f"{'more' if test.statistic > 0 else 'less'} often (by {percent(test.effect)} of the texts)"


def _moved(what: str, test: TestResult) -> str:
    return f"{what} has moved (effect {test.effect:.3f})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
