"""Request slots, and which request loses one: on a clock that is set by hand."""

import threading

import pytest

from serving.api.concurrency import RequestSlots, WorkBudget
from serving.api.errors import ApiError, ErrorCode


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Request:
    """Holds a slot and waits for its client in a thread of its own, until it is interrupted or let go on."""

    def __init__(self, slots):
        self.outcome = None
        self._waits, self._event = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=[slots])
        self._thread.start()
        assert self._waits.wait(5)

    def _run(self, slots):
        try:
            with slots.acquire() as permit, permit.waiting_for_client(self._event.set):
                self._waits.set()
                assert self._event.wait(5)
            self.outcome = "done"
        except ApiError as error:
            self.outcome = error.code

    def end(self, go_on=True):
        if go_on:
            self._event.set()
        self._thread.join(5)
        return self.outcome


def code_of(slots):
    with pytest.raises(ApiError) as caught, slots.acquire():
        pass
    return caught.value.code


def test_one_more_is_refused_and_a_slot_comes_back():
    slots = RequestSlots(2, 1.0)
    with slots.acquire(), slots.acquire():
        assert code_of(slots) is ErrorCode.TOO_MANY_REQUESTS
    with slots.acquire(), slots.acquire():
        pass


def test_who_waits_longest_gives_way_once_it_has_waited_enough():
    clock = Clock()
    slots = RequestSlots(2, 1.0, clock)
    first = Request(slots)
    clock.now = 0.5
    second = Request(slots)
    assert code_of(slots) is ErrorCode.TOO_MANY_REQUESTS
    clock.now = 1.0
    with slots.acquire():
        assert first.end(go_on=False) is ErrorCode.REQUEST_TIMEOUT
        assert code_of(slots) is ErrorCode.TOO_MANY_REQUESTS, "the second has waited for half a second only"
    assert second.end() == "done"
    with slots.acquire(), slots.acquire():
        assert code_of(slots) is ErrorCode.TOO_MANY_REQUESTS, "no slot was lost or won"


def test_who_does_not_wait_gives_nothing_up():
    clock = Clock()
    slots = RequestSlots(1, 1.0, clock)
    with slots.acquire() as permit:
        with permit.waiting_for_client(lambda: pytest.fail("interrupted")):
            pass
        clock.now = 10.0
        assert code_of(slots) is ErrorCode.TOO_MANY_REQUESTS


def refusal(act, *arguments):
    with pytest.raises(ApiError) as caught:
        act(*arguments)
    return caught.value


def test_wordpieces_of_a_request_are_bounded():
    budget = WorkBudget(10, 15)
    with budget.job() as job:
        job.read(6)
        job.read(4)
        assert refusal(job.read, 1).code is ErrorCode.TOO_MUCH_WORK
    assert budget.wordpieces == 0


def test_wordpieces_of_a_worker_are_bounded_except_for_a_request_alone():
    budget = WorkBudget(20, 10)
    with budget.job() as one, budget.job() as other:
        one.read(4)
        other.read(6)
        assert refusal(other.read, 1).code is ErrorCode.TOO_MANY_REQUESTS
    with budget.job() as alone:
        alone.read(20)
    assert budget.wordpieces == 0


def test_seconds_of_a_worker_are_bounded_except_for_a_request_alone():
    budget = WorkBudget(10, 10)
    with budget.job() as one, budget.job() as other:
        one.accept(50.0, 40.0)
        error = refusal(other.accept, 2.5, 40.0)
        assert (error.code, error.headers) == (ErrorCode.TOO_MANY_REQUESTS, {"Retry-After": "13"})
        assert "need about 50 seconds, these about 2" in error.message
        with budget.job() as short:
            short.accept(1.0, 40.0)
        one.done(12.5)
        other.accept(2.5, 40.0)
    assert (budget.seconds, budget.wordpieces) == (0, 0)


def test_the_wait_for_wordpieces_is_the_time_that_the_others_need():
    budget = WorkBudget(10, 10)
    with budget.job() as one, budget.job() as other:
        one.read(6)
        one.accept(7.5, 40.0)
        assert refusal(other.read, 6).headers == {"Retry-After": "8"}
        one.done(7.5)
        assert refusal(other.read, 6).headers == {"Retry-After": "1"}


def test_a_request_that_waited_may_come_again_when_the_wait_is_short_enough():
    budget = WorkBudget(10, 10)
    with budget.job() as other, budget.job() as job:
        error = refusal(job.accept, 30.0, 17.0, 30.0)
        assert (error.code, error.headers) == (ErrorCode.TOO_MANY_REQUESTS, {"Retry-After": "13"})
        other.accept(5.0, 17.0)
        assert refusal(job.accept, 30.0, 17.0, 30.0).headers == {"Retry-After": "18"}


def test_ended_requests_leave_no_rest_that_refuses_a_list_alone():
    budget = WorkBudget(10, 10)
    with budget.job() as first:
        first.accept(0.1, 10.0)
        with budget.job() as second:
            second.accept(0.2, 10.0)
            with budget.job() as third:
                third.accept(0.3, 10.0)
                first.done(0.1)
            second.done(0.2)
    assert budget.seconds == 0
    with budget.job() as alone:
        alone.accept(20.0, 10.0)


def test_a_refusal_names_what_has_the_slots():
    slots = RequestSlots(3, name="lists and long texts")
    with slots.acquire(), slots.acquire(), slots.acquire():
        assert refusal(slots.acquire().__enter__).message.startswith("3 lists and long texts are in progress")


def test_work_that_is_done_is_given_back_once():
    budget = WorkBudget(10, 10)
    with budget.job() as job:
        job.accept(3.0, 10.0)
        job.done(2.0)
        job.done(2.0)  # Estimates and batches may differ.
        assert budget.seconds == 0
    assert budget.seconds == 0
