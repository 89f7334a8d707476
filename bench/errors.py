"""The one error of the benchmarks."""

from textclf.errors import TextClfError


class BenchError(TextClfError):
    """A server does not start or answer as it should, or a peer's model can't be made."""
