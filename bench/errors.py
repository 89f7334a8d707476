"""Error of the benchmarks."""

from textclf.errors import TextClfError


class BenchError(TextClfError):
    """A benchmark cannot run, or its result is not valid."""
