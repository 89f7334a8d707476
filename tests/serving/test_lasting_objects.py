"""What a worker does with the memory of its model."""

import gc
import sys
import weakref

import pytest

from serving.model.lasting_objects import leave_out_lasting_objects, return_memory_of_replaced_model


class _Cycle:
    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def everything_is_collected_afterwards():
    yield
    gc.unfreeze()


def test_lasting_objects_are_collected_only_after_a_swap_and_only_with_tensorflow(monkeypatch):
    cycle = _Cycle()
    found = weakref.ref(cycle)
    leave_out_lasting_objects()
    del cycle
    gc.collect()
    assert found() is not None
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    return_memory_of_replaced_model()
    assert found() is not None
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    return_memory_of_replaced_model()
    assert found() is None
    assert gc.get_freeze_count() > 0
