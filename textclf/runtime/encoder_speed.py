"""Running estimates of the encoder's speed, from which the time of a request follows before it is computed."""

# Smaller batches cost more per wordpiece and would spoil the estimates.
_MIN_TOKENS = 64
# Weight of the newest batch: the estimate follows a busy machine within some tens of batches.
_WEIGHT = 0.05
# A batch counts as at most this many times the estimate: a thread may lose its core for a moment.
_MAX_RATIO = 4.0
# Speed with which the best time gives way to the current one: a machine may become slower for good.
_FORGETTING = 0.001


class EncoderSpeed:
    """Seconds that the encoder takes for a wordpiece, padding included; threads may share it.

    Attributes:
        current: running mean of the latest batches; 0 before the first.
        best: the lowest time of a batch, slowly forgotten; 0 before the first.
    """

    def __init__(self) -> None:
        self.current = 0.0
        self.best = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """Take a computed batch into account.

        Args:
            tokens: wordpieces of the batch, padding included.
            seconds: time of the computation; 0 if a cache had the outputs.
        """
        if tokens < _MIN_TOKENS or not seconds:
            return
        found = seconds / tokens
        current = self.current or found
        self.current = current + _WEIGHT * (min(found, _MAX_RATIO * current) - current)
        best = self.best or found
        self.best = min(found, best + _FORGETTING * (self.current - best))
