"""The arithmetic of the benchmarks: pure functions of numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.serving.load_generator import NO_ANSWER, Answer, Run

# An int8 dot product with int32 sums (VNNI) multiplies four times as many numbers an instruction as float32 does.
INT8_OVER_FLOAT32 = 4


@dataclass(frozen=True)
class Load:
    """What a run showed.

    Attributes:
        per_second: answers with status 200 a second; those that came after the last request was sent do not count.
        p50, p99: of the time to an answer with status 200, in seconds; nan where there is none.
        statuses: how many answers had each status; 0: no answer.
        client_microseconds: CPU time of the client a request.
    """

    per_second: float
    p50: float
    p99: float
    statuses: dict[int, int]
    client_microseconds: float


def load_of(run: Run) -> Load:
    """The figures of a run."""
    good = [answer for answer in run.answers if answer.status == 200]
    seconds = [answer.seconds for answer in good]
    return Load(
        per_second=sum(answer.end <= run.seconds for answer in good) / run.seconds,
        p50=quantile(seconds, 0.5),
        p99=quantile(seconds, 0.99),
        statuses=statuses_of(run.answers),
        client_microseconds=1e6 * run.cpu_seconds / max(1, len(run.answers)),
    )


def statuses_of(answers: Sequence[Answer]) -> dict[int, int]:
    """How many answers had each status, in ascending order."""
    return dict(sorted(Counter(answer.status for answer in answers).items()))


def has_server_error(statuses: dict[int, int]) -> bool:
    """Whether a request had a 5xx, or no answer at all."""
    return any(status >= 500 or status == NO_ANSWER for status in statuses)


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest values (Hyndman & Fan 1996, type 7); nan of none."""
    return float(np.quantile(values, share)) if len(values) else float("nan")


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and their range."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of the values of the rounds."""
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what slowed the machine down in a round slowed both."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class EncoderShape:
    """Of a BERT encoder with a classifier.

    Attributes:
        layers, width, intermediate: of the transformer.
        classes: K.
    """

    layers: int
    width: int
    intermediate: int
    classes: int

    def flops(self, tokens: int) -> float:
        """Floating-point operations for one text of so many tokens; a multiplication and its addition are two.

        For each layer the weights of queries, keys, values and attention output (4 width²) and of the two
        feed-forward products (2 width · intermediate) meet every token; scores and weighted sums of attention take
        tokens² · width multiplications each. The pooler and the classifier see one token.
        """
        weights = 4 * self.width**2 + 2 * self.width * self.intermediate
        layer = tokens * weights + 2 * tokens**2 * self.width
        return 2.0 * (self.layers * layer + self.width**2 + self.width * self.classes)


def roofline(float32_flops: float, shape: EncoderShape, tokens: int) -> float:
    """Texts a second, if every product ran at the int8 peak that the measured float32 rate implies, and nothing else
    took any time.

    Args:
        float32_flops: measured rate of a float32 matrix product, in operations a second.
        shape: of the encoder.
        tokens: of each text.
    """
    return INT8_OVER_FLOAT32 * float32_flops / shape.flops(tokens)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is left-aligned, all others right, padded so that it reads as plain text too."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = [f"{'-' * (width - bool(at))}{':' if at else ''}" for at, width in enumerate(widths)]
    return "\n".join(map(line, [header, rule, *rows]))
