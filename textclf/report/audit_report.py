"""The findings of `textclf data audit`, as records that can be printed, drawn and written."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from textclf.report.counted import counted

# Reasons to review a row, in the order of the review file.
CONTRADICTION = "contradictory labels"
LIKELY_ERROR = "likely label error"
SIMILAR_CONTRADICTION = "similar text with another label"
OUTLIER = "outlier"
# A smaller share of likely label errors changes a model little.
NOTABLE_ERRORS = 0.01
# A test part with a larger share of leaks gives a figure that is too good.
NOTABLE_LEAKS = 0.005


@dataclass(frozen=True)
class ReviewRow:
    """A text that a person should look at.

    Attributes:
        file, row: where it is: a file below the data set's folder, and its row in a table (0 for a text file).
        part: train, validation or test.
        label: its label.
        suggested_label: the class that the models or its copies give it; "" if there is none.
        score: probability of its label, from models that did not see the text; None if unknown.
        reason: one of the reasons above.
        text: the text.
        key: identifies text and label, to find changes of the data since the audit.
    """

    file: str
    row: int
    part: str
    label: str
    suggested_label: str
    score: float | None
    reason: str
    text: str
    key: str


@dataclass(frozen=True)
class Group:
    """Equal or similar texts: their places and labels, and the beginning of the first."""

    places: tuple[str, ...]
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Leak:
    """Texts of a part (`inside`) that are also in another one (`of`): equal ones, and similar ones."""

    of: str
    inside: str
    equal: int
    similar: int


@dataclass(frozen=True)
class LabelErrors:
    """The search for label errors.

    Attributes:
        searched: number of texts that were searched.
        found: number of likely errors, in all parts.
        accuracy: share of the searched texts whose most probable class is their label.
        models: what gave the probabilities.
        left_out: classes with too few texts.
    """

    searched: int
    found: int
    accuracy: float
    models: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class ConfusablePair:
    """Two classes, the number of texts that the models give the other one, and the share of the texts of both."""

    first: str
    second: str
    texts: int
    share: float


@dataclass(frozen=True)
class PartSummary:
    """A part: its texts by class, the median length in wordpieces, and the share longer than max_length."""

    name: str
    texts: int
    classes: dict[str, int]
    median_length: float
    truncated: float


@dataclass(frozen=True)
class AuditReport:
    """All findings; to_dict() for JSON, without texts.

    Attributes:
        source: path of the data set.
        review_file: absolute path of the review file.
        correct_command: the command that applies the edited review file.
        parts: the parts.
        max_length: wordpieces that a text is truncated to in training.
        blank, short: numbers of blank texts, and of texts of one or two wordpieces.
        equal_groups, surplus: number of groups of equal texts, and of texts that repeat another one.
        similar_groups, similar_texts: number of groups of similar texts, and of the texts in them.
        contradictions: number of texts with an equal text of another label.
        similar_contradictions: number of texts with a similar text of another label.
        leaks: texts that two parts share.
        errors: the search for label errors; None if there are too few texts.
        pairs: classes that are often confused, most confused first.
        outliers: number of outliers; None without embeddings.
        groups: the largest groups, for the page.
        rows: rows to review, in the order of the review file.
        left_out_rows: number of further rows that are not in `rows`.
        notes: sentences about limits of the audit.
    """

    source: str
    review_file: str
    correct_command: str
    parts: tuple[PartSummary, ...]
    max_length: int
    blank: int
    short: int
    equal_groups: int
    surplus: int
    similar_groups: int
    similar_texts: int
    contradictions: int
    similar_contradictions: int
    leaks: tuple[Leak, ...]
    errors: LabelErrors | None
    pairs: tuple[ConfusablePair, ...]
    outliers: int | None
    groups: tuple[Group, ...]
    rows: tuple[ReviewRow, ...]
    left_out_rows: int
    notes: tuple[str, ...]

    @property
    def texts(self) -> int:
        """Number of texts in all parts."""
        return sum(part.texts for part in self.parts)

    @property
    def class_counts(self) -> dict[str, int]:
        """Texts of each class in the training part."""
        return self.parts[0].classes

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict that JSON can hold; it has the places of texts, but no texts."""
        found = dataclasses.asdict(self)
        for entry in [*found["rows"], *found["groups"]]:
            del entry["text"]
        return {"verdict": verdict(self), "problems": list(problems(self)), "advice": list(advice(self)), **found}


def verdict(report: AuditReport) -> str:
    """One sentence: whether the data needs work before training."""
    if found := problems(report):
        return f"Review this data before you train on it: {found[0]}."
    limit = "" if report.errors is not None else ", but there are too few to search label errors"
    return f"No serious problem found in {report.texts:,} texts{limit}."


def problems(report: AuditReport) -> tuple[str, ...]:
    """Notable problems, worst first."""
    found = []
    for leak in report.leaks:
        size = next(part.texts for part in report.parts if part.name == leak.inside)
        if leak.equal + leak.similar > NOTABLE_LEAKS * size:
            equal = counted(leak.equal, f"{leak.inside} text is", f"{leak.inside} texts are")
            similar = counted(leak.similar, "more is similar", "more are similar")
            found.append(f"{equal} also in {leak.of}, and {similar} to one there")
    if report.contradictions:
        found.append(f"{report.contradictions:,} texts occur with contradictory labels")
    if report.errors is not None and report.errors.found > NOTABLE_ERRORS * report.errors.searched:
        share = report.errors.found / report.errors.searched
        found.append(f"up to {report.errors.found:,} of {report.errors.searched:,} labels ({share:.1%}) may be wrong")
    if small := [name for name, count in report.class_counts.items() if count < 10]:
        classes, example = counted(len(small), "class has", "classes have"), ":" if len(small) == 1 else ", such as"
        found.append(f"{classes} fewer than 10 training texts{example} {small[0]!r}")
    return tuple(found)


def advice(report: AuditReport) -> tuple[str, ...]:
    """Next steps, most useful first."""
    found = []
    if report.rows:
        found.append(
            f"Open {report.review_file}. Edit the column label where it is wrong, or write (remove). Then run: "
            f"{report.correct_command}"
        )
    if report.contradictions:
        found.append(
            "Training leaves out training and validation texts with contradictory labels. It keeps those of a test "
            "part, where they lower every result. Decide on their labels in review.csv."
        )
    if report.surplus:
        found.append(
            f"{counted(report.surplus, 'text repeats', 'texts repeat')} another one. Training leaves out repeats of "
            f"training texts by itself."
        )
    if any(leak.equal or leak.similar for leak in report.leaks):
        found.append(
            "Training leaves out texts that are equal to a test text. Add --near-duplicates drop to leave out similar "
            "ones, too."
        )
    counts = list(report.class_counts.values())
    if min(counts) and max(counts) > 5 * min(counts):
        found.append(
            f"The largest class has {max(counts) / min(counts):.0f} times the texts of the smallest. Train with "
            f"--class-weights, and compare macro F1, not accuracy."
        )
    # Two classes are the whole task: merging or redefining them is no advice.
    if len(counts) > 2 and report.pairs and report.pairs[0].share > 0.1:
        pair = report.pairs[0]
        found.append(
            f"{pair.first!r} and {pair.second!r} are confused for {pair.share:.0%} of their texts. Write down how they "
            f"differ, or merge them with --rename-label."
        )
    if (truncated := max(part.truncated for part in report.parts)) > 0.1:
        found.append(
            f"{truncated:.0%} of the texts of a part are longer than {report.max_length} wordpieces. Train with a "
            f"higher --max-length, or with --truncation head+tail."
        )
    return tuple(found)
