"""Arithmetic of the benchmarks: pure functions of numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.serving.load_generator import NO_RESPONSE, Response, Run

# An int8 dot product (VNNI) multiplies four times as many numbers per instruction as float32.
INT8_OVER_FLOAT32 = 4


@dataclass(frozen=True)
class Load:
    """Results of one run of the load generator.

    Attributes:
        per_second: responses with status 200 per second, without those that arrived after the last request was sent.
        p50, p99: quantiles of the seconds to a response with status 200; nan if there is none.
        statuses: number of responses with each status; 0 means no response.
        client_microseconds: CPU time of the client per request.
    """

    per_second: float
    p50: float
    p99: float
    statuses: dict[int, int]
    client_microseconds: float


def load_of(run: Run) -> Load:
    """Return the results of a run."""
    good = [response for response in run.responses if response.status == 200]
    seconds = [response.seconds for response in good]
    return Load(
        per_second=sum(response.end <= run.seconds for response in good) / run.seconds,
        p50=quantile(seconds, 0.5),
        p99=quantile(seconds, 0.99),
        statuses=statuses_of(run.responses),
        client_microseconds=1e6 * run.cpu_seconds / max(1, len(run.responses)),
    )


def statuses_of(responses: Sequence[Response]) -> dict[int, int]:
    """Count the responses with each status, in ascending order."""
    return dict(sorted(Counter(response.status for response in responses).items()))


def has_server_error(statuses: dict[int, int]) -> bool:
    """Return whether a request got a 5xx or no response."""
    return any(status >= 500 or status == NO_RESPONSE for status in statuses)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile by linear interpolation (Hyndman & Fan 1996, type 7); nan if there are no values."""
    return float(np.quantile(values, share)) if len(values) else float("nan")


@dataclass(frozen=True)
class Spread:
    """Median and range of the values of several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and range of the values."""
    return Spread(float(np.median(values)), float(min(values)), float(max(values)))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return our values divided by theirs, round by round: a busy machine slows both sides of a round."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of a BERT encoder with a classifier.

    Attributes:
        layers, width, intermediate: sizes of the transformer.
        classes: number of classes.
    """

    layers: int
    width: int
    intermediate: int
    classes: int

    def flops(self, tokens: int) -> float:
        """Count the floating-point operations for one text; a multiplication and its addition are two.

        For each layer the weights of queries, keys, values and attention output (4 width²) and of the two
        feed-forward products (2 width · intermediate) are applied to every token; scores and weighted sums of
        attention take tokens² · width multiplications each. The pooler and the classifier read one token.
        """
        weights = 4 * self.width**2 + 2 * self.width * self.intermediate
        layer = tokens * weights + 2 * tokens**2 * self.width
        return 2.0 * (self.layers * layer + self.width**2 + self.width * self.classes)


def roofline(float32_flops: float, shape: EncoderShape, tokens: int) -> float:
    """Return the texts per second if all products ran at the int8 peak and nothing else took time.

    Args:
        float32_flops: measured rate of a float32 matrix product, in operations per second; the int8 peak follows.
        shape: sizes of the encoder.
        tokens: tokens of each text.
    """
    return texts_at(INT8_OVER_FLOAT32 * float32_flops, shape, tokens)


def texts_at(flops: float, shape: EncoderShape, tokens: int) -> float:
    """Return the texts per second if all products ran at a rate in operations per second and nothing else took time."""
    return flops / shape.flops(tokens)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, padded for plain text: first column left-aligned, all others right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = [f"{'-' * (width - bool(at))}{':' if at else ''}" for at, width in enumerate(widths)]
    return "\n".join(map(line, [header, rule, *rows]))
