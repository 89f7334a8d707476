"""Whether a clock may decide what is deleted: it has to agree with the rows that were written before.

A clock that was set ahead would make all rows look old. The rows of one day do not count, because a wrong clock has
written them, too. A process that has seen its clock agree also trusts it later, as long as it runs evenly.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

# A wrong clock is usually corrected within this time.
TRIAL_SECONDS = 86_400.0
# Rows that are further ahead come from another clock. Machines that share a log may differ by less.
AHEAD_SECONDS = 60.0
# Allowed difference between the clock and the time that has really passed.
_UNEVEN_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class ClockCheck:
    """Compares a clock with the times of rows; a change of the result is one line in the log.

    Args:
        clock: returns seconds since the epoch.
        monotonic: returns seconds that no setting of a clock changes.
        shown: name of the rows' database, for messages.
    """

    def __init__(self, clock: Callable[[], float], shown: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._shown = shown
        self._agreed: tuple[float, float] | None = None
        self._is_doubted = False

    def settled_before(self, retention: float) -> float:
        """Rows before this time may vouch for the clock; `retention` is in seconds."""
        return self._clock() - min(TRIAL_SECONDS, retention / 2)

    def is_trusted(self, newest: float | None, retention: float) -> bool:
        """Whether rows that are older than `retention` seconds may be deleted.

        `newest` is the time of the newest row before settled_before(); None without such a row.
        """
        if newest is None:
            return False  # There is nothing to delete.
        now, passed = self._clock(), self._monotonic()
        is_trusted = now - newest <= retention
        if is_trusted:
            self._agreed = now, passed
        elif self._agreed is not None:
            is_trusted = abs((now - self._agreed[0]) - (passed - self._agreed[1])) <= _UNEVEN_SECONDS
        if is_trusted == self._is_doubted:
            self._is_doubted = not is_trusted
            self._report(now, newest)
        return is_trusted

    def _report(self, now: float, newest: float) -> None:
        if self._is_doubted:
            _log.warning(
                "%s: the clock shows %s, but the newest row of an earlier day is from %s; no row is deleted for its "
                "age until they agree; check the clock",
                self._shown,
                _shown_time(now),
                _shown_time(newest),
            )
        else:
            _log.warning("%s: the clock agrees with the rows again; old rows are deleted", self._shown)


def _shown_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
