"""Runs of an engine, one at a time and in the order of the calls; single texts that wait meanwhile run as one batch.

A batch of short texts costs much less than its texts alone. On two cores of an Intel Xeon with AMX and one thread, a
text of 16 wordpieces takes 1.29 ms, eight take 4.34 ms; one of 64 takes 2.5 ms, eight take 14.3 ms; one of 256 takes
9.6 ms, two take 17.9 ms. No call waits for a batch to become larger.
"""

import collections
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from textclf.runtime.backend import ModelOutputs

# Wordpieces of a joint batch, padding included, and the time that it may take.
MAX_TOKENS = 512
_MAX_SECONDS = 0.02
# Largest difference between the padded lengths in a batch. A text alone costs as much as about 22 more wordpieces in a
# batch, so more padding than that would cost more than it saves.
_MAX_PADDING = 16
# Weight of the newest run in the estimate of the time for a wordpiece; shorter runs cost more and would spoil it.
_WEIGHT = 0.1
_MIN_TOKENS = 64

Inputs = Sequence[Sequence[int]]
# (texts, length) -> the outputs of texts that are padded to a length.
Compute = Callable[[Inputs, int], ModelOutputs]


@dataclass(frozen=True)
class Run:
    """The part of a run that belongs to one call.

    Attributes:
        outputs: of the texts of the call.
        start, end: when the run took place (time.perf_counter).
        share: the call's part of the padded wordpieces of the run, above 0 and at most 1.
    """

    outputs: ModelOutputs
    start: float
    end: float
    share: float = 1.0


@dataclass(eq=False)
class _Call:
    inputs: Inputs
    length: int
    joins: bool
    turn: threading.Lock = field(default_factory=threading.Lock)
    run: Run | None = None


class JointRuns:
    """Computes the calls of several threads.

    Attributes:
        max_tokens: maximum wordpieces of a joint batch, padding included; 0 joins no calls.
    """

    def __init__(self) -> None:
        self.max_tokens = 0
        self._guard = threading.Lock()
        self._is_busy = False
        self._waiting: collections.deque[_Call] = collections.deque()
        self._token_seconds = 0.0

    def run(self, compute: Compute, inputs: Inputs, length: int) -> Run:
        """Outputs of the texts, padded to `length` or a little more; waits for the calls that came earlier.

        `compute` is the same function for all calls. It is no attribute: a method of the owner would be a cycle, which
        keeps the memory of a replaced model until a garbage collection.

        If `compute` fails for a joint batch, each of its calls runs alone, and only those that fail again raise.
        """
        call = _Call(inputs, length, joins=len(inputs) == 1)
        with self._guard:
            leads = not self._is_busy
            if leads:
                self._is_busy = True
            else:
                call.turn.acquire()
                self._waiting.append(call)
        if not leads:
            call.turn.acquire()  # The run before releases it, with the outputs of this call or with its turn.
            if call.run is not None:
                return call.run
        followers: list[_Call] = []
        try:
            with self._guard:
                followers = self._followers(call)
            if followers:
                try:
                    return self._joint_run(compute, [call, *followers])
                except Exception:  # noqa: BLE001 one of the texts may be the reason; alone, only its call fails
                    with self._guard:
                        self._return(followers)
                    followers = []
            return self._single_run(compute, call)
        finally:
            self._pass_on(followers)

    def _single_run(self, compute: Compute, call: _Call) -> Run:
        start = time.perf_counter()
        outputs = compute(call.inputs, call.length)
        end = time.perf_counter()
        self._observe(len(call.inputs) * call.length, end - start)
        return Run(outputs, start, end)

    def _joint_run(self, compute: Compute, calls: Sequence[_Call]) -> Run:
        """Run the calls as one batch; each gets its row."""
        length = max(call.length for call in calls)
        start = time.perf_counter()
        outputs = compute([call.inputs[0] for call in calls], length)
        end = time.perf_counter()
        self._observe(len(calls) * length, end - start)
        embeddings = outputs.embeddings
        for row, call in enumerate(calls):
            own = slice(row, row + 1)
            part = ModelOutputs(outputs.logits[own], None if embeddings is None else embeddings[own])
            call.run = Run(part, start, end, 1 / len(calls))
        first = calls[0].run
        assert first is not None  # noqa: S101
        return first

    def _followers(self, call: _Call) -> list[_Call]:
        """Take those that wait and may join a call, in their order; batch sizes are powers of two, as prepared."""
        if not call.joins or not self._waiting:
            return []
        limit: float = self.max_tokens
        if self._token_seconds:
            limit = min(limit, _MAX_SECONDS / self._token_seconds)
        shortest = longest = call.length
        found: list[_Call] = []
        for other in self._waiting:
            low, high = min(shortest, other.length), max(longest, other.length)
            if other.joins and high - low <= _MAX_PADDING and (len(found) + 2) * high <= limit:
                shortest, longest = low, high
                found.append(other)
        size = 1 << ((len(found) + 1).bit_length() - 1)
        found = found[: size - 1]
        for other in found:
            self._waiting.remove(other)
        return found

    def _return(self, calls: Sequence[_Call]) -> None:
        """Put calls of a failed batch back to the front of the queue; each runs alone."""
        for call in calls:
            call.joins = False
        self._waiting.extendleft(reversed(calls))

    def _pass_on(self, followers: Sequence[_Call]) -> None:
        """Wake the calls that have their outputs, and the next one."""
        with self._guard:
            self._return([call for call in followers if call.run is None])
            for call in followers:
                if call.run is not None:
                    call.turn.release()
            if self._waiting:
                self._waiting.popleft().turn.release()
            else:
                self._is_busy = False

    def _observe(self, tokens: int, seconds: float) -> None:
        if tokens < _MIN_TOKENS:
            return
        found = seconds / tokens
        before = self._token_seconds or found
        self._token_seconds = before + _WEIGHT * (min(found, 4 * before) - before)
